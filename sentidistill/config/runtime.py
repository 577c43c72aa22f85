"""`runtime`: the machine, and the servers that answer. No stage depends on it."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from sentidistill.config.rules import Count, Device, Few, Options, Positive, Seconds, Section, real, whole
from sentidistill.yaml_files import shown


class Engines(Section):
    teacher: Literal["llamacpp", "transformers", "vllm", "openai"]
    student: Literal["transformers", "vllm"]


def _address(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "holds a name, password or query, which errors and logs would show; give the key by key_variable"
        )
    return url


def _variable(name: str) -> str:
    if not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", name):
        # Not shown: it may be the key.
        raise ValueError("expected the name of an environment variable that holds the key, not the key itself")
    return name


class Server(Section):
    base_url: Annotated[str, AfterValidator(_address)]
    model: Annotated[str, Field(max_length=200)]
    key_variable: Annotated[str, AfterValidator(_variable)]
    requests_per_minute: Count
    timeout: Seconds
    attempts: Few
    first_wait: Seconds
    max_wait: Seconds
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"]
    schemas: bool


def _on_gpus(options: dict[str, Any]) -> dict[str, Any]:
    together = options.get("tensor_parallel_size", 1)
    if type(together) is not int or not 1 <= together <= 1_024:
        raise ValueError(f"tensor_parallel_size: expected a whole number from 1 to 1,024, found {shown(together)}")
    return options


class VLLM(Section):
    teacher: Annotated[Options, AfterValidator(_on_gpus)]
    student: Annotated[Options, AfterValidator(_on_gpus)]


class Ray(Section):
    actors: Annotated[int, whole(0, 10_000)]
    cpus_per_actor: Annotated[float, real(0, 1_024)]
    gpus_per_actor: Annotated[float, real(0, 1_024)]


class Train(Section):
    processes: Annotated[int, whole(0, 10_000)]
    config: Annotated[str, Field(max_length=1_000)]
    packing: bool
    bf16: bool


class Prices(Section):
    prompt: Annotated[float, real(0, 1_000_000)]
    completion: Annotated[float, real(0, 1_000_000)]


class Runtime(Section):
    engine: Engines
    device: Device
    dtype: Literal["float32", "bfloat16", "float16"]
    threads: Annotated[int, whole(0, 1_024)]
    concurrency: Annotated[int, whole(1, 100_000)]
    batch_tokens: Positive
    cache: Literal["read-write", "read", "refresh"]
    llamacpp: Options
    vllm: VLLM
    server: Server
    ray: Ray
    prices: Prices
    train: Train
    train_rows_per_step: Positive
    gradient_checkpointing: bool
    save_steps: Count
