"""Scoring many answers: batch by batch, each batch stored when it is done, on one machine or many."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sentidistill import difficulty, models, records
from sentidistill.config import Runtime, ScoreDifficulty
from sentidistill.difficulty import Difficulty, Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Scorer(Protocol):
    """What scores batches: a model in this process, or actors that each hold one."""

    def stream(self, jobs: Sequence[list[Row]]) -> Iterator[list[tuple[int, list[Difficulty]]]]:
        """(place in `jobs`, scores of the batch's rows), one for each batch, in lists as they are finished."""


class LocalScorer:
    """Scores batches with a model in this process."""

    def __init__(self, model: "PreTrainedModel", top_p: float, max_length: int):
        self._model, self._top_p, self._max_length = model, top_p, max_length

    def stream(self, jobs: Sequence[list[Row]]) -> Iterator[list[tuple[int, list[Difficulty]]]]:
        for place, batch in enumerate(jobs):
            scores = difficulty.score_batch(self._model, batch, top_p=self._top_p, max_length=self._max_length)
            yield [(place, scores)]


def open_scorer(folder: Path, root: Path, runtime: Runtime, section: ScoreDifficulty, max_length: int) -> Scorer:
    """What scores with the model that `folder` stands for, by the engine that `section` names."""
    if section.engine == "vllm":
        from sentidistill.teacher.vllm_scoring import VLLMScorer

        folder = models.locate(folder, root)
        return VLLMScorer(folder, runtime.dtype, runtime.vllm, section.top_p, max_length, section.vllm_shown)
    return LocalScorer(models.load_causal_lm(folder, root, runtime), section.top_p, max_length)


def agreement(scores: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """How alike two models rank the same samples: Spearman's correlation, and the share that the hardest
    tenth, quarter and half of one have in common with those of the other (by chance 0.1, 0.25 and 0.5)."""
    from scipy.stats import spearmanr

    found = {"spearman": round(float(spearmanr(scores, others).statistic), 4)}
    first, second = (np.argsort(np.argsort(values, kind="stable")) for values in (scores, others))
    for share in (0.1, 0.25, 0.5):
        least = len(scores) - max(1, round(share * len(scores)))
        common = ((first >= least) & (second >= least)).sum()
        found[f"overlap_{round(100 * share)}"] = round(float(common / (len(scores) - least)), 4)
    return found


def batch_key(batch: list[Row], *settings: object) -> str:
    """Content hash of a batch and of all else that its scores depend on, the code that computes them included."""
    return records.content_id(batch, *settings, _code())


@cache
def _code() -> str:
    folder = Path(difficulty.__file__).parent
    names = ("difficulty.py", "prefix_tree.py", "teacher/branches.py", "teacher/vllm_scoring.py")
    parts = (folder / name for name in names)
    return records.content_id(*(part.read_text(encoding="utf-8") for part in parts))


def score(
    rows: Sequence[Row],
    batches: Sequence[list[int]],
    open_scorer: Callable[[], Scorer],
    store: Path,
    settings: Sequence[object],
    advance: Callable[..., object] = lambda *_, **__: None,
) -> list[Difficulty]:
    """Difficulty of `rows`, scored in `batches` (places of rows), which together hold each row once.

    What `store` holds of an earlier run is not scored again; the scorer is opened only if something is
    missing. As batches are fixed beforehand, who scores them changes no digit. `advance` is told of the
    rows that are done.
    """
    jobs = [[rows[place] for place in batch] for batch in batches]
    files = [store / f"{batch_key(job, *settings)}.json" for job in jobs]
    found: dict[int, list[Difficulty]] = {}
    for number, file in enumerate(files):
        if file.exists():
            found[number] = [Difficulty(**values) for values in records.read_json(file)]
    if hits := sum(len(scores) for scores in found.values()):
        advance(hits, hits=hits)
    missing = [number for number in range(len(jobs)) if number not in found]
    if missing:
        for finished in open_scorer().stream([jobs[number] for number in missing]):
            for place, scores in finished:
                records.write_json(files[missing[place]], [asdict(one) for one in scores])
                found[missing[place]] = scores
                advance(len(scores))
    of_row = {place: score for number, batch in enumerate(batches) for place, score in zip(batch, found[number])}
    return [of_row[place] for place in range(len(rows))]
