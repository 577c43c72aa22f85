"""Difficulty from vLLM's prompt log-probabilities: exact where the likeliest tokens that it shows hold the nucleus."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentidistill.difficulty import Difficulty, Row, cut_to
from sentidistill.inference.engines.vllm import open_llm

if TYPE_CHECKING:
    from vllm.logprobs import Logprob


class VLLMScorer:
    """Scores batches with the model in `folder`; `shown` tokens of each distribution are looked at.

    `options` are further arguments of `vllm.LLM`; its `max_model_len` has to be above `max_length`.
    """

    def __init__(self, folder: Path, dtype: str, options: dict[str, Any], top_p: float, max_length: int, shown: int):
        self._llm = open_llm(folder, dtype, {**options, "max_logprobs": shown})
        self._top_p, self._max_length, self._shown = top_p, max_length, shown

    def stream(self, jobs: Sequence[list[Row]]) -> Iterator[list[tuple[int, list[Difficulty]]]]:
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=self._shown, detokenize=False)
        for place, batch in enumerate(jobs):
            cut = [cut_to(*row, self._max_length) for row in batch]
            prompts = [{"prompt_token_ids": context + completion} for context, completion, _, _ in cut]
            outputs = self._llm.generate(prompts, sampling, use_tqdm=False)
            scores = []
            for (_, completion, truncated, answer_cut), output in zip(cut, outputs):
                found = output.prompt_logprobs[len(output.prompt_logprobs) - len(completion) :]
                tokens = [
                    token_score(shown, token, self._shown, self._top_p) for shown, token in zip(found, completion)
                ]
                values, nll, exact = zip(*tokens) if tokens else ((), (), ())
                scores.append(Difficulty.of(values, nll, truncated, answer_cut, exact=all(exact)))
            yield [(place, scores)]


def token_score(shown: "Mapping[int, Logprob]", token: int, number: int, top_p: float) -> tuple[float, float, bool]:
    """(rank score, negative log-likelihood, whether the score is exact) of `token`.

    `shown` holds the `number` likeliest tokens, and `token` itself. Where they do not hold the nucleus, it is
    taken to have one token more than they are.
    """
    target = shown[token]
    top = sorted((one.logprob for one in shown.values()), reverse=True)[:number]
    # vLLM's rank counts tokens as likely as this one, too.
    rank = sum(logprob > target.logprob for logprob in top) if target.rank <= number else target.rank - 1
    if rank == 0:
        return 0.0, -target.logprob, True
    mass = np.exp(top).cumsum()
    size = int((mass < top_p).sum()) + 1
    return (rank / size if rank < size else 1.0), -target.logprob, bool(mass[-1] >= top_p)
