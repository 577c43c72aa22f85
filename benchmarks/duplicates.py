"""Near-duplicates at the paper's scale: python -m benchmarks.duplicates [TEXTS REFERENCES]

Texts of made-up words with the frequencies of a language; a tenth are references with some words changed. Shown are the
time and the peak of memory of `near_duplicates`, and of comparing every pair on the first 2,000 texts, which has to
flag the same.
"""

import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from sentidistill.sources.corpus import fold, near_duplicates

SIMILARITY, CHECKED = 0.7, 2000
ONSETS, VOWELS, ENDS = "bcdfghklmnprstw", "aeiou", ["", "n", "s", "ing"]


def every_pair(texts: Sequence[str], references: Sequence[str], similarity: float) -> list[bool]:
    vectorizer = CountVectorizer(analyzer="char_wb", lowercase=False, ngram_range=(5, 5), binary=True, dtype=np.float64)
    known = vectorizer.fit_transform([fold(text) for text in references])
    counted = CountVectorizer(analyzer="char_wb", lowercase=False, ngram_range=(5, 5)).build_analyzer()
    sizes = np.asarray(known.sum(axis=1)).ravel()
    flags: list[bool] = []
    for start in range(0, len(texts), 1000):
        rows = [fold(text) for text in texts[start : start + 1000]]
        common = (vectorizer.transform(rows) @ known.T).toarray()
        union = np.array([[len({*counted(row)})] for row in rows]) + sizes[None] - common
        flags += (common / np.maximum(union, 1) >= similarity).any(axis=1).tolist()
    return flags


def made_up(number: int, known: Sequence[str], seed: int) -> list[str]:
    draw = random.Random(0)  # one language for all seeds
    syllables = [onset + vowel for onset in ONSETS for vowel in VOWELS]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) + draw.choice(ENDS) for _ in range(40_000)]
    shares = list(accumulate(1 / (place + 3) for place in range(len(words))))
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(words, cum_weights=shares, k=draw.randint(5, 40))) for _ in range(number)]
    for place in range(0, number if known else 0, 10):
        changed = draw.choice(known).split()
        for _ in range(draw.randint(0, len(changed) // 4)):
            changed[draw.randrange(len(changed))] = draw.choice(words)
        texts[place] = " ".join(changed)
    return texts


def timed(
    name: str, function: Callable[..., list[bool]], texts: Sequence[str], references: Sequence[str]
) -> list[bool]:
    started = time.perf_counter(), time.process_time()
    flags = function(texts, references, SIMILARITY)
    seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}: {len(texts):,} texts against {len(references):,}, {sum(flags):,} flagged, {seconds:.1f} s "
        f"({cpu:.1f} s of processor time), {peak:.0f} MB at the peak",
        flush=True,
    )
    return flags


def main(texts: str = "200000", references: str = "20000") -> None:
    known = made_up(int(references), [], seed=1)
    ours = made_up(int(texts), known, seed=2)
    flags = timed("near_duplicates", near_duplicates, ours, known)
    assert flags[:CHECKED] == timed("every pair", every_pair, ours[:CHECKED], known), "the flags differ"


if __name__ == "__main__":
    main(*sys.argv[1:])
