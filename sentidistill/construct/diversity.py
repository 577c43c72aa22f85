"""How broad a set of instructions is: figures to compare one set with another by."""

import re
from collections.abc import Sequence

import numpy as np

DRAWS = 20


def distinct_n(texts: Sequence[str], n: int, size: int, seed: int) -> float:
    """Share of the word n-grams that are different, of `size` texts drawn from `texts`; mean over 20 draws.

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
    return (attributes @ instructions.T).max(axis=1) >= min_cosine


def named(names: Sequence[str], instructions: Sequence[str]) -> np.ndarray:
    """Which of the names stand in one of the instructions, as words (n)."""
    text = "\n".join(instructions)
    return np.array([re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE) is not None for name in names])
