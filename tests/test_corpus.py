import gzip
import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from sentidistill import records
from sentidistill.config.benchmark import PrepareBenchmark
from sentidistill.config.corpus import Vader
from sentidistill.config.models import Package
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import Example, label
from sentidistill.evaluation.splits import split
from sentidistill.sources import corpus, packages, tables
from stages import prepare_corpus
from tests.project import ROOT

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
# Marks, joiners, invisible characters, emoji, controls, surrogates, a semicolon that NFC makes; and words.
CHARACTERS = "\u0301\u093e\u200d\u200c\u00ad\ufe0f\U0001f600\U0001f1eb\U0001f1f7\x00\x1c\ufeff\ud83d\ude00\u037e"
PIECES = st.sampled_from([*CHARACTERS, *"ae&;#. ", "क", "م", "amp;", "&lt", "&#38;", "&#39;", "@x", "http://y", ":)"])
TEXTS = st.one_of(st.lists(PIECES).map("".join), st.text(st.characters(codec=None)))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  a\t\n b\u2028c\x85d ", "a b c d"),
        ("cafe\u0301", "café"),
        ("\ufeffa\x00\x07b\x9f c", "ab c"),
        ("lone \ud83d, pair \ud83d\ude00", "lone , pair \U0001f600"),
    ],
)
def test_a_clean_text_has_no_controls_and_single_blanks(raw, clean):
    assert corpus.clean(raw) == clean


@pytest.mark.parametrize(
    "text",
    [
        f"We are happy {FAMILY}!",
        "Love it \u2764\ufe0f \U0001f44d\U0001f3fd \U0001f1eb\U0001f1f7",
        "می\u200cخواهم بروم",
        "क्\u200dष",
        "Donau\u00addampf\u200bschiff",
        "newer than any Python: \U0001fae9 \U0001fbff \U000e0fff",
        "private use: \ue000",
    ],
)
def test_what_joins_emoji_and_letters_and_what_is_newer_than_this_python_stays(text):
    assert corpus.clean(text) == text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a &amp; b", "a & b"),
        ("it&#39;s &#x1F600; &quot;fine&quot;", 'it\'s \U0001f600 "fine"'),
        ("escaped twice: &amp;lt;3 and &amp;#39;", "escaped twice: <3 and '"),
        ("in turn: &#38;lt; &gt\u037e &l\ufefft; &#xfeff;x", "in turn: < > < x"),
        ("see?id=4&copy=2&para=1", "see?id=4&copy=2&para=1"),
        ("see?id=4&amp;copy=2", "see?id=4&copy=2"),
        ("AT&T, R&D; fish &chips;", "AT&T, R&D; fish &chips;"),
        ("&notit; &amp &#; &#xZ;", "&notit; &amp &#; &#xZ;"),
    ],
)
def test_entities_become_characters_only_with_their_semicolon(raw, clean):
    assert corpus.clean(raw) == clean


@pytest.mark.parametrize("escape", ["amp;", "#38;", "#038;", "#x26;", "#X026;"])
def test_a_character_that_was_escaped_by_the_thousand_is_that_character(escape):
    assert corpus.clean("&" + escape * 20_000 + "lt;") == "<"


@pytest.mark.parametrize("levels", range(11))
def test_entities_within_entities_become_one_character(levels):
    text = "&lt;"
    for _ in range(levels):  # the last character of the innermost one: "&l&#116;;", "&l&#11&#54;;;"
        end = text.index(";")
        text = f"{text[: end - 1]}&#{ord(text[end - 1])};{text[end:]}"
    assert corpus.clean(text) == corpus.clean(corpus.clean(text)) == "<"


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_cleaning_a_clean_text_changes_nothing_and_gives_valid_utf_8(text):
    cleaned = corpus.clean(text)
    assert corpus.clean(cleaned) == cleaned
    assert cleaned.encode().decode() == cleaned
    assert corpus.text_id(text) == corpus.text_id(cleaned)


