"""Scoring many answers: batch by batch, each batch stored when it is done, on one machine or many."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sentidistill import difficulty, records
from sentidistill.config import Params
from sentidistill.config.difficulty import ScoreDifficulty
from sentidistill.config.runtime import Runtime
from sentidistill.difficulty import Difficulty, Row
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline.progress import track
from sentidistill.prompts import answer_ids, end_ids
from sentidistill.samples import Fitted, Sample, fit
from sentidistill.sources import models

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)
# The modules that compute the scores. Their text is part of the key of stored scores.
CODE = ("difficulty.py", "inference/packing/prefix_tree.py", "inference/packing/branches.py", "student/vllm_scoring.py")


class Scorer(Protocol):
    """Scores batches: with a model in this process, or by actors that each hold one."""

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
    """The scorer with the model that `folder` stands for, by the engine that `section` names."""
    if section.engine == "vllm":
        from sentidistill.student.vllm_scoring import VLLMScorer

        folder = models.locate(folder, root)
        return VLLMScorer(folder, runtime.dtype, runtime.vllm.student, section.top_p, max_length, section.vllm_shown)
    return LocalScorer(models.load_causal_lm(folder, root, runtime), section.top_p, max_length)


def agreement(scores: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """How alike two models rank the same samples: Spearman's correlation, and the share of the hardest tenth,
    quarter and half of one model that is also in that of the other (by chance 0.1, 0.25 and 0.5).

    Equal scores are ordered at random, anew for each model, so scores that do not tell samples apart agree only by
    chance.
    """
    from scipy.stats import spearmanr

    found = {"spearman": round(float(spearmanr(scores, others).statistic), 4)}
    random = np.random.default_rng(0)
    both = np.asarray(scores), np.asarray(others)
    first, second = (np.argsort(np.lexsort((random.permutation(len(values)), values))) for values in both)
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
    parts = (Path(difficulty.__file__).parent / name for name in CODE)
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

    Batches that `store` holds of an earlier run are not scored again; the scorer is opened only if some are
    missing. Batches are fixed beforehand, so the scores do not depend on who computes them. `advance` is told
    of the rows that are done.
    """
    jobs = [[rows[place] for place in batch] for batch in batches]
    files = [store / f"{batch_key(job, *settings)}.json" for job in jobs]
    stored = {number: _stored(file, len(jobs[number])) for number, file in enumerate(files)}
    found = {number: scores for number, scores in stored.items() if scores is not None}
    if hits := sum(len(scores) for scores in found.values()):
        advance(hits, hits=hits)
    missing = [number for number in range(len(jobs)) if number not in found]
    if damaged := sum(files[number].exists() for number in missing):
        log.warning("%d stored batches of scores are damaged or of another version, and scored again", damaged)
    for finished in open_scorer().stream([jobs[number] for number in missing]) if missing else ():
        for place, scores in finished:
            values = [asdict(one) for one in scores]
            records.write_json(files[missing[place]], {"digest": records.content_id(values), "scores": values})
            found[missing[place]] = scores
            advance(len(scores))
    of_row = {place: score for number, batch in enumerate(batches) for place, score in zip(batch, found[number])}
    return [of_row[place] for place in range(len(rows))]


