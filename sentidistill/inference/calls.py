"""Asking the teacher: prompts in, parsed answers and a full record of every call out."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from sentidistill.config import Sampling
from sentidistill.config import Teacher as TeacherParams
from sentidistill.errors import SentiDistillError
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.requests import Request, Response
from sentidistill.prompts import Prompt, stop_strings
from sentidistill.records import Record, Table, content_id

# Stages that ask the teacher, `evaluate` aside, in the order of the pipeline.
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
    """One teacher call. `key` says what it was for; `raw` is the whole answer.

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


def ask(
    teacher: CachedTeacher,
    prompts: dict[str, Prompt],
    sampling: Sampling,
    params: TeacherParams,
    parse: Callable[[str, str], tuple[T | None, list[str]]],
    label: str,
    *,
    schemas: Mapping[str, dict[str, Any]] | None = None,
    again: Callable[[str, Call], Prompt] | None = None,
) -> tuple[dict[str, T], list[Call]]:
    """Ask every prompt; ask again, up to `params.retries` times, where the answer cannot be parsed.

    `parse` takes the key and the raw answer and returns (value or None, faults). `again` makes the prompt of a
    further attempt from the key and the failed call; by default it is the same prompt. `schemas` holds the JSON
    schema that the answer to a key has to obey, if any. Equal prompts under different keys get different random
    numbers, and so different answers.
    Returns the values by key, failures left out, and one `Call` for each prompt, in key order.
    """
    schemas = schemas or {}
    values: dict[str, T] = {}
    calls: dict[str, Call] = {}
    first_attempt: dict[str, int] = {}
    repeats: Counter[Prompt] = Counter()
    for key in sorted(prompts):
        first_attempt[key] = repeats[prompts[key]] * (params.retries + 1)
        repeats[prompts[key]] += 1
    for attempt in range(params.retries + 1):
        # An error will not go away by asking again: the engine has done so where that makes sense.
        keys = [key for key in sorted(prompts) if key not in values and (attempt == 0 or calls[key].error is None)]
        if not keys:
            break
        current = {key: again(key, calls[key]) if attempt and again else prompts[key] for key in keys}
        requests = [
            Request(
                prompt=current[key],
                **sampling.model_dump(),
                json_schema=schemas.get(key),
                stop=() if key in schemas else stop_strings(params.prompt_format),
                seed=params.seed,
                attempt=first_attempt[key] + attempt,
            )
            for key in keys
        ]
        answers = teacher.generate(requests, label if attempt == 0 else f"{label}, attempt {attempt + 1}")
        for key, request, answer in zip(keys, requests, answers):
            value, faults = parse(key, answer.text) if answer.error is None else (None, ["error"])
            teacher.judged(request, value is not None)
            status: Status = "failed" if value is None else "repaired" if faults else "parsed"
            if value is not None:
                values[key] = value
            calls[key] = _record(key, current[key], answer, attempt + 1, status, faults)
    return values, [calls[key] for key in sorted(calls)]


def choose(
    teacher: CachedTeacher, prompts: Mapping[str, Prompt], choices: Mapping[str, Sequence[str]], label: str
) -> tuple[dict[str, Response], list[Call]]:
    """Ask which of its `choices` is the likeliest answer to each prompt.

    Returns the responses by key, errors left out, and one `Call` for each prompt, in key order.
    """
    keys = sorted(prompts)
    answers = teacher.generate([Request(prompts[key], choices=tuple(choices[key])) for key in keys], label)
    calls = [
        _record(key, prompts[key], answer, 1, "failed" if answer.error else "parsed", ["error"] if answer.error else [])
        for key, answer in zip(keys, answers)
    ]
    return {key: answer for key, answer in zip(keys, answers) if answer.error is None}, calls


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
        **{f"share_{status}": round(by_status[status] / max(len(calls), 1), 4) for status in Status.__args__},
        "retried": sum(call.attempts > 1 for call in calls),
        "cut_off": sum(call.finish_reason == "length" for call in calls),
        "errors": sum(call.error is not None for call in calls),
        "prompt_tokens": sum(call.prompt_tokens for call in calls),
        "completion_tokens": sum(call.completion_tokens for call in calls),
        "lost": dict(sorted(lost.items())),
    }


def check_failures(calls: list[Call], limit: float, stage: str) -> None:
    """Raise `SentiDistillError` with an example where more than the share `limit` of the calls failed."""
    failed = [call for call in calls if call.status == "failed"]
    if not calls or len(failed) / len(calls) > limit:
        example = (failed[0].error or repr(failed[0].raw[:300])) if failed else "there was nothing to ask"
        raise SentiDistillError(
            f"{stage}: {len(failed)} of {len(calls)} teacher answers could not be used, teacher.max_failure_rate "
            f"is {limit}. For example: {example}. Use a better teacher or prompt, or raise the limit"
        )