def test_ids_do_not_depend_on_what_this_python_knows_of_unicode():
    """Letters that came after Unicode 3.2 are neither composed nor put in lower case: older Pythons could not."""
    kaithi, adlam = "\U00011099\U000110ba", "\U0001e900"
    assert corpus.clean(kaithi) == kaithi
    assert corpus.fold(adlam) == adlam
    assert corpus.fold("Zu SÜß \U0001fae9\U0001fbff!") == "zu süss \U0001fae9\U0001fbff"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("So good, really!", "so GOOD really"),
        ("It’s “fine” – I think…", "it's fine - I think"),
        ("Straße", "STRASSE"),
        ("love it \u2764\ufe0f", "Love it \u2764"),
        ("Donau\u00addampf", "Donaudampf"),
        ("这部电影，很好！", "这部电影 很好"),
        ("@anna_b love you", "@user love you"),
        (".@JoeB: so true", ".@user so true"),
        ("hi @anna@masto.example and @bo.bsky.social", "hi @user and @user"),
        ("read https://t.co/aB1, now", "Read http now"),
        ("read www.x.org/a?b=1 now", "read HTTPURL now"),
        ("pic.twitter.com/xyz so sweet", "http so sweet"),
        ("今天https://t.co/aB1好", "今天 http 好"),
    ],
)
def test_texts_that_differ_in_case_punctuation_handles_or_links_are_the_same(one, other):
    assert corpus.text_id(one) == corpus.text_id(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I hate C++", "I hate C#"),
        ("What a day \U0001f600", "What a day \U0001f621"),
        ("What a day :)", "What a day :("),
        ("What a day", "What a day \U0001f621"),
        ("\U0001f600", "\U0001f621"),
        ("!!!", "???"),
        ("की", "का"),
        ("@anna @bo", "@carl"),
        ("https://t.co/a", "https://t.co/b"),
        ("from $5 to 10%", "from 5 to 10"),
        ("1.5 stars", "15 stars"),
        ("4.5/5 stars", "3.5/5 stars"),
        ("anna@x.org wrote", "bo@x.org wrote"),
        ("write to anna@x.org", "write to anna@y.org"),
        ("می\u200cخواهم", "نمی\u200cخواهم"),
    ],
)
def test_texts_that_say_something_else_have_ids_of_their_own(one, other):
    assert corpus.text_id(one) != corpus.text_id(other)


@pytest.mark.parametrize("piece", ["amp;", "a.", "a-", "@", "@a", "&#1;", ".", "http://", "\ufeff"])
def test_long_texts_of_one_piece_take_no_time(piece):
    """A second or so; where the work grows with the square of the length, many minutes."""
    assert corpus.fold("&" + piece * 100_000)


def test_of_texts_that_are_the_same_one_is_kept_in_any_order_and_the_others_are_counted():
    rows = [("so GOOD really", "a"), ("short", "b"), ("So good, really!", "c"), ("x" * 50, "d"), ("Another text", "e")]
    kept, left_out = corpus.distinct(rows, 10, 40)
    assert sorted(kept) == [("Another text", "e"), ("So good, really!", "c")]
    assert left_out == {"too_short_or_long": 2, "same_as_another": 1}
    assert corpus.distinct(rows[::-1], 10, 40) == (kept, left_out)


def test_of_equal_texts_the_first_one_gives_what_belongs_to_it():
    kept, left_out = corpus.distinct([("A long text", 2), ("A  long text", 1)], 1, 40)
    assert kept == [("A long text", 2)]
    assert left_out["same_as_another"] == 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.integers(0, 3))))
def test_every_text_is_kept_once_or_counted(rows):
    kept, left_out = corpus.distinct(rows, 1, 20)
    assert len(kept) + sum(left_out.values()) == len(rows)
    ids = [corpus.text_id(text) for text, _ in kept]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("... \U0001f600 !", 0),
        ("It's a well-made film, 10/10", 5),
        ("मैं बहुत खुश हूँ", 4),
        ("이 영화 정말 좋아요", 4),
        ("这部电影太糟糕了，我不喜欢。", 6),
        ("この映画は本当に面白かったです。", 8),
        ("ฉันรักหนังเรื่องนี้มาก", 6),
        ("我的iPhone 15很好", 4),
    ],
)
def test_words_are_counted_as_the_script_has_them(text, words):
    assert corpus.word_count(text) == words


