"""Asking the teacher: prompts in, parsed answers and a full record of every call out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, TypeVar, get_args

from sentidistill.config import Params
from sentidistill.config.prompting import Sampling
from sentidistill.config.prompting import Teacher as TeacherParams
from sentidistill.errors import SentiDistillError
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.requests import Request, Response
from sentidistill.pipeline.stage import cache_root
from sentidistill.prompts import Prompt, stop_strings
from sentidistill.records import Record, Table, content_id

# Stages that ask the teacher, in the order of the pipeline; `evaluate` is not among them.
CALLING_STAGES = (
    "enumerate_attributes",
    "write_analysis_instructions",
    "propose_tasks",
    "define_tasks",
    "write_demonstrations",
    "collect_responses",
)
Status = Literal["parsed", "repaired", "failed"]
T = TypeVar("T")


class Call(Record):
    """One teacher call. `key` names the thing that it was for; `raw` is the whole answer.

    `faults` are the reasons why the answer, or a part of it, could not be used: one for each loss. An answer
    with a usable part is "repaired".
    """

    key: str
    prompt_id: str
    raw: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    attempts: int
    status: Status
    faults: list[str]
    error: str | None


def table_of(stage: str) -> Table[Call]:
    """All calls of a stage."""
    return Table(f"data/calls/{stage}.jsonl", Call)


class StageTeacher:
    """The teacher as a stage asks it. Every call is kept, and too many answers that cannot be used end the stage."""

    def __init__(self, model: CachedTeacher, stage: str, params: TeacherParams):
        self._model, self._stage, self._params = model, stage, params
        self.calls: list[Call] = []

    def ask(
        self,
        prompts: Mapping[str, Prompt],
        sampling: Sampling,
        parse: Callable[[str, Response], tuple[T | None, list[str]]],
        *,
        part: str = "",
        schemas: Mapping[str, dict[str, Any]] | None = None,
        again: Callable[[str, Call], Prompt] | None = None,
    ) -> dict[str, T]:
        """Ask every prompt; ask again, up to `teacher.retries` times, where the answer cannot be parsed.

        `parse` takes the key and the answer and returns (value or None, faults). `again` makes the prompt of a
        further attempt from the key and the failed call; by default it is the same prompt. `schemas` holds the JSON
        schema that the answer to a key has to obey, if any; `part` names these prompts among those of the stage.
        Equal prompts under different keys get different random numbers, so their sampled answers differ.
        Returns the values by key, failures left out. Raises `SentiDistillError` where too many failed.
        """
        schemas = schemas or {}
        values: dict[str, T] = {}
        calls: dict[str, Call] = {}
        first_attempt: dict[str, int] = {}
        repeats: Counter[Prompt] = Counter()
        for key in sorted(prompts):
            first_attempt[key] = repeats[prompts[key]] * (self._params.retries + 1)
            repeats[prompts[key]] += 1
        for attempt in range(self._params.retries + 1):
            # Asking again does not help against an error: the engine has tried again already where that makes sense.
            keys = [key for key in sorted(prompts) if key not in values and (attempt == 0 or calls[key].error is None)]
            if not keys:
                break
            current = {key: again(key, calls[key]) if attempt and again else prompts[key] for key in keys}
            requests = [
                Request(
                    prompt=current[key],
                    **sampling.model_dump(),
                    json_schema=schemas.get(key),
                    stop=() if key in schemas else stop_strings(self._params.prompt_format),
                    seed=self._params.seed,
                    attempt=first_attempt[key] + attempt,
                )
                for key in keys
            ]
            label = self._label(part)
            answers = self._model.generate(requests, f"{label}, attempt {attempt + 1}" if attempt else label)
            for key, request, answer in zip(keys, requests, answers):
                value, faults = parse(key, answer) if answer.error is None else (None, ["error"])
                self._model.judged(request, value is not None)
                status: Status = "failed" if value is None else "repaired" if faults else "parsed"
                if value is not None:
                    values[key] = value
                calls[key] = _record(key, current[key], answer, attempt + 1, status, faults)
        self._keep(list(calls.values()), part)
        return values

    def choose(
        self, prompts: Mapping[str, Prompt], choices: Mapping[str, Sequence[str]], *, part: str
    ) -> dict[str, Response]:
        """Ask which of its `choices` is the likeliest answer to each prompt.

        Returns the responses by key, errors left out. Raises `SentiDistillError` where too many are errors.
        """
        keys = sorted(prompts)
        requests = [Request(prompts[key], choices=tuple(choices[key])) for key in keys]
        answers = dict(zip(keys, self._model.generate(requests, self._label(part))))
        statuses: dict[str, Status] = {key: "failed" if one.error else "parsed" for key, one in answers.items()}
        faults = {key: ["error"] if one.error else [] for key, one in answers.items()}
        self._keep([_record(key, prompts[key], answers[key], 1, statuses[key], faults[key]) for key in keys], part)
        return {key: answer for key, answer in answers.items() if answer.error is None}

    def _label(self, part: str) -> str:
        return f"{self._stage}, {part}" if part else self._stage

    def _keep(self, calls: list[Call], part: str) -> None:
        self.calls += calls
        failed = [call for call in calls if call.status == "failed"]
        limit = self._params.max_failure_rate
        if len(failed) > limit * len(calls) and not self._model.rehearses:
            example = failed[0].error or repr(failed[0].raw[:300])
            raise SentiDistillError(
                f"{self._label(part)}: {len(failed)} of {len(calls)} teacher answers could not be used, "
                f"teacher.max_failure_rate is {limit}. For example: {example}. All are in "
                f"{table_of(self._stage).path}. Use a better teacher or prompt, or raise the limit"
            )


@contextmanager
def stage_teacher(
    stage: str, params: Params, open_model: Callable[..., AbstractContextManager[CachedTeacher]]
) -> Iterator[StageTeacher]:
    """The teacher for a stage. When the stage ends, by an error too, all calls are written to data/calls, in key order.

    Raises `SentiDistillError` where the stage had nothing to ask.
    """
    with open_model("teacher", params, cache_root()) as model:
        teacher = StageTeacher(model, stage, params.teacher)
        try:
            yield teacher
        finally:
            if not model.rehearses:
                table_of(stage).write(sorted(teacher.calls, key=lambda call: call.key))
    if not teacher.calls:
        raise SentiDistillError(f"{stage}: there was nothing to ask; look at what the stage before it left out")


def _record(key: str, prompt: Prompt, answer: Response, attempts: int, status: Status, faults: list[str]) -> Call:
    return Call(
        key=key,
        prompt_id=content_id(repr(prompt)),
        raw=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        attempts=attempts,
        status=status,
        faults=faults,
        error=answer.error,
    )


def summary(calls: Iterable[Call]) -> dict[str, Any]:
    """Counts and shares of the calls' outcomes, their tokens, and under "lost" what could not be used, by reason."""
    calls = list(calls)
    by_status = Counter(call.status for call in calls)
    lost = Counter(fault for call in calls for fault in call.faults)
    return {
        "calls": len(calls),
        **{f"share_{status}": round(by_status[status] / max(len(calls), 1), 4) for status in get_args(Status)},
        "retried": sum(call.attempts > 1 for call in calls),
        "cut_off": sum(call.finish_reason == "length" for call in calls),
        "errors": sum(call.error is not None for call in calls),
        "prompt_tokens": sum(call.prompt_tokens for call in calls),
        "completion_tokens": sum(call.completion_tokens for call in calls),
        "lost": dict(sorted(lost.items())),
    }
