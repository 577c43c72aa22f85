"""The model of a role, ready to be asked."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sentidistill import records
from sentidistill.config import Params
from sentidistill.config.runtime import Runtime
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.recordings import Recordings, switched_on
from sentidistill.inference.requests import Engine, Reader
from sentidistill.inference.store import FILE, Cache
from sentidistill.pipeline import runs
from sentidistill.sources import gguf, models

Role = Literal["teacher", "student_base", "student"]
OpenModel = Callable[[Role, Params, Path], AbstractContextManager[CachedTeacher]]


@contextmanager
def open_model(role: Role, params: Params, cache_root: Path) -> Iterator[CachedTeacher]:
    """The model in `models/{role}`, asked through the generation cache; it is loaded when first needed.

    Below the cache lie, for the teacher, the recordings in ./recordings.
    """
    reader = make_reader(role, params, cache_root.parent)
    open_engine = partial(make_engine, role, params, cache_root.parent.resolve())
    with closing(Cache(cache_path(cache_root))) as cache:
        model = CachedTeacher(reader, open_engine, cache, params.runtime.cache, recordings(role))
        yield model
        runs.note(model.recorded, model.cached, model.asked, model.asking_seconds)


def recordings(role: Role) -> Recordings | None:
    """The recorded answers of a role: only the teacher has any, unless they are switched off."""
    return Recordings() if role == "teacher" and switched_on() else None


def cache_path(cache_root: Path) -> Path:
    return cache_root / "generations" / FILE


def make_reader(role: Role, params: Params, root: Path) -> Reader:
    folder = Path("models", role)
    if role != "teacher":
        open_tokenizer = partial(models.load_tokenizer, folder, root)
        identity, prompt_format = models.identity(folder), params.student.prompt_format
        return Reader(identity, prompt_format, params.teacher.max_prompt_tokens, open_tokenizer)
    served, server = params.runtime.engine.teacher == "openai", params.runtime.server
    identity = models.identity(folder)
    return Reader(
        records.content_id(identity, server.model) if served and server.model else identity,
        params.teacher.prompt_format,
        params.teacher.max_prompt_tokens,
        partial(models.load_tokenizer, folder, root) if models.has_files(folder) else None,
        params.teacher.extra_body if served else None,
        messages_only=served and params.teacher.api == "chat",
    )


def make_engine(role: Role, params: Params, root: Path) -> Engine:
    """The engine that `runtime.engine` names, or actors that each hold one."""
    return over_actors(partial(_single_engine, role, params, root, Path("models", role).resolve()), params.runtime)


def over_actors(open_engine: Callable[[], Engine], runtime: Runtime) -> Engine:
    """Ray actors that each hold an engine, if `runtime.ray` asks for any; else the engine itself."""
    if not runtime.ray.actors:
        return open_engine()
    from sentidistill.inference.engines.actors import RayEngine

    return RayEngine(open_engine, runtime.ray, rows=runtime.concurrency)


def _single_engine(role: Role, params: Params, root: Path, folder: Path) -> Engine:
    runtime = params.runtime
    name = runtime.engine.teacher if role == "teacher" else runtime.engine.student
    if name == "openai":
        from sentidistill.inference.engines.server import ServerEngine

        return ServerEngine(
            runtime.server,
            runtime.server.model or models.name(folder),
            api=params.teacher.api,
            extra_body=params.teacher.extra_body,
            concurrency=runtime.concurrency,
        )
    return local_engine(
        name, folder, root, runtime, runtime.vllm.teacher if role == "teacher" else runtime.vllm.student
    )


def local_engine(name: str, folder: Path, root: Path, runtime: Runtime, vllm: dict[str, Any]) -> Engine:
    """The engine llamacpp, vllm (with its options) or transformers with the model that `folder` stands for."""
    if name == "llamacpp":
        from sentidistill.inference.engines.llamacpp import LlamaCppEngine

        file = gguf.file(records.read_json(folder / models.ORIGIN), root)
        return LlamaCppEngine(file, concurrency=runtime.concurrency, threads=runtime.threads, options=runtime.llamacpp)
    if name == "vllm":
        from sentidistill.inference.engines.vllm import VLLMEngine

        return VLLMEngine(
            models.locate(folder, root),
            dtype=runtime.dtype,
            concurrency=runtime.concurrency,
            options=vllm,
        )
    from sentidistill.inference.engines.transformers import TransformersEngine

    return TransformersEngine(
        models.load_causal_lm(folder, root, runtime),
        models.load_tokenizer(folder, root),
        rows_per_batch=runtime.concurrency,
        batch_tokens=runtime.batch_tokens,
    )
