"""From attribute mentions to attributes: normalising, merging, counting, filtering."""

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from rapidfuzz import fuzz, process

from sentidistill.errors import SentiDistillError
from sentidistill.records import Record, Table, write_bytes


class Mention(Record):
    """One attribute that the teacher found in one text."""

    text_id: str
    name: str
    description: str
    value: str


MENTIONS = Table("data/mentions.jsonl", Mention)


class AttributeCount(Record):
    """An attribute: `count` is the number of texts with it, or of mentions; `variants` maps raw names to mentions."""

    name: str
    count: int
    description: str
    variants: dict[str, int]


ATTRIBUTES = Table("data/attributes.jsonl", AttributeCount)
VECTORS = Path("data/attribute_vectors.npy")


def write_vectors(vectors: np.ndarray) -> None:
    """Unit-length embeddings of the names (n x d, float32), in the order of `ATTRIBUTES`."""
    content = io.BytesIO()
    np.save(content, vectors)
    write_bytes(VECTORS, content.getvalue())


def read_vectors() -> np.ndarray:
    """The embeddings that `write_vectors` has written. Raises `SentiDistillError` where the file is damaged."""
    try:
        return np.load(VECTORS)
    except (OSError, EOFError, ValueError) as error:
        raise SentiDistillError(f"{VECTORS}: cannot be read ({error}); run `make repro`") from error


@dataclass
class Gathered:
    """All that is known of one name: the texts that mention it, the texts of each description, and its raw names."""

    texts: set[str] = field(default_factory=set)
    descriptions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    variants: Counter[str] = field(default_factory=Counter)

    def number(self, of: Literal["texts", "mentions"]) -> int:
        return len(self.texts) if of == "texts" else self.variants.total()

    def take(self, other: "Gathered") -> None:
        self.texts |= other.texts
        for description, texts in other.descriptions.items():
            self.descriptions[description] |= texts
        self.variants.update(other.variants)


def normalise(name: str) -> list[str]:
    """Canonical names in a raw attribute name; slashes separate names.

    >>> normalise("Level of Irony/Sarcasm: high")
    ['irony', 'sarcasm']
    """
    names = []
    for part in name.lower().split(":")[0].split("/"):
        part = re.sub(r"[^\w'&.]+", " ", part)
        part = re.sub(r"(?<=[a-z])\.(?=\s|$)", "", part).strip()
        part = re.sub(r"^(?:the |(?:use|level|degree|sense) of )+", "", part)
        part = re.sub(r" (?:level|degree)$", "", part)
        if len(part) > 1 and part not in names:
            names.append(part)
    return names


def gather(mentions: Iterable[Mention]) -> dict[str, Gathered]:
    """Mentions by canonical name, names with the most texts first."""
    found: dict[str, Gathered] = defaultdict(Gathered)
    for mention in mentions:
        for name in normalise(mention.name):
            of_name = found[name]
            of_name.texts.add(mention.text_id)
            of_name.variants[mention.name] += 1
            if mention.description:
                of_name.descriptions[mention.description].add(mention.text_id)
    return _ordered(found)


def merge_spellings(gathered: dict[str, Gathered], min_ratio: float, min_texts: int) -> dict[str, Gathered]:
    """`gathered` with names that differ in spelling only (rapidfuzz ratio, 0 to 100) under the commonest of them.

    Names are merged only into names of at least `min_texts` texts that begin with the same letter. So the work grows
    with the number of names times the number of frequent names, and not with the square of the number of names.
    """
    merged: dict[str, Gathered] = {}
    frequent: dict[str, list[str]] = defaultdict(list)
    for name, one in gathered.items():
        match = process.extractOne(name, frequent[name[0]], scorer=fuzz.ratio, score_cutoff=min_ratio)
        if match is not None:
            merged[match[0]].take(one)
            continue
        merged[name] = one
        if len(one.texts) >= min_texts:
            frequent[name[0]].append(name)
    return _ordered(merged)


def merge_meanings(gathered: dict[str, Gathered], embeddings: np.ndarray, min_cosine: float) -> dict[str, Gathered]:
    """`gathered` with names that mean the same ("speed of service", "service speed") under the commonest of them.

    `embeddings` are unit-length rows (n x d) in the order of `gathered`.
    """
    names = list(gathered)
    cosines = embeddings @ embeddings.T
    heads = np.zeros(len(names), dtype=bool)
    merged: dict[str, Gathered] = {}
    for place, name in enumerate(names):
        nearest = int(np.where(heads, cosines[place], -1).argmax())
        if heads[nearest] and cosines[place, nearest] >= min_cosine:
            merged[names[nearest]].take(gathered[name])
        else:
            heads[place] = True
            merged[name] = gathered[name]
    return _ordered(merged)


def counted(
    gathered: dict[str, Gathered], least: int, of: Literal["texts", "mentions"] = "texts"
) -> list[AttributeCount]:
    """Attributes with at least `least` texts, or mentions, commonest first.

    The description is the commonest one of the attribute. Most descriptions occur once. Among equally common ones, the
    one is taken whose rarest word is in the descriptions of the most texts, so that it speaks of no one product or
    person; then the shorter one.
    """
    said_of: dict[str, set[str]] = defaultdict(set)
    for one in gathered.values():
        for description, texts in one.descriptions.items():
            for word in _words(description):
                said_of[word] |= texts
    kept = [
        AttributeCount(
            name=name,
            count=one.number(of),
            description=_commonest(one.descriptions, said_of),
            variants=dict(sorted(one.variants.items())),
        )
        for name, one in gathered.items()
        if one.number(of) >= least
    ]
    return sorted(kept, key=lambda one: (-one.count, one.name))


def texts_having(attributes: Sequence[AttributeCount], mentions: Iterable[Mention]) -> dict[str, set[str]]:
    """Ids of the texts that mention each of `attributes`, by its name."""
    names: dict[str, list[str]] = defaultdict(list)
    for attribute in attributes:
        for raw in attribute.variants:
            names[raw].append(attribute.name)
    found: dict[str, set[str]] = {attribute.name: set() for attribute in attributes}
    for mention in mentions:
        for name in names.get(mention.name, ()):
            found[name].add(mention.text_id)
    return found


def recount(attributes: Sequence[AttributeCount], mentions: Iterable[Mention]) -> np.ndarray:
    """Number of texts among those of `mentions` that mention each of `attributes` (n)."""
    having = texts_having(attributes, mentions)
    return np.array([len(having[attribute.name]) for attribute in attributes])


def _ordered(gathered: dict[str, Gathered]) -> dict[str, Gathered]:
    return {name: gathered[name] for name in sorted(gathered, key=lambda name: (-len(gathered[name].texts), name))}


def _commonest(descriptions: dict[str, set[str]], said_of: dict[str, set[str]]) -> str:
    def order(text: str) -> tuple[int, int, int, str]:
        return -len(descriptions[text]), -min((len(said_of[word]) for word in _words(text)), default=0), len(text), text

    return min(descriptions, key=order, default="")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
