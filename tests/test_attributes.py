import numpy as np
import pytest

from sentidistill.construct.attributes import (
    VECTORS,
    AttributeCount,
    Mention,
    counted,
    gather,
    merge_meanings,
    merge_spellings,
    normalise,
    read_vectors,
    recount,
    write_vectors,
)
from sentidistill.errors import SentiDistillError


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("Tone", ["tone"]),
        ("use of irony/sarcasm", ["irony", "sarcasm"]),
        ("Level of Trust", ["trust"]),
        ("trust level", ["trust"]),
        ("Emotion: Anger", ["emotion"]),
        ("call-to-action", ["call to action"]),
        ("expectation vs. reality", ["expectation vs reality"]),
        ("author's stance", ["author's stance"]),
        ("//", []),
    ],
)
def test_normalise(raw, names):
    assert normalise(raw) == names


def mention(text: str, name: str, description: str = "what it is") -> Mention:
    return Mention(text_id=text, name=name, description=description, value="")


def collected(mentions: list[Mention], min_texts: int = 1, head: int = 1) -> list[AttributeCount]:
    return counted(merge_spellings(gather(mentions), 92, head), min_texts)


def test_attributes_are_counted_by_text_and_keep_their_raw_names():
    mentions = [mention("a", "trust level"), mention("a", "trust"), mention("b", "level of trust"), mention("b", "joy")]
    trust, joy = collected(mentions)
    assert (trust.name, trust.count) == ("trust", 2)
    assert trust.variants == {"level of trust": 1, "trust": 1, "trust level": 1}
    assert (joy.name, joy.count) == ("joy", 1)


def test_attributes_can_be_counted_by_mention_as_published():
    mentions = [mention("a", "trust level"), mention("a", "trust"), *(mention(text, "joy") for text in "bc")]
    assert [one.name for one in counted(gather([*mentions, mention("a", "trust")]), 3, "mentions")] == ["trust"]
    assert [(one.name, one.count) for one in counted(gather(mentions), 1, "mentions")] == [("joy", 2), ("trust", 2)]
    assert counted(gather(mentions), 2, "texts")[0].name == "joy"


def test_without_merging_spellings_stay_apart():
    mentions = [mention("a", "expectations vs reality"), mention("b", "expectation vs reality")]
    assert len(merge_spellings(gather(mentions), 100, 1)) == 2


def test_spellings_of_one_name_are_merged_into_the_commonest():
    mentions = [mention(str(i), "expectations vs reality") for i in range(3)] + [
        mention("9", "expectation vs. reality")
    ]
    (only,) = collected(mentions)
    assert (only.name, only.count) == ("expectations vs reality", 4)


@pytest.mark.parametrize(
    ("a", "b"), [("certainty", "uncertainty"), ("optimism", "pessimism"), ("formality", "informality"), ("joy", "toy")]
)
def test_opposites_are_not_taken_for_spellings(a, b):
    assert {one.name for one in collected([mention("1", a), mention("2", b)])} == {a, b}


def test_names_are_merged_into_frequent_ones_only():
    rare = [mention("1", "expectation vs reality"), mention("2", "expectations vs reality")]
    assert len(collected(rare, head=2)) == 2
    assert len(collected(rare, head=1)) == 1


def test_names_of_one_meaning_are_merged_into_the_commonest_and_chains_are_not():
    mentions = [mention(str(i), "service speed") for i in range(3)] + [mention("8", "speed of service")]
    mentions += [mention("9", "speed")]
    gathered = gather(mentions)
    assert list(gathered) == ["service speed", "speed", "speed of service"]
    angles = np.radians([0, 30, 15])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    first, second = counted(merge_meanings(gathered, embeddings, np.cos(np.radians(16))), 1)
    assert (first.name, first.count, sorted(first.variants)) == (
        "service speed",
        4,
        ["service speed", "speed of service"],
    )
    assert (second.name, second.count) == ("speed", 1)


def test_an_attribute_needs_enough_texts():
    mentions = [mention(str(i), "joy") for i in range(5)] + [mention("1", "fear")]
    assert [a.name for a in collected(mentions, 2)] == ["joy"]
    assert collected(mentions, 6) == []


def test_the_description_is_the_commonest_whatever_the_order():
    mentions = [mention("a", "joy", "long text"), mention("b", "joy", "short"), mention("c", "joy", "also")]
    assert {collected(order)[0].description for order in (mentions, mentions[::-1])} == {"also"}


def test_of_descriptions_said_once_the_one_that_speaks_of_no_one_product_is_kept():
    mentions = [
        mention("1", "trust", "Whether the author trusts Brady."),
        mention("2", "trust", "How far the author relies on people."),
        mention("1", "praise", "Whether Brady is praised."),
        mention("3", "hope", "How far the author relies on the future."),
        mention("4", "support", "Whether people help."),
    ]
    trust = collected(mentions)[0]
    assert (trust.name, trust.description) == ("trust", "How far the author relies on people.")


def test_attributes_are_counted_again_in_a_part_of_the_texts():
    mentions = [mention("a", "trust"), mention("b", "trust level"), mention("b", "irony/joy"), mention("c", "joy")]
    attributes = collected(mentions)
    assert [a.name for a in attributes] == ["joy", "trust", "irony"]
    assert recount(attributes, mentions).tolist() == [a.count for a in attributes]
    assert recount(attributes, [one for one in mentions if one.text_id == "b"]).tolist() == [1, 1, 1]
    assert recount(attributes, mentions[-1:]).tolist() == [1, 0, 0]


def test_damaged_vectors_are_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_vectors(np.eye(3, dtype=np.float32))
    assert read_vectors() == pytest.approx(np.eye(3))
    whole = VECTORS.read_bytes()
    for damaged in (whole[:-5], whole[:20], b"", b"version https://git-lfs.github.com/spec/v1"):
        VECTORS.write_bytes(damaged)
        with pytest.raises(SentiDistillError, match=r"attribute_vectors\.npy: cannot be read .*; run `make repro`"):
            read_vectors()