def test_near_duplicates_are_found_and_other_texts_are_not():
    references = ["The battery of this camera lasts for two whole days.", "What a wonderful evening we had."]
    texts = [
        "the battery of this camera lasts for two whole days",
        "The battery of this camera lasts for three whole days.",
        "The screen of this phone broke on the first day.",
        "What a wonderful evening we had!!!",
    ]
    assert corpus.near_duplicates(texts, references, 0.7) == [True, True, False, True]
    assert corpus.near_duplicates(texts, [], 0.7) == [False] * 4


def test_short_texts_without_any_gram_are_compared_exactly():
    assert corpus.near_duplicates(["a b", "c d"], ["A, b"], 0.7) == [True, False]


def test_tweets_are_found_again_under_masked_handles_and_links():
    masked = ["@user @user that was the worst service ever http", "@user so proud of you today"]
    real = [
        "@united @jane_doe_1984 That was the worst service ever!! https://t.co/x1Y2z3",
        "@_a_very_long_handle_ so proud of you today",
        "@united I am so glad that it all went well in the end",
    ]
    assert corpus.near_duplicates(real, masked, 0.7) == [True, True, False]
    assert corpus.near_duplicates(masked, real, 0.7) == [True, True]


def test_masks_alone_make_no_duplicates():
    assert corpus.near_duplicates(
        ["@user @user yes http", "\U0001f600"], ["@user @user no http", "\U0001f621"], 0.7
    ) == [
        False,
        False,
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["so", "good", "really", "goods", "@x", "film", "films", "\U0001f600"])), max_size=12
    ),
    st.lists(st.lists(st.sampled_from(["so", "good", "really", "a", "film"])), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 2 / 3, 0.7, 0.75, 0.9, 1.0]),
)
def test_what_is_flagged_is_what_comparing_every_pair_flags(texts, references, similarity):
    texts, references = ([" ".join(words) for words in rows] for rows in (texts, references))
    grams = CountVectorizer(analyzer="char_wb", lowercase=False, ngram_range=(5, 5)).build_analyzer()

    def alike(one: str, other: str) -> bool:
        ones, others = ({*grams(corpus.fold(text))} for text in (one, other))
        return corpus.fold(one) == corpus.fold(other) or len(ones & others) / max(len(ones | others), 1) >= similarity

    expected = [any(alike(text, other) for other in references) for text in texts]
    assert corpus.near_duplicates(texts, references, similarity) == expected


def test_pools_are_disjoint_stable_and_spread_over_the_domains():
    texts = [(f"{domain} text number {i}", domain) for domain in ("tweet", "movie") for i in range(40)]
    sizes = {"enumeration": 10, "distillation": 36}
    rows = corpus.assign_pools(texts, sizes)
    assert len({row.id for row in rows}) == len(rows)
    for pool, size in sizes.items():
        assert sum(row.pool == pool for row in rows) == size
        assert sum(row.pool == pool and row.domain == "tweet" for row in rows) == size // 2
    assert corpus.assign_pools(texts[::-1], sizes) == rows


def pools(texts: int, enumeration: int, distillation: int) -> tuple[int, int]:
    rows = corpus.assign_pools(
        [(f"text {i}", "mine") for i in range(texts)], {"enumeration": enumeration, "distillation": distillation}
    )
    return sum(row.pool == "enumeration" for row in rows), sum(row.pool == "distillation" for row in rows)


def test_of_few_texts_a_third_is_enumerated_and_all_are_used():
    assert pools(300, 240, 4000) == (100, 200)
    assert pools(3000, 240, 4000) == (240, 2760)
    assert pools(300, 240, 20) == (240, 20)
    assert pools(300, 240, 100) == (200, 100)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 60), min_size=1), st.integers(2, 60), st.integers(1, 99))
