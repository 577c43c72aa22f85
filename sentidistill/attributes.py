"""From attribute mentions to attributes: normalising, merging, counting, filtering."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from rapidfuzz import fuzz, process

from sentidistill.records import Record

# Above this similarity two names are spellings of one ("expectation vs reality", "expectations vs. reality").
SAME_NAME = 92.0


class Mention(Record):
    """One attribute that the teacher found in one text."""

    text_id: str
    name: str
    description: str
    value: str


class AttributeCount(Record):
    """An attribute: `count` is the number of texts that mention it, `variants` maps raw names to mentions."""

    name: str
    count: int
    description: str
    variants: dict[str, int]


def normalise(name: str) -> list[str]:
    """Canonical names in a raw attribute name; slashes make several.

    >>> normalise("Level of Irony/Sarcasm: high")
    ['irony', 'sarcasm']
    """
    names = []
    for part in name.lower().split(":")[0].split("/"):
        part = re.sub(r"[^\w'&.]+", " ", part)
        part = re.sub(r"(?<=[a-z])\.(?=\s|$)", "", part).strip()
        part = re.sub(r"^(?:(?:the|use|level|degree|sense) (?:of )?)+", "", part)
        part = re.sub(r" (?:level|degree)$", "", part)
        if len(part) > 1 and part not in names:
            names.append(part)
    return names


def collect(mentions: Iterable[Mention], n_texts: int, min_texts: int, min_share: float) -> list[AttributeCount]:
    """Attributes of at least `min_texts` texts and the share `min_share` of `n_texts`, commonest first.

    Names that differ in spelling only are merged into the commonest. The description is the
    commonest one of the attribute; ties go to the shorter, then to the first in the alphabet.
    """
    texts: dict[str, set[str]] = defaultdict(set)
    descriptions: dict[str, Counter[str]] = defaultdict(Counter)
    variants: dict[str, Counter[str]] = defaultdict(Counter)
    for mention in mentions:
        for name in normalise(mention.name):
            texts[name].add(mention.text_id)
            variants[name][mention.name] += 1
            if mention.description:
                descriptions[name][mention.description] += 1
    merged: list[str] = []
    for name in sorted(texts, key=lambda name: (-len(texts[name]), name)):
        match = process.extractOne(name, merged, scorer=fuzz.ratio, score_cutoff=SAME_NAME)
        if match is None:
            merged.append(name)
            continue
        texts[match[0]] |= texts.pop(name)
        descriptions[match[0]].update(descriptions.pop(name, {}))
        variants[match[0]].update(variants.pop(name))
    needed = max(min_texts, math.ceil(min_share * n_texts))
    kept = [name for name in merged if len(texts[name]) >= needed]
    return [
        AttributeCount(
            name=name,
            count=len(texts[name]),
            description=_commonest(descriptions[name]),
            variants=dict(sorted(variants[name].items())),
        )
        for name in sorted(kept, key=lambda name: (-len(texts[name]), name))
    ]


def _commonest(counts: Counter[str]) -> str:
    return min(counts, key=lambda text: (-counts[text], len(text), text), default="")
