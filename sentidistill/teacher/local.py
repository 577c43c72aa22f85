"""The model of a role, ready to be asked."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from sentidistill import models
from sentidistill.config import Params
from sentidistill.teacher.cache import Cache, CachedTeacher
from sentidistill.teacher.transformers import TransformersTeacher

Role = Literal["teacher", "student_base", "student"]


@contextmanager
def open_model(role: Role, params: Params, cache_root: Path) -> Iterator[CachedTeacher]:
    """The model in `models/{role}`, which answers from, and stores in, the generation cache."""
    root, folder = cache_root.parent, Path("models", role)
    teacher = TransformersTeacher(
        models.load_causal_lm(folder, root, params.runtime),
        models.load_tokenizer(folder, root),
        identity=models.identity(folder),
        prompt_format=params.teacher.prompt_format if role == "teacher" else params.student.prompt_format,
        max_prompt_tokens=params.teacher.max_prompt_tokens,
        rows_per_batch=params.runtime.rows_per_batch,
        batch_tokens=params.runtime.batch_tokens,
    )
    with closing(Cache(cache_root / "generations" / "responses.sqlite")) as cache:
        yield CachedTeacher(teacher, cache, params.runtime.chunk)