def test_no_text_lies_idle_while_a_pool_has_room_but_for_enumeration_of_few(domains, enumeration, distillation):
    texts = [(f"{domain} text {i}", domain) for domain, number in domains.items() for i in range(number)]
    rows = corpus.assign_pools(texts, {"enumeration": enumeration, "distillation": distillation})
    got = {pool: [row.domain for row in rows if row.pool == pool] for pool in ("enumeration", "distillation")}
    assert len(got["enumeration"]) <= enumeration
    assert len(got["distillation"]) <= distillation
    assert len(rows) == min(len(texts), enumeration + distillation)
    if len(rows) < enumeration + distillation:
        assert len(got["enumeration"]) == min(enumeration, max(len(texts) // 3, len(texts) - distillation))


def test_a_small_domain_leaves_its_part_to_the_others_and_is_in_both_pools():
    texts = [(f"{domain} text {i}", domain) for domain, number in (("a", 30), ("b", 500)) for i in range(number)]
    rows = corpus.assign_pools(texts, {"enumeration": 100, "distillation": 300})
    of_a = [row.pool for row in rows if row.domain == "a"]
    assert len(rows) == 400
    assert (of_a.count("enumeration"), of_a.count("distillation")) == pytest.approx((7.5, 22.5), abs=0.5)


@pytest.fixture
def own_texts(tmp_path, monkeypatch):
    """A folder in which prepare_corpus can run, and a function that runs it on texts of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    held_out = Example(id="0", sentence="@user this one is held out, as you can see", label="neutral", rating=0.0)
    records.write_jsonl("data/benchmark/tweet/test.jsonl", [held_out])
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["prepare_corpus"]["sources"] = [{"domain": "mine", "path": "own/mine.csv", "text_field": "review"}]
    values["prepare_corpus"]["held_out"] = "own/listed.txt"
    records.write_text("own/listed.txt", corpus.text_id("This one is listed, and so it is left out.") + "\n")
    records.write_text("params.yaml", yaml.safe_dump(values))

    def run(texts: list[str]) -> tuple[list[corpus.Text], dict]:
        pd.DataFrame({"review": texts}).to_csv("own/mine.csv", index=False)
        prepare_corpus.main()
        return records.read_jsonl("data/corpus.jsonl", corpus.Text), records.read_json("metrics/prepare_corpus.json")

    return run


def test_listed_texts_stay_out_of_the_corpus_and_a_missing_list_is_named(own_texts):
    reviews = [f"Review number {i}: it does what it says, and more than that." for i in range(40)]
    rows, metrics = own_texts([*reviews, "this one is LISTED, and so it is left out!"])
    assert {row.text for row in rows} == set(reviews)
    assert metrics["removed_as_listed"] == 1
    Path("own/listed.txt").unlink()
    with pytest.raises(SentiDistillError, match=r"listed\.txt"):
        own_texts(reviews)


def test_300_reviews_of_ones_own_fill_both_pools_and_the_metrics_say_what_was_asked(own_texts):
    reviews = [f"Review number {i}: it does what it says, and more than that." for i in range(300)]
    held_out, same = "@anna This one is held out, as you can see!", reviews[0].upper()
    rows, metrics = own_texts([*reviews, "short", "", held_out, same])
    assert len(rows) == 300
    assert metrics == {
        "texts_read": 303,
        "rows_without_text": 1,
        "too_short_or_long": 1,
        "same_as_another": 1,
        "removed_same_as_benchmark": 1,
        "removed_near_duplicate_of_benchmark": 0,
        "removed_as_listed": 0,
        "usable": 300,
        "pool_enumeration": 100,
        "pool_enumeration_asked": 320,
        "pool_distillation": 200,
        "pool_distillation_asked": 4000,
    }


def test_too_few_texts_end_the_stage_with_the_numbers_and_what_to_change(own_texts):
    with pytest.raises(SentiDistillError, match=r"29 usable texts, at least 30 .*Of 31 read, 2 do not .*min_chars"):
        own_texts([f"Review number {i}: it does what it says, and more." for i in range(29)] + ["short", "bad"])
    assert not Path("data/corpus.jsonl").exists()


TABLE = pd.DataFrame({"review": ["Good, really", 'Bad\nand "worse"'], "stars": [5, 1]})


def in_kind(path: Path) -> Path:
    """`TABLE` as a file of the kind that the path's name says."""
    kind = path.name.partition(".")[2].removesuffix(".gz")
    if kind == "parquet":
        TABLE.to_parquet(path)
    elif kind == "jsonl":
        TABLE.to_json(path, orient="records", lines=True)
    else:
        TABLE.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return path


def read_rows(path: Path, text_field: str, *fields: str) -> tuple[list[tuple[str, ...]], int]:
    """As the corpus does, without the places of the rows."""
    rows, empty = corpus.read_rows(corpus.of_params(path, text_field), *fields)
    return [row[:-1] for row in rows], empty


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.csv.gz", "a.tsv.gz", "a.jsonl.gz", "A.CSV"]
)
def test_own_files_are_read_in_every_format(name, tmp_path):
    path = in_kind(tmp_path / name)
    assert read_rows(path, "review", "stars") == ([("Good, really", "5"), ('Bad\nand "worse"', "1")], 0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "review;stars\nGood, really, and cheap;5\nBad, too;1\n"),
        ("a.csv", '"review, whole"|review\n"x"|Good, really, and cheap\ny|Bad, too\n'),
        ("a.csv", "\ufeffreview\tid\nGood, really, and cheap\t1\nBad, too\t2\n\n\n"),
        ("a.csv", 'id,review\r\n1,"Good, really, and cheap"\r\n2,"Bad, too"\r\n\r\n'),
        ("a.jsonl", '{"review": "Good, really, and cheap"}\n\n{"review": "Bad, too"}\n\n \n'),
        ("a.jsonl", '\ufeff{"review": "Good, really, and cheap"}\r\n{"review": "Bad, too"}'),
    ],
)
def test_separators_marks_and_blank_lines_are_as_programs_write_them(name, content, tmp_path):
    (tmp_path / name).write_bytes(content.encode())
    assert read_rows(tmp_path / name, "review")[0] == [("Good, really, and cheap",), ("Bad, too",)]


