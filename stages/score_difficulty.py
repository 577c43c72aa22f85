"""pool with answers -> data/difficulty.csv: how hard each answer is for the base student, or for a proxy.

Columns: id, stratum (the instruction and, where labels are closed, the answer), cluster, family, tokens (of prompt and
answer), rank_score, rank_score_all, nll, ppl, n_tokens, truncated, answer_cut, exact, and, if asked for, ifd: the
perplexity over that without the prompt.
"""

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sentidistill import config, difficulty, models, records, scoring, stage
from sentidistill.config import Params
from sentidistill.difficulty import Difficulty, Row
from sentidistill.progress import track
from sentidistill.prompts import render
from sentidistill.samples import Answered, PoolPrompt


def stratum(row: PoolPrompt, answer: str) -> str:
    """What selection keeps its share of: the instruction and, where labels are closed, the answer.

    The difficulty of a label is to a good part how seldom the student says it whatever the text. Ranked
    across labels, the hard half of a task would be the texts with that label.
    """
    return f"{row.stratum} {answer}" if row.labels else row.stratum


class Model:
    """A model that scores: the base student or its proxy."""

    def __init__(self, name: str, params: Params):
        self._folder, self._params, self._cache = Path("models", name), params, stage.cache_root()
        self._tokenizer = models.load_tokenizer(self._folder, self._cache.parent)

    def rows(self, samples: list[PoolPrompt], answers: dict[str, str]) -> list[Row]:
        prompt_format = self._params.student.prompt_format
        found = [render(one.student_prompt(), self._tokenizer, prompt_format, answers[one.id]) for one in samples]
        return [(one.prompt_ids, one.completion_ids) for one in found]

    def without_prompts(self, rows: list[Row]) -> list[Row]:
        begin = self._tokenizer.bos_token_id
        return [([self._tokenizer.eos_token_id if begin is None else begin], answer) for _, answer in rows]

    def score(self, rows: list[Row], label: str) -> list[Difficulty]:
        """Difficulty of `rows`; what an earlier run that was killed has scored is taken from the cache."""
        section, length = self._params.score_difficulty, self._params.student.max_length
        batches = difficulty.batches(rows, len(self._tokenizer), max_length=length, batch_tokens=section.batch_tokens)
        engine = [section.engine, section.vllm_shown] if section.engine == "vllm" else []
        settings = [models.identity(self._folder), section.top_p, length, self._params.runtime.dtype, *engine]
        with track(label, len(rows)) as progress:
            return scoring.score(rows, batches, self._open, self._cache / "difficulty", settings, progress.advance)

    def _open(self) -> scoring.Scorer:
        runtime = self._params.runtime
        opener = partial(
            scoring.open_scorer,
            self._folder.resolve(),
            self._cache.parent.resolve(),
            runtime,
            self._params.score_difficulty,
            self._params.student.max_length,
        )
        if not runtime.ray.actors:
            return opener()
        from sentidistill.teacher.ray import RayEngine

        return RayEngine(opener, runtime.ray, rows=1, hash_of=lambda batch: int(scoring.batch_key(batch), 16))


def proxy_agreement(
    samples: list[PoolPrompt], answers: dict[str, str], scores: list[Difficulty], params: Params
) -> dict[str, float]:
    """How alike the student ranks a random part of the samples that the proxy has scored."""
    number = min(params.score_difficulty.proxy_check, len(samples))
    if params.score_difficulty.model != "proxy" or number < 2:
        return {}
    student = Model("student_base", params)
    places = np.random.default_rng(0).choice(len(samples), number, replace=False)
    own = student.score(student.rows([samples[i] for i in places], answers), "score_difficulty, proxy check")
    found = scoring.agreement([one.rank_score for one in own], [scores[i].rank_score for i in places])
    return {f"proxy_{name}": value for name, value in found.items()}


def main() -> None:
    params = config.load()
    answers = {row.id: row.answer for row in records.read_jsonl("data/responses.jsonl", Answered)}
    samples = [row for row in records.read_jsonl("data/prompts.jsonl", PoolPrompt) if row.id in answers]
    model = Model(params.score_difficulty.model, params)
    rows = model.rows(samples, answers)
    scores = model.score(rows, "score_difficulty")
    table = pd.DataFrame([asdict(one) for one in scores])
    table.insert(0, "id", [row.id for row in samples])
    table.insert(1, "stratum", [stratum(row, answers[row.id]) for row in samples])
    table.insert(2, "cluster", [row.cluster for row in samples])
    table.insert(3, "family", [row.family for row in samples])
    table.insert(4, "tokens", [len(prompt) + len(answer) for prompt, answer in rows])
    if params.score_difficulty.ifd:
        alone = model.score(model.without_prompts(rows), "score_difficulty, answers alone")
        table["ifd"] = [math.exp(one.nll - other.nll) for one, other in zip(scores, alone)]
    records.write_text("data/difficulty.csv", table.round(6).to_csv(index=False))
    stage.finish(
        "score_difficulty",
        {
            "samples": len(table),
            "tokens_scored": int(table["n_tokens"].sum()),
            "truncated": int(table["truncated"].sum()),
            "answers_cut": int(table["answer_cut"].sum()),
            "inexact": int((~table["exact"]).sum()),
            **{f"mean_{name}": round(float(table[name].mean()), 4) for name in ("rank_score", "rank_score_all", "nll")},
            "share_fully_predicted": round(float((table["rank_score"] == 0).mean()), 4),
            **proxy_agreement(samples, answers, scores, params),
        },
    )


if __name__ == "__main__":
    stage.run(main)
