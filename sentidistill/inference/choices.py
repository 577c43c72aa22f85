"""Log-probabilities of whole choices from those of single tokens, for engines that score token by token.

A choice counts with its end, which is any one of a few tokens.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sentidistill.inference.requests import ROUNDING, Job, Response

# Likeliest tokens that llama.cpp is asked to show. If a token of a choice is not among them, it has to show all.
SHOWN = 64
ALL = 10**7


def branches(job: Job) -> dict[tuple[int, ...], list[int]]:
    """For each beginning of a choice, the empty one first and the whole one last, the tokens that may come next."""
    found: dict[tuple[int, ...], set[int]] = {}
    for choice in job.choice_ids:
        for place, token in enumerate(choice):
            found.setdefault(tuple(choice[:place]), set()).add(token)
        found.setdefault(tuple(choice), set()).update(job.end_ids)
    return {beginning: sorted(tokens) for beginning, tokens in found.items()}


def response(job: Job, logprobs: Mapping[tuple[int, ...], Mapping[int, Any]]) -> Response:
    """The likeliest choice, from the log-probabilities of the tokens after each beginning in `branches(job)`.

    A value that is no log-probability makes the whole answer an error; else labels would be chosen by nonsense.
    """
    for one in (logprobs[beginning][token] for beginning, tokens in branches(job).items() for token in tokens):
        if isinstance(one, bool) or not isinstance(one, int | float) or not math.isfinite(one) or one > ROUNDING:
            return Response.failed(f"the model gave the log-probability {str(one)[:40]!r}", len(job.prompt_ids))
    scores = summed(job, logprobs)
    best = max(range(len(scores)), key=scores.__getitem__)
    return Response(job.request.choices[best], "choice", len(job.prompt_ids), 0, scores)


def summed(job: Job, logprobs: Mapping[tuple[int, ...], Mapping[int, float]]) -> tuple[float, ...]:
    """Log-probability of each choice, from those of the tokens after each beginning in `branches(job)`."""
    return tuple(
        round(
            sum(logprobs[tuple(choice[:place])][token] for place, token in enumerate(choice))
            + float(np.logaddexp.reduce([logprobs[tuple(choice)][token] for token in job.end_ids])),
            5,
        )
        for choice in job.choice_ids
    )
