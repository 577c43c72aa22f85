"""Our layer against the bare libraries, engine by engine, on the same prompts in one run.

    python -m benchmarks.generation layer [ENGINE ...]     transformers ray vllm server; default: what is installed
    python -m benchmarks.generation prefix                 the transformers engine with and without prefix reuse
    python -m benchmarks.generation agreement              greedy choices of all engines for closed label sets

Run after `make repro`; vllm and server need the environment that `make test-vllm` makes. "Ours" is
what a stage does: rendering, cache look-up, engine, storing. The bare library gets token ids at once.
"""

import asyncio
import importlib.util
import logging
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from benchmarks.timing import faster, in_turn, rates
from sentidistill import config
from sentidistill.config import Params
from sentidistill.config.runtime import Ray, Runtime
from sentidistill.evaluation import sentibench
from sentidistill.evaluation.questions import questions as benchmark_questions
from sentidistill.evaluation.tasks import known
from sentidistill.inference.engines import transformers as transformers_engine
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.packing import shared_prefix
from sentidistill.inference.requests import Engine, Reader, Request
from sentidistill.inference.store import Cache
from sentidistill.prompts import Prompt, Template, transcript
from sentidistill.samples import prompt
from sentidistill.sources import models
from sentidistill.sources.corpus import TEXTS

PROMPTS = 48
NEW_TOKENS = 40
ROUNDS = 3
PORT = 8377
VLLM_OPTIONS = {"max_model_len": 2048, "enforce_eager": True, "kv_cache_memory_bytes": 2**30}
STUDENT = Path("models/student_base")


def texts(number: int) -> list[str]:
    return [text.text for text in TEXTS.read() if text.pool == "distillation"][:number]


def questions() -> list[Prompt]:
    return [
        prompt("Say in one sentence what the author of the text feels, and why.", "Answer", t, [])
        for t in texts(PROMPTS)
    ]