def test_names_within_objects_are_found_and_shown(tmp_path):
    rows = [{"id": 1, "review": {"title": "Fine", "body": {"text": f"It works, {number}."}}} for number in range(3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    for kind in ("jsonl", "parquet"):
        path = tmp_path / f"a.{kind}"
        assert read_rows(path, "review.body.text", "id")[0][2] == ("It works, 2.", "1")
        with pytest.raises(
            SentiDistillError, match=r"a\.\w+, (line|row) 1: no text .*has id, review\.title, review\.body"
        ):
            read_rows(path, "review")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_rows_without_a_text_are_counted_up_to_a_share(name, tmp_path):
    def read(empty: int, of: int = 40) -> tuple[list, int]:
        texts = [None if 8 <= number < 8 + empty else f"text {number}" for number in range(of)]
        table, path = pd.DataFrame({"id": range(of), "text": texts}), tmp_path / name
        writers = {"csv": table.to_csv, "jsonl": table.to_json, "parquet": table.to_parquet}
        writers[path.suffix[1:]](path, **({"orient": "records", "lines": True} if path.suffix == ".jsonl" else {}))
        return read_rows(path, "text")

    rows, empty = read(3)
    assert (len(rows), empty) == (37, 3)
    assert rows[7:9] == [("text 7",), ("text 11",)]
    with pytest.raises(
        SentiDistillError, match=r"(line (9|10)|row 9): no text under 'text', as in 30 of 40 rows.*text_field"
    ):
        read(30)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "ok"}\n{"text": \n', "a.jsonl, line 2: no JSON"),
        ("a.jsonl", b'{"text": "ok"}\n\n' + b"[" * 5000 + b"\n", "a.jsonl, line 3: no JSON"),
        ("a.jsonl", b'{"text": "ok"}\n{"other": "x"}\n', "a.jsonl, line 2: no text under 'text'"),
        ("a.jsonl", b'{"text": "ok"}\n\xff\xfe\n', "a.jsonl, line 2: not in the encoding utf-8"),
        ("a.jsonl", b"[1]\n", "a.jsonl, line 1: no object"),
        ("a.jsonl", b'{"text": "ok"}\n{"text": "a", "text": "b"}\n', "line 2: no JSON .two columns are called text"),
        (
            "a.jsonl",
            b'{"review": "ok", "stars": 5}\n',
            "no column 'text'; it has review, stars; set text_field in params",
        ),
        ("a.csv", b"text\nok\n\xff\n", "a.csv, line 3: not in the encoding .*0xff.*; save the file in UTF-8"),
        ("a.csv", "id;text\n1;ok\n2;Tr\u00e8s bon\n".encode("latin-1"), "line 3: .*0xe8.*save the file in UTF-8"),
        ("a.csv", "text\nok\n".encode("utf-16"), "a.csv: in UTF-16, not in UTF-8; save"),
        ("a.csv", b"other\nok\n", "a.csv: no column 'text'; it has other; set text_field.*first line has to name"),
        ("a.csv", b"Great phone,5\nBad phone,1\n", "no column 'text'; it has Great phone, 5; set text_field"),
        ("a.csv", b"text,n\nok,1\nso, so,2\n", r"a.csv, line 3: has not as many cells .*\(3 for 2\)"),
        ("a.csv", b'n,text\n1,"two\nlines"\n2\n', r"a.csv, line 4: has not as many cells .*\(1 for 2\)"),
        ("a.csv", b'n,text\n1,ok\n2,"open\n3,ok\n4,ok\n', "a.csv, lines 3 to 5: no CSV"),
        ("a.csv", b"text,text\nok,ok\n", "two columns are called text"),
        ("a.csv", b"text\n", "a.csv: no rows"),
        ("a.parquet", b"nonsense", "a.parquet: not a Parquet file"),
        ("a.jsonl", b"", "a.jsonl: no rows"),
        ("a.jsonl", b"\n\n", "a.jsonl: no rows"),
        ("a.csv.gz", gzip.compress(b"text\n" + b"ok\n" * 99, mtime=0)[:-12], "a.csv.gz: cannot be read"),
        ("a.csv.gz", b"text\nok\n", "a.csv.gz: cannot be read"),
        ("a.txt", b"x", "unknown kind of file; use one of .csv, .tsv, .jsonl, .parquet"),
        ("a.parquet.gz", b"x", "unknown kind of file"),
    ],
)
def test_a_bad_file_is_named_with_its_line_and_the_remedy(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SentiDistillError, match=message):
        read_rows(path, "text")


