"""A GGUF model in this process, by llama.cpp: continuous batching, and what prompts begin with is read once for all."""

import json
import logging
import math
import queue
import secrets
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sentidistill.errors import SentiDistillError
from sentidistill.inference.choices import ALL, SHOWN, branches, response
from sentidistill.inference.packing import shared_prefix
from sentidistill.inference.requests import Job, Response

# Tokens beyond the longest prompt and answer: what llama.cpp asks for, and the end after a choice.
MARGIN = 16
# llama.cpp rounds a slot's tokens up to a multiple of this.
STEP = 256

# Whatever proxy the environment names, this machine is reached without it.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

log = logging.getLogger(__name__)


class LlamaCppEngine:
    """Answers requests with the GGUF model in `file`.

    At most `concurrency` requests are under way at a time, each in a slot of its own, which has room for the longest
    of them. `options` are attributes of `xllamacpp.CommonParams`, such as `n_gpu_layers`, and go before what is set
    here. The library opens a port on the loopback address, which wants a key that only this process knows.

    The random numbers of an answer are its request's own. But requests that are computed together change each other's
    logits a little, as quantised weights are multiplied in other ways for one token than for many: scores of choices
    by some tenths. So a sampled answer may differ from run to run, and at temperature 0 one that hangs on two tokens
    that are about as likely. A frequency penalty counts the last `max_new_tokens` tokens, the prompt's too.
    """

    def __init__(self, file: Path, *, concurrency: int, threads: int, options: dict[str, Any]):
        self._file, self._threads, self._options = file, threads, options
        self._slots = options.get("n_parallel", concurrency)
        self._room = 0
        self._server: Any = None
        self._counting = threading.Lock()
        self.read = self.reused = self.widened = self.scored = 0

    def stream(self, jobs: Sequence[Job]) -> Iterator[list[tuple[int, Response]]]:
        if not jobs:
            return
        self._open(max(len(job.prompt_ids) + job.new_tokens() for job in jobs) + MARGIN)
        refused = {place: refusal for place, job in enumerate(jobs) if (refusal := job.beyond(self._positions))}
        if refused:
            yield list(refused.items())
        for group in _groups({place: job for place, job in enumerate(jobs) if place not in refused}):
            yield from self._answer_group([(place, jobs[place]) for place in group])
        if self.read:
            log.info("llama.cpp read %d tokens of prompts and reused %d", self.read, self.reused)
        if self.widened:
            log.info(
                "%d of %d scores of choices were not among the %d likeliest tokens", self.widened, self.scored, SHOWN
            )

    def _open(self, room: int) -> None:
        """A server whose slots hold `room` tokens each, unless there is one."""
        if room <= self._room:
            return
        room = STEP * math.ceil(room / STEP)
        try:
            import xllamacpp
        except ImportError as error:
            raise SentiDistillError(f"the engine llamacpp needs xllamacpp ({error}): run `make setup`") from error
        self._server = None  # one model at a time in memory
        self._room, self._states = 0, tempfile.TemporaryDirectory()
        params = xllamacpp.CommonParams()
        params.model.path = str(self._file)
        params.n_parallel, params.n_ctx = self._slots, self._slots * room
        params.hostnames, params.api_keys, params.slot_save_path = (
            ["127.0.0.1"],
            [secrets.token_hex(16)],
            f"{self._states.name}/",
        )
        params.cache_ram_mib = 0
        params.swa_full = True  # without it a model with sliding windows reads its prompts again from the beginning
        params.verbosity = -1
        if self._threads:
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
        for name, value in self._options.items():
            if not hasattr(params, name):
                raise SentiDistillError(f"runtime.llamacpp: llama.cpp has no parameter {name!r}")
            try:
                setattr(params, name, value)
            except (TypeError, ValueError, OverflowError) as error:
                raise SentiDistillError(f"runtime.llamacpp.{name}: {value!r} is no value for it ({error})") from error
        self._key = next(iter(params.api_keys), "")
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise SentiDistillError(
                f"{self._file}: llama.cpp cannot open it ({error}); runtime.llamacpp: {{verbosity: 3}} shows why"
            ) from error
        # Not for the number alone: a server that is closed before its port has answered once waits for ever.
        self._positions = self._call("/v1/models")["data"][0]["meta"]["n_ctx_train"]
        self._room = room

    def _answer_group(self, group: list[tuple[int, Job]]) -> Iterator[list[tuple[int, Response]]]:
        """Jobs that begin alike: one slot reads the beginning, and the others get a copy of its state."""
        shared = shared_prefix.shared_length([job.prompt_ids for _, job in group])
        if shared:
            self._complete(0, group[0][1].prompt_ids[:shared], n_predict=0)
            self._state(0, "save")
        waiting: queue.SimpleQueue = queue.SimpleQueue()
        for item in group:
            waiting.put(item)
        finished: queue.SimpleQueue = queue.SimpleQueue()
        stopped = threading.Event()

        def work(slot: int) -> None:
            try:
                if shared and slot:
                    self._state(slot, "restore")
                while not stopped.is_set():
                    place, job = waiting.get_nowait()
                    finished.put((place, (self._score if job.choice_ids else self._write)(slot, job)))
            except queue.Empty:
                pass
            except BaseException as error:
                finished.put(error)

        with ThreadPoolExecutor(min(self._slots, len(group))) as pool:
            for slot in range(min(self._slots, len(group))):
                pool.submit(work, slot)
            try:
                for _ in group:
                    answer = finished.get()
                    if isinstance(answer, BaseException):
                        raise answer
                    yield [answer]
            finally:
                stopped.set()

    def _state(self, slot: int, action: str) -> None:
        """Write a slot's state to the one file of states, or read it from there."""
        self._call(f"/slots/{slot}?action={action}", {"filename": "beginning"})

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the server's port answers, for what the library offers there alone."""
        request = urllib.request.Request(
            self._server.listening_address + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )
        try:
            with _DIRECT.open(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SentiDistillError(f"llama.cpp: {path}: {error.read().decode(errors='replace')[:300]}") from error

    def _complete(self, slot: int, ids: Sequence[int], **settings: Any) -> dict[str, Any]:
        answer = self._server.handle_completions(
            {"prompt": list(ids), "id_slot": slot, "cache_prompt": True, "samplers": SAMPLERS, **settings}
        )
        if "choices" not in answer:
            raise ValueError(str(answer.get("error", answer))[:300])
        with self._counting:
            self.read += answer["timings"]["prompt_n"]
            self.reused += answer["timings"]["cache_n"]
        return answer

    def _write(self, slot: int, job: Job) -> Response:
        request = job.request
        try:
            answer = self._complete(
                slot,
                job.prompt_ids,
                n_predict=request.max_new_tokens,
                temperature=request.temperature,
                top_k=request.top_k,
                top_p=request.top_p,
                frequency_penalty=request.frequency_penalty,
                repeat_last_n=request.max_new_tokens,
                seed=request.random_seed() % (2**32 - 1),  # the number left out stands for a seed by chance
                stop=list(request.stop),
                **({"grammar": _grammar(request.json_schema)} if request.json_schema is not None else {}),
            )
        except ValueError as error:
            return Response.failed(f"llama.cpp: {error}", len(job.prompt_ids))
        choice = answer["choices"][0]
        if choice["finish_reason"] not in ("stop", "length"):
            return Response.failed(f"llama.cpp ended the answer with {choice['finish_reason']!r}", len(job.prompt_ids))
        tokens = answer["usage"]["completion_tokens"]
        return Response(choice["text"], choice["finish_reason"], len(job.prompt_ids), tokens)

    def _score(self, slot: int, job: Job) -> Response:
        try:
            logprobs = {
                beginning: self._next(slot, job.prompt_ids + list(beginning), tokens)
                for beginning, tokens in branches(job).items()
            }
        except ValueError as error:
            return Response.failed(f"llama.cpp: {error}", len(job.prompt_ids))
        return response(job, logprobs)

    def _next(self, slot: int, ids: list[int], tokens: Sequence[int]) -> dict[int, float]:
        """Log-probabilities of `tokens` after `ids`."""
        for shown in (SHOWN, ALL):
            answer = self._complete(slot, ids, n_predict=1, n_probs=shown, temperature=0.0)
            (first, *_) = answer["choices"][0]["logprobs"]["content"]
            found = {one["id"]: one["logprob"] for one in first["top_logprobs"]}
            whole = all(token in found for token in tokens)
            if shown == SHOWN:
                with self._counting:
                    self.scored += 1
                    self.widened += not whole
            if whole:
                return {token: found[token] for token in tokens}
        raise ValueError("a token of a choice has no probability")


# In the order of the other engines, and none of llama.cpp's own besides.
SAMPLERS = ["penalties", "temperature", "top_k", "top_p"]


def _grammar(schema: dict[str, Any]) -> str:
    """The grammar of answers that obey `schema`, without the freedom of blanks. Raises `ValueError` for a bad one."""
    from llguidance import LLMatcher

    spaced = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    guided = {**schema, "x-guidance": spaced}
    if reason := LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(guided)):
        raise ValueError(f"json_schema: {reason}")
    return "%llguidance {}\nstart: %json " + json.dumps(guided)


def _groups(jobs: Mapping[int, Job]) -> Iterator[list[int]]:
    """Places of jobs with the same instruction and demonstrations, which begin alike; in the order of their ids."""
    groups: dict[tuple, list[int]] = {}
    for place, job in jobs.items():
        prompt = job.request.prompt
        groups.setdefault((prompt.instruction, prompt.demonstrations), []).append(place)
    for group in groups.values():
        yield sorted(group, key=lambda place: jobs[place].prompt_ids)
