"""The allowed values of params.yaml: bounds of numbers, patterns of names, and rules that sections share."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, WrapValidator

from sentidistill.yaml_files import shown


def within(expected: str, holds: Callable[[Any], bool]) -> WrapValidator:
    def check(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            if not isinstance(value, bool) and holds(number := handler(value)):
                return number
        except (ValueError, OverflowError):
            pass
        raise ValueError(f"expected {expected}, found {shown(value)}")

    return WrapValidator(check)


def whole(low: int, high: int) -> WrapValidator:
    return within(f"a whole number from {low:,} to {high:,}", lambda value: low <= value <= high)


def real(low: float, high: float) -> WrapValidator:
    return within(f"a number from {low:g} to {high:,.10g}", lambda value: low <= value <= high)


def above(low: float, high: float) -> WrapValidator:
    return within(f"a number above {low:g} and at most {high:,.10g}", lambda value: low < value <= high)


def text(pattern: str, expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII | re.DOTALL):
            raise ValueError(f"expected {expected}, found {shown(value)}")
        return value

    return AfterValidator(check)


# Bounds of numbers, far beyond sensible values. A value outside would fail later, sometimes only after the teacher was
# paid.
Seed = Annotated[int, whole(0, 2**32 - 1)]
Positive = Annotated[int, whole(1, 1_000_000_000)]
Count = Annotated[int, whole(0, 1_000_000_000)]
Few = Annotated[int, whole(1, 1_000)]
Shots = Annotated[int, whole(0, 1_000)]
Tokens = Annotated[int, whole(16, 1_048_576)]
NewTokens = Annotated[int, whole(1, 1_048_576)]
Share = Annotated[float, real(0, 1)]
PartAboveZero = Annotated[float, above(0, 1)]
Percent = Annotated[float, real(0, 100)]
Cosine = Annotated[float, real(0, 2)]  # above 1: never
Rating = Annotated[float, real(-4, 4)]
Texts = Annotated[float, real(0, 1_000_000)]
Seconds = Annotated[float, above(0, 86_400)]
# Names reach shell commands (dvc.yaml), paths and pip.
TASK_NAME = r"[a-z][a-z0-9_]{0,49}"
Name = Annotated[
    str, text(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", "a name of letters, digits and . _ + - that starts with no sign")
]
TaskName = Annotated[str, text(TASK_NAME, "a name of small letters, digits and _ that starts with a letter")]
Sha256 = Annotated[str, text(r"[0-9a-f]{64}", "a SHA-256, 64 digits of 0-9 and a-f")]
Repo = Annotated[
    str, text(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", "a repository of the hub, OWNER/NAME")
]
Revision = Annotated[str, text(r"(?!.*\.\.)[A-Za-z0-9][\w./+-]{0,199}", "a branch, tag or commit")]
Member = Annotated[
    str, text(r"(?!/)(?!(.*/)?\.\.(/|$))(?=.*\S)[^\n]{1,200}", "a path within the archive or repository, without ..")
]
Place = Annotated[str, text(r"(?=.*\S)[^\n]{1,1000}", "a path")]
Line = Annotated[str, text(r"(?=.*\S)[^\n]{1,200}", "one line of text that is not blank")]
Text = Annotated[str, text(r"(?=.*\S).{1,10000}", "a text that is not blank, of at most 10,000 characters")]
Device = Annotated[str, text(r"auto|cpu|mps|cuda(:\d{1,2})?", "auto, cpu, mps, cuda or cuda:NUMBER")]


def not_all_zero(numbers: dict[str, int]) -> dict[str, int]:
    if not any(numbers.values()):
        raise ValueError("all are 0; give one of them a number above 0")
    return numbers


def plain(value: Any, place: str = "") -> Any:
    """`value`, if JSON can hold it: texts, finite numbers, booleans, lists and mappings of these."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{place}expected names as keys, found {shown(key)}")
            plain(part, f"{place}{key}: ")
    elif isinstance(value, list):
        for part in value:
            plain(part, place)
    elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{place}expected a text, a finite number, true or false, found {shown(value)}")
    return value


Options = Annotated[dict[str, Any], AfterValidator(plain)]


def by_key(*keys: str) -> Discriminator:
    """Chooses one of several sections for a value, by the first of `keys` that the value has."""

    def tag(value: Any) -> str | None:
        has = value.keys() if isinstance(value, Mapping) else getattr(value, "model_fields_set", ())
        return next((f"({key})" for key in keys if key in has), None)

    return Discriminator(
        tag,
        custom_error_type="no_key",
        custom_error_message=f"expected a mapping with one of the keys {', '.join(keys)}",
    )


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def without_faults(section: S, faults: Mapping[str, object]) -> S:
    """`section`. Raises `ValueError` with all `faults` that are true, each on its line."""
    if found := [text for text, wrong in faults.items() if wrong]:
        raise ValueError("\n".join(found))
    return section


def _in_own(path: str) -> str:
    parts = Path(path).parts
    if parts[:1] != ("own",) or len(parts) < 2 or ".." in parts:
        raise ValueError(
            f"{shown(path)} does not lie in own/, where DVC sees that a file changes; put it there, or a link"
        )
    if linked := [folder for folder in Path(path).parents if len(folder.parts) > 1 and folder.is_symlink()]:
        raise ValueError(
            f"{shown(str(linked[0]))} is a linked folder, in which DVC sees no change; link the file itself"
        )
    return path


HELD_OUT = "params/held_out.txt"
OwnPath = Annotated[Place, AfterValidator(_in_own)]
HeldOut = Annotated[Place, AfterValidator(lambda path: path if path == HELD_OUT else _in_own(path))]