def test_a_date_that_python_has_not_is_an_error_of_the_file(tmp_path):
    days = pyarrow.array([0, 10_000_000], type=pyarrow.int32()).cast(pyarrow.date32())
    pyarrow.parquet.write_table(pyarrow.table({"text": ["ok", "fine"], "day": days}), tmp_path / "a.parquet")
    with pytest.raises(SentiDistillError, match=r"a\.parquet: cannot be read \(date.*write its values"):
        read_rows(tmp_path / "a.parquet", "text")


def test_two_columns_of_one_name_are_refused_in_a_parquet_file(tmp_path):
    twice = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(SentiDistillError, match=r"a\.parquet: .*two columns are called text.*rename"):
        read_rows(tmp_path / "a.parquet", "text")


def test_columns_without_a_name_are_kept_apart_by_their_place(tmp_path):
    (tmp_path / "a.csv").write_text("text,,\nok,1,2\n")
    assert [row.values for row in tables.Source(tmp_path / "a.csv", "text").rows()] == [
        {"text": "ok", "column 2": "1", "column 3": "2"}
    ]
    (tmp_path / "a.csv").write_text(",text\n0,ok\n")  # as pandas writes its index
    assert read_rows(tmp_path / "a.csv", "text", "") == ([("ok", "0")], 0)


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_CHARS", 1000)
    (tmp_path / "a.jsonl").write_text('{"text": "' + "x" * 2000 + '"}\n')
    with pytest.raises(SentiDistillError, match=r"a\.jsonl, line 1: more than 1,000 characters"):
        read_rows(tmp_path / "a.jsonl", "text")
    (tmp_path / "a.csv").write_text('n,text\n1,"open\n' + "2,short\n" * 500)
    with pytest.raises(SentiDistillError, match=r"a\.csv, lines 2 to .*: no CSV"):
        read_rows(tmp_path / "a.csv", "text")


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_long_cell_among_the_first_lines_is_named_with_its_lines(separator, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_CHARS", 1000)
    cell = "a line of a letter\n" * 80
    (tmp_path / "a.csv").write_text(f'n{separator}text\n1{separator}ok\n2{separator}"{cell}"\n3{separator}ok\n')
    with pytest.raises(SentiDistillError, match=r"a\.csv, lines 3 to \d+: no CSV .*field larger"):
        read_rows(tmp_path / "a.csv", "text")


def test_a_bad_row_ends_nothing_where_rows_are_marked(tmp_path):
    """As `sentidistill.predict` reads: the rows around it are whole, and its place is said."""
    lines = [f"{number},text {number}".encode() for number in range(300)]
    lines[200], lines[210], lines[220] = b"200,Tr\xe8s bon", b"210", b'220,a "b" c, "d'
    (tmp_path / "a.csv").write_bytes(b"\n".join([b"id,text", *lines]))
    rows = list(tables.Source(tmp_path / "a.csv", "text").rows())
    assert [row.place for row in rows if row.fault] == ["line 202", "line 212", "line 222"]
    assert [row.values["text"] for row in rows if not row.fault] == [
        f"text {number}" for number in range(300) if number not in (200, 210, 220)
    ]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SentiDistillError, match=r"gone\.csv: cannot be read"):
        read_rows(tmp_path / "gone.csv", "text")