def _stored(file: Path, number: int) -> list[Difficulty] | None:
    """The scores of a batch of `number` rows in `file`; None if there are none, or if the file was changed."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["digest"] != records.content_id(values["scores"]) or len(values["scores"]) != number:
            raise ValueError("changed")
        return [Difficulty(**one) for one in values["scores"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


@dataclass(frozen=True)
class Scored:
    """`scores` are over the answer's tokens without its end, as published.

    `difficulty`, 0 to 1: for a closed task, 1 - P(answer) among the task's labels; for an open answer, the rank score.
    `label_scores` are log-probabilities of the task's whole labels, each with its end; empty for an open answer.
    """

    scores: Difficulty
    difficulty: float
    label_scores: list[float]


class ScoringModel:
    """The model in `folder`, the base student or its proxy, which scores answers; scores are stored in `cache`.

    It reads the rows of training: `fit` makes them, and `score` never cuts them.
    """

    def __init__(self, folder: Path, params: Params, cache: Path):
        self._folder, self._params, self._cache = folder, params, cache
        self._tokenizer = models.load_tokenizer(folder, cache.parent)
        self._ends = end_ids(self._tokenizer, params.student.prompt_format)

    def fit(self, samples: Sequence[Sample]) -> dict[str, Fitted]:
        """The rows of `samples` by id, without those that do not fit into student.max_length."""
        student = self._params.student
        settings = (self._tokenizer, student.prompt_format, student.max_length)
        fitted = {one.id: fit(one.student_prompt(), one.answer, *settings) for one in samples}
        return {key: row for key, row in fitted.items() if row is not None}

    def score(self, samples: Sequence[Sample], fitted: Mapping[str, Fitted], progress: str) -> list[Scored]:
        """One for each of `samples`, in order; a prompt is computed once for all labels of its task.

        Raises `SentiDistillError` if the model gives no finite probability.
        """
        rows = [row for one in samples for row in self._rows(one, fitted[one.id])]
        scores = iter(self._score(rows, progress))
        found = []
        for one in samples:
            own = next(scores)
            hard, logprobs = own.rank_score, []
            if one.labels:
                ends = [-row.nll * row.n_tokens for row in islice(scores, len(one.labels) * len(self._ends))]
                logprobs = np.logaddexp.reduce(np.reshape(ends, (len(one.labels), -1)), axis=1).tolist()
                hard = difficulty.label_difficulty(logprobs, one.labels.index(one.answer))
            found.append(Scored(own, hard, logprobs))
        return found

    def _rows(self, sample: Sample, fitted: Fitted) -> list[Row]:
        """The answer without its end, then each label with each end: without an end, 10 is never likelier than 1."""
        of = (self._tokenizer, self._params.student.prompt_format)
        with_end = [[*answer_ids(label, *of), end] for label in sample.labels for end in self._ends]
        return [(fitted.prompt_ids, ids) for ids in (answer_ids(sample.answer, *of), *with_end)]

    def _score(self, rows: list[Row], progress: str) -> list[Difficulty]:
        section, dtype = self._params.score_difficulty, self._params.runtime.dtype
        length = max(len(prompt) + len(answer) for prompt, answer in rows)
        batches = difficulty.batches(rows, len(self._tokenizer), max_length=length, batch_tokens=section.batch_tokens)
        engine = [section.engine, section.vllm_shown] if section.engine == "vllm" else []
        settings = [models.identity(self._folder), section.top_p, dtype, *engine]
        with track(progress, len(rows)) as shown:
            opener = partial(self._open, length)
            scores = score(rows, batches, opener, self._cache / "difficulty", settings, shown.advance)
        if wrong := sum(not math.isfinite(one.nll) for one in scores):
            raise SentiDistillError(
                f"{progress}: {self._folder} gives no finite probability for {wrong} of {len(rows)} answers; set "
                "runtime.dtype to float32 or bfloat16, or take another model"
            )
        return scores

    def _open(self, max_length: int) -> Scorer:
        params, folder, root = self._params, self._folder.resolve(), self._cache.parent.resolve()
        opener = partial(open_scorer, folder, root, params.runtime, params.score_difficulty, max_length)
        if not params.runtime.ray.actors:
            return opener()
        from sentidistill.inference.engines.actors import RayEngine

        return RayEngine(opener, params.runtime.ray, rows=1, hash_of=lambda batch: int(batch_key(batch), 16))


def proxy_agreement(
    params: Params, cache: Path, samples: Sequence[Sample], scored: Sequence[Scored]
) -> dict[str, dict[str, float]]:
    """How alike the base student ranks some of the samples that the proxy has scored, by metric."""
    number = min(params.score_difficulty.proxy_check, len(samples))
    if number < 2:
        return {}
    student = ScoringModel(Path("models/student_base"), params, cache)
    drawn = np.random.default_rng(0).choice(len(samples), number, replace=False)
    fitted = student.fit([samples[place] for place in drawn])
    places = [place for place in drawn if samples[place].id in fitted]
    own = student.score([samples[place] for place in places], fitted, "score_difficulty, proxy check")
    pairs = [(one, scored[place]) for one, place in zip(own, places)]
    values = {
        "proxy_difficulty": [[one.difficulty for one in pair] for pair in pairs],
        "proxy_rank_score": [[one.scores.rank_score for one in pair] for pair in pairs],
    }
    return {name: agreement(*zip(*of_pairs)) for name, of_pairs in values.items()}
