"""Damage done to teacher answers for tests: cuts, losses and stray marks, the same in every run."""

import os
import random
from collections.abc import Iterator, Sequence

# So many a parser; a longer search sets the environment variable.
NUMBER = int(os.environ.get("SENTIDISTILL_MUTATIONS", "200"))
PIECES = (
    "**",
    "\n",
    "\n\n",
    "1. ",
    "- ",
    "|",
    "{",
    '"',
    "}",
    "]",
    "Input:",
    "Output:",
    "Labels:",
    "#",
    ":",
    "(",
    "```",
)


def mutated(texts: Sequence[str], number: int, seed: int = 1) -> Iterator[str]:
    """`number` texts, each one of `texts` with one to four changes."""
    moments = random.Random(seed)
    for _ in range(number):
        text = moments.choice(texts)
        for _ in range(moments.randint(1, 4)):
            place = moments.randrange(len(text) + 1)
            kind = moments.random()
            if kind < 0.4:
                text = text[:place] + text[place + moments.randint(1, 30) :]
            elif kind < 0.8:
                text = text[:place] + moments.choice(PIECES) + text[place:]
            else:
                text = text[:place]
        yield text