RATED = [corpus.Rated(text=f"@user{i} what number {i} has to say", rating=(-2.0, 0.0, 2.0)[i % 3]) for i in range(30)]


def test_the_benchmarks_splits_share_no_text_under_other_handles_and_count_repetitions():
    per_label = {"train": 4, "validation": 2, "test": 4}
    params = PrepareBenchmark(
        tasks={},
        negative_below=-0.5,
        positive_above=0.5,
        per_label=per_label,
        min_chars=15,
        max_chars=99,
        sentibench=None,
        own=[],
        own_records={"train": 1, "validation": 1, "test": 1},
    )
    again = [corpus.Rated(text=row.text.replace("@user", "@anna"), rating=row.rating) for row in RATED]
    splits, left_out = split([*RATED, *again], params, "tweet")
    assert left_out == {"too_short_or_long": 0, "same_as_another": 30}
    ids = [example.id for examples in splits.values() for example in examples]
    assert len(ids) == len(set(ids)) == 30
    assert all(label(one.rating, -0.5, 0.5) == one.label for examples in splits.values() for one in examples)


def test_line_separators_within_a_rated_text_do_not_part_it(tmp_path):
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("data/tweets_GroundTruth.txt", "1\t2.5\tso\u2028good\r\n2\t-1.5\tso\x85bad\r\n")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("p/inner.zip", inner.getvalue())
    (tmp_path / "download.zip").write_bytes(outer.getvalue())
    package = Package(name="rated", version="1.0", sha256=packages.sha256(tmp_path / "download.zip"))
    (tmp_path / "download.zip").rename(tmp_path / package.sha256)
    rows = corpus.rated_sentences(Vader(package=package, inner_archive="*.zip"), tmp_path, "tweets")
    assert [(corpus.clean(row.text), row.rating) for row in rows] == [("so good", 2.5), ("so bad", -1.5)]
