"""Which texts nobody may learn from, as the student is tested on them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sentidistill.config.corpus import PrepareCorpus
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import sentibench
from sentidistill.sources.corpus import near_duplicates, text_id

Reason = Literal["same_as_benchmark", "near_duplicate_of_benchmark", "as_listed"]


def reasons(texts: Sequence[str], section: PrepareCorpus, root: Path) -> list[Reason | None]:
    """Why each text is left out: it is in data/benchmark, or nearly, or its id is in the file `section.held_out`.

    None where it may be learned. `root` is the folder that the path of the file starts from. Raises
    `SentiDistillError` where the file cannot be read.
    """
    tested = [
        record["sentence"]
        for path in sorted(Path("data/benchmark").glob("*/*.jsonl"))
        for record in sentibench.read(path)
    ]
    same = {text_id(text) for text in tested}
    near = near_duplicates(texts, tested, section.near_duplicate_similarity)
    listed = _ids(root / section.held_out) if section.held_out else set()

    def reason(key: str, is_near: bool) -> Reason | None:
        if key in same:
            return "same_as_benchmark"
        if is_near:
            return "near_duplicate_of_benchmark"
        return "as_listed" if key in listed else None

    return [reason(text_id(text), is_near) for text, is_near in zip(texts, near)]


def _ids(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise SentiDistillError(f"{path}: cannot be read ({error}); see prepare_corpus.held_out") from error
