"""How broad a set of instructions is: figures by which sets can be compared."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sentidistill.construct.attributes import AttributeCount
from sentidistill.construct.instructions import Instruction
from sentidistill.errors import SentiDistillError
from sentidistill.sources.corpus import read_rows
from sentidistill.sources.tables import Source

DRAWS = 20
COVERED = 0.5  # cosine from which an instruction counts as one about an attribute


def read_counts(path: Path) -> list[AttributeCount]:
    """Attributes of a file with the columns attribute and count.

    Raises `SentiDistillError` naming the file and the line where the count is no whole number above 0.
    """
    source = Source(path, "attribute", setting="name that column attribute", recode="save the file in UTF-8")
    rows, _ = read_rows(source, "count")
    for name, count, place in rows:
        if not (count.isdecimal() and len(count) <= 12 and int(count)):
            raise SentiDistillError(
                f"{path}, {place}: the count of {name!r} is {count!r}; expected a whole number above 0"
            )
    return [AttributeCount(name=name, count=int(count), description="", variants={}) for name, count, _ in rows]


def distinct_n(texts: Sequence[str], n: int, size: int, seed: int) -> float:
    """Share of different word n-grams among all n-grams of `size` texts drawn from `texts`; mean over 20 draws.

    The share falls as a set grows, so sets are compared at one size (distinct-n, Li et al. 2016).
    """
    random = np.random.default_rng(seed)
    shares = []
    for _ in range(DRAWS):
        grams: list[tuple[str, ...]] = []
        for place in random.choice(len(texts), min(size, len(texts)), replace=False):
            words = texts[place].casefold().split()
            grams += zip(*(words[i:] for i in range(n)))
        shares.append(len(set(grams)) / max(len(grams), 1))
    return float(np.mean(shares))


def spread(embeddings: np.ndarray) -> float:
    """Mean cosine distance between two different rows of unit length (n x d); 0 for fewer than two."""
    n = len(embeddings)
    if n < 2:
        return 0.0
    total = float(np.square(embeddings.sum(axis=0, dtype=np.float64)).sum())
    return 1 - (total - n) / (n * (n - 1))


def covered(attributes: np.ndarray, instructions: np.ndarray, min_cosine: float) -> np.ndarray:
    """Which attributes (n x d) have an instruction (m x d) at a cosine of `min_cosine` or more (n)."""
    return (attributes @ instructions.T).max(axis=1, initial=-1.0) >= min_cosine


def named(names: Sequence[str], instructions: Sequence[str]) -> np.ndarray:
    """Which of the names stand in one of the instructions, as words (n)."""
    text = "\n".join(instructions)
    return np.array([re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE) is not None for name in names])


def coverage(
    rows: list[Instruction], embeddings: np.ndarray, attributes: list[AttributeCount], of_attributes: np.ndarray
) -> dict[str, float]:
    """Share of the attributes, and of their mentions, that a set of instructions covers; embeddings are of both.

    An instruction covers an attribute if it names it, or if their embeddings are near. Both count, because a bare word
    is often not near a sentence that asks about it, and because a paraphrase does not name the attribute.
    """
    counts = np.array([attribute.count for attribute in attributes])
    near = covered(of_attributes, embeddings, COVERED)
    hit = near | named([attribute.name for attribute in attributes], [row.text for row in rows])
    return {
        "attributes_covered": round(float(hit.mean()), 4),
        "mentions_covered": round(float(counts[hit].sum() / counts.sum()), 4),
        "mentions_near": round(float(counts[near].sum() / counts.sum()), 4),
    }


def variety(rows: list[Instruction], embeddings: np.ndarray, size: int) -> dict[str, float]:
    """How unlike each other the instructions of a set are, and of which families; distinct-n of `size`."""
    texts = [row.text for row in rows]
    families = Counter(row.family for row in rows)
    return {
        "distinct_1": round(distinct_n(texts, 1, size, seed=0), 4),
        "distinct_2": round(distinct_n(texts, 2, size, seed=0), 4),
        "embedding_spread": round(spread(embeddings), 4),
        **{f"share_{family}": round(number / len(rows), 4) for family, number in sorted(families.items())},
    }
