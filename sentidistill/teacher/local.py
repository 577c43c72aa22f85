"""The configured teacher, ready to be asked."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sentidistill import models
from sentidistill.config import PromptFormat, Runtime
from sentidistill.teacher.cache import Cache, CachedTeacher
from sentidistill.teacher.transformers import TransformersTeacher


@contextmanager
def open_model(
    folder: Path, cache_root: Path, runtime: Runtime, prompt_format: PromptFormat, max_prompt_tokens: int
) -> Iterator[CachedTeacher]:
    """The model in `folder` as a teacher that answers from, and stores in, the generation cache."""
    root = cache_root.parent
    model = models.load_causal_lm(folder, root, runtime)
    teacher = TransformersTeacher(
        model,
        models.load_tokenizer(folder, root),
        identity=models.identity(folder),
        prompt_format=prompt_format,
        max_prompt_tokens=max_prompt_tokens,
        rows_per_batch=runtime.rows_per_batch,
        batch_tokens=runtime.batch_tokens,
    )
    with closing(Cache(cache_root / "generations" / "responses.sqlite")) as cache:
        yield CachedTeacher(teacher, cache, runtime.chunk)