def ours(reader: Reader, engine: Engine, requests: list[Request]) -> int:
    """Tokens that the engine wrote, asked as a stage asks it, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        teacher = CachedTeacher(reader, lambda: engine, Cache(Path(folder, "cache")))
        answers = teacher.generate(requests, "ours")
    assert not [one.error for one in answers if one.error]
    return sum(one.completion_tokens for one in answers)


def compare(name: str, bare: Callable[[], int], layer: Callable[[], int]) -> None:
    """Print tokens per second of both, and their ratio. Greedy answers have as many tokens in every round."""
    calls = {"bare": bare, "ours": layer}
    tokens = {kind: call() for kind, call in calls.items()}
    seconds = in_turn(ROUNDS, calls)
    per_token = {kind: [one / tokens[kind] for one in times] for kind, times in seconds.items()}
    print(f"{name:>12}: {rates(per_token, 1)} tokens/s, {faster(per_token, 'ours', 'bare')}")


def with_transformers(params: Params, reader: Reader, requests: list[Request]) -> None:
    model, tokenizer = models.load_causal_lm(STUDENT, Path(), params.runtime), models.load_tokenizer(STUDENT, Path())
    engine = transformers_engine.TransformersEngine(model, tokenizer, rows_per_batch=PROMPTS, batch_tokens=10**6)

    def bare() -> int:
        return generated(model, tokenizer, [reader.job(request).prompt_ids for request in requests])

    compare("transformers", bare, lambda: ours(reader, engine, requests))


def generated(model, tokenizer, prompt_ids: list[list[int]]) -> int:
    """Tokens that `generate` writes to one batch, padded on the left."""
    import torch

    batch = tokenizer.pad({"input_ids": prompt_ids}, padding_side="left", return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**batch, max_new_tokens=NEW_TOKENS, do_sample=False)
    new = output[:, batch["input_ids"].shape[1] :]
    ended = (new == tokenizer.eos_token_id) | (new == tokenizer.pad_token_id)
    return int((~ended).sum())


class BareActor:
    """What a user of Ray Data would write: a model, and `generate` on a batch."""

    def __init__(self, folder: Path, runtime: Runtime):
        self._model, self._tokenizer = (
            models.load_causal_lm(folder, folder, runtime),
            models.load_tokenizer(folder, folder),
        )

    def __call__(self, row: dict) -> dict:
        return {"tokens": generated(self._model, self._tokenizer, [list(map(int, ids)) for ids in row["ids"]])}


def with_ray(params: Params, reader: Reader, requests: list[Request]) -> None:
    """One actor that holds transformers; starting it and loading the model are part of both."""
    import ray
    import ray.data

    from sentidistill.inference.engines.actors import RayEngine

    settings, folder = Ray(actors=1, cpus_per_actor=2, gpus_per_actor=0), STUDENT.resolve()

    def open_engine() -> Engine:
        model, tokenizer = models.load_causal_lm(folder, folder, params.runtime), models.load_tokenizer(folder, folder)
        return transformers_engine.TransformersEngine(model, tokenizer, rows_per_batch=PROMPTS, batch_tokens=10**6)

    def bare() -> int:
        rows = ray.data.from_items([{"ids": [reader.job(request).prompt_ids for request in requests]}]).map(
            BareActor,
            fn_constructor_args=(folder, params.runtime),
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=2,
        )
        return sum(row["tokens"] for row in rows.iter_rows())

    engine = RayEngine(open_engine, settings, rows=PROMPTS)
    ray.init(logging_level=logging.ERROR, log_to_driver=False)
    compare("ray", bare, lambda: ours(reader, engine, requests))


def with_vllm(params: Params, reader: Reader, requests: list[Request]) -> None:
    from vllm import SamplingParams

    from sentidistill.inference.engines.vllm import VLLMEngine

    engine = VLLMEngine(STUDENT, dtype=params.runtime.dtype, concurrency=PROMPTS, options=VLLM_OPTIONS)
    sampling = SamplingParams(temperature=0, max_tokens=NEW_TOKENS)

    def bare() -> int:
        engine._llm.reset_prefix_cache()
        prompts = [{"prompt_token_ids": reader.job(request).prompt_ids} for request in requests]
        return sum(len(one.outputs[0].token_ids) for one in engine._llm.generate(prompts, sampling, use_tqdm=False))

    def layer() -> int:
        engine._llm.reset_prefix_cache()
        return ours(reader, engine, requests)

    compare("vllm", bare, layer)


def with_server(params: Params, reader: Reader, requests: list[Request]) -> None:
    from openai import AsyncOpenAI

    async def all_at_once(url: str) -> int:
        async with AsyncOpenAI(base_url=url, api_key="none") as client:
            answers = await asyncio.gather(
                *(
                    client.completions.create(
                        model="student", prompt=reader.job(request).prompt_ids, max_tokens=NEW_TOKENS, temperature=0
                    )
                    for request in requests
                )
            )
        return sum(answer.usage.completion_tokens for answer in answers)

    with vllm_server() as url:
        compare("server", lambda: asyncio.run(all_at_once(url)), lambda: ours(reader, server(params, url), requests))


def server(params: Params, url: str) -> Engine:
    from sentidistill.inference.engines.server import ServerEngine

    settings = params.runtime.server.model_copy(update={"base_url": url})
    return ServerEngine(settings, "student", api="completions", extra_body={}, concurrency=PROMPTS)


@contextmanager
def vllm_server() -> Iterator[str]:
    """`vllm serve` with the student, until the block ends."""
    command = [sys.executable, "-m", "scripts.vllm_cpu", "serve", str(STUDENT), "--served-model-name", "student"]
    command += ["--dtype", "float32", "--max-model-len", "2048", "--enforce-eager"]
    command += ["--kv-cache-memory-bytes", str(2**30), "--host", "127.0.0.1", "--port", str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5)
                break
            except OSError:
                assert process.poll() is None, "vllm serve has ended"
                time.sleep(1)
        yield f"http://127.0.0.1:{PORT}/v1"
    finally:
        process.terminate()
        process.wait()


def layer(params: Params, engines: list[str]) -> None:
    tokenizer = models.load_tokenizer(STUDENT, Path())
    reader = Reader("benchmark", "chat", 2048, lambda: tokenizer)
    requests = [Request(one, max_new_tokens=NEW_TOKENS) for one in questions()]
    print(f"{PROMPTS} chats, {NEW_TOKENS} new tokens at most, greedy, {STUDENT}, {ROUNDS} rounds")
    run = {"transformers": with_transformers, "ray": with_ray, "vllm": with_vllm, "server": with_server}
    needs = {"transformers": "transformers", "ray": "ray", "vllm": "vllm", "server": "vllm"}
    installed = [name for name, package in needs.items() if importlib.util.find_spec(package)]
    for name in engines or installed:
        run[name](params, reader, requests)


def prefix(params: Params) -> None:
    """Enumeration prompts of the default run through the default teacher: reading alone, one new token each."""
    folder = Path("models/teacher")
    model, tokenizer = models.load_causal_lm(folder, Path(), params.runtime), models.load_tokenizer(folder, Path())
    template = Template("enumerate_attributes", worked_examples=params.teacher.worked_examples)
    reader = Reader("benchmark", params.teacher.prompt_format, 4096, lambda: tokenizer)
    requests = [Request(template.prompt(text=text), max_new_tokens=1) for text in texts(PROMPTS)]
    tokens = sum(len(reader.job(request).prompt_ids) for request in requests)
    engine = transformers_engine.TransformersEngine(
        model, tokenizer, rows_per_batch=params.runtime.concurrency, batch_tokens=params.runtime.batch_tokens
    )

    def read(shared: int) -> None:
        with patch.object(shared_prefix, "MIN_TOKENS", shared):
            ours(reader, engine, requests)

    read(1)
    seconds = in_turn(ROUNDS, {"whole prompts": lambda: read(10**9), "prefix reuse": lambda: read(1)})
    print(f"{PROMPTS} enumeration prompts, {tokens} tokens: {rates(seconds, tokens)} tokens/s")
    print(f"  {faster(seconds, 'prefix reuse', 'whole prompts')}")


def agreement(params: Params) -> None:
    """The label of 100 benchmark prompts by every engine, and the prompts on which they differ."""
    from sentidistill.inference.engines.vllm import VLLMEngine
    from sentidistill.inference.requests import answer

    requests, tokenizer = [], models.load_tokenizer(STUDENT, Path())
    for task in params.evaluate.tasks:
        train, validation = (
            sentibench.read(Path("data/benchmark", task, f"{split}.jsonl")) for split in ("train", "validation")
        )
        drawn = benchmark_questions(
            known(task), validation[:25], train, shots=3, demonstrations="shared", max_chars=600, seed=0
        )
        requests += [Request(one.prompt, choices=one.choices) for one in drawn]
    reader = Reader("benchmark", "transcript", 2048, lambda: tokenizer)
    model = models.load_causal_lm(STUDENT, Path(), params.runtime)
    engines: dict[str, Callable[[], Engine]] = {
        "transformers": lambda: transformers_engine.TransformersEngine(
            model, tokenizer, rows_per_batch=48, batch_tokens=32768
        ),
        "vllm": lambda: VLLMEngine(STUDENT, dtype="float32", concurrency=48, options=VLLM_OPTIONS),
    }
    answers = {name: answer(open_engine(), reader, requests) for name, open_engine in engines.items()}
    with vllm_server() as url:
        answers["vllm server"] = answer(server(params, url), reader, requests)
    for name in ("vllm", "vllm server"):
        pairs = list(zip(requests, answers["transformers"], answers[name]))
        same = sum(one.text == other.text for _, one, other in pairs)
        largest = max(abs(a - b) for _, one, other in pairs for a, b in zip(one.choice_logprobs, other.choice_logprobs))
        print(
            f"{name}: {same} of {len(pairs)} choices as transformers'; log-probabilities differ by up to {largest:.1e}"
        )
        for request, one, other in pairs:
            if one.text != other.text:
                print(f"  {transcript(request.prompt)[-160:]!r}")
                print(f"    transformers {one.choice_logprobs}, {name} {other.choice_logprobs}")


def main(what: str = "layer", *engines: str) -> None:
    params = config.load()
    if what == "layer":
        layer(params, list(engines))
    else:
        {"prefix": prefix, "agreement": agreement}[what](params)


if __name__ == "__main__":
    main(*sys.argv[1:])
