"""People's verdicts on the teacher's work: reviews.jsonl, which stages obey. docs/review.md says how it is made.

A verdict is kept by the content of what was judged, so that it holds for nothing else.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sentidistill.construct.checks import CHECKS, check_output
from sentidistill.errors import SentiDistillError
from sentidistill.records import Record, content_id, first_problem, lines_of

PATH = Path("reviews.jsonl")
PERSPECTIVE, THING = "perspective", "thing"  # what a cluster is


class Verdict(Record):
    """A reader's verdict on one thing.

    `answer` is the right answer, "" if nobody wrote it. For a cluster it is always there and says what the cluster is.
    """

    id: str
    verdict: Literal["right", "wrong"]
    answer: str = ""


def read() -> dict[str, Verdict]:
    """The verdicts by id; the last one if a thing has several. Raises `SentiDistillError` with the line of a fault."""
    found = {}
    try:
        lines = lines_of(PATH.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeError) as error:
        raise SentiDistillError(f"{PATH}: cannot be read ({error}); `git checkout {PATH}`, or make it empty") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            verdict = Verdict.model_validate_json(line)
        except ValidationError as error:
            raise SentiDistillError(
                f"{PATH}, line {number}: no verdict ({first_problem(error)}); mend the line or remove it"
            ) from error
        found[verdict.id] = verdict
    return found


def wrong() -> dict[str, str]:
    """By id, the right answers to things that were judged to be wrong; "" if nobody wrote one."""
    return {key: verdict.answer for key, verdict in read().items() if verdict.verdict == "wrong"}


def right_answer(answer: str, family: str, labels: Sequence[str], instruction: str, text: str) -> str:
    """A reader's answer as it is trained on. Raises `SentiDistillError` for one that the task does not allow."""
    found, reason = check_output(family, labels, instruction, text, answer)
    if found is None:
        raise SentiDistillError(
            f"{PATH}: the right answer {answer!r} to {text[:80]!r} cannot be one: {CHECKS[reason][0]} Mend it there"
        )
    return found


def demonstration_id(instruction: str, text: str, output: str) -> str:
    return f"demonstration-{content_id(instruction, text, output)}"


def answer_id(instruction: str, text: str, answer: str) -> str:
    return f"answer-{content_id(instruction, text, answer)}"


def cluster_id(attributes: Iterable[str]) -> str:
    return f"cluster-{content_id(sorted(attributes))}"


def analysis_id(instruction: str) -> str:
    return f"analysis-{content_id(instruction)}"
