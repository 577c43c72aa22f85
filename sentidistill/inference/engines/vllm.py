"""A model in this process, by vLLM: continuous batching, prefixes found by vLLM's own cache."""

import atexit
import logging
import os
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentidistill.errors import SentiDistillError
from sentidistill.inference.choices import branches, response
from sentidistill.inference.requests import NEUTRAL, Job, Request, Response

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams


def open_llm(folder: Path, dtype: str, options: dict[str, Any]) -> "LLM":
    """vLLM with the model in `folder`, without its own log and bars; `options` are further arguments of `vllm.LLM`."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    logging.getLogger("vllm").setLevel(logging.WARNING)
    try:
        from vllm import LLM
    except ImportError as error:
        raise SentiDistillError(
            f"the engine vllm needs the vllm package ({error}): `pip install -r requirements-vllm.txt`"
        ) from error
    llm = LLM(model=str(folder), dtype=dtype, **{"seed": 0, "disable_log_stats": True, **options})
    # At the end of Python, multiprocessing waits for vLLM's processes, maybe before vLLM's own finalizer ends them.
    atexit.register(_shut_down, weakref.ref(llm.llm_engine.engine_core))
    return llm


def _shut_down(client: weakref.ref) -> None:
    if (held := client()) is not None:
        held.shutdown()


class VLLMEngine:
    """Answers requests with the model in `folder`.

    At most `concurrency` requests are under way at a time. `options` are further arguments of
    `vllm.LLM`, such as `tensor_parallel_size`.
    """

    def __init__(self, folder: Path, *, dtype: str, concurrency: int, options: dict[str, Any]):
        self._llm = open_llm(folder, dtype, options)
        self._concurrency = concurrency

    def stream(self, jobs: Sequence[Job]) -> Iterator[list[tuple[int, Response]]]:
        from vllm.exceptions import VLLMClientError

        engine = self._llm.llm_engine
        positions = engine.model_config.max_model_len
        waiting = deque(range(len(jobs)))
        # Per job: its outputs so far by the tokens appended to the prompt, () for a sampled answer.
        outputs: dict[int, dict[tuple[int, ...], RequestOutput]] = {}
        parts: dict[str, tuple[int, tuple[int, ...]]] = {}
        while waiting or outputs:
            finished = []
            while waiting and len(outputs) < self._concurrency:
                index = waiting.popleft()
                job = jobs[index]
                if refusal := job.beyond(positions):
                    finished.append((index, refusal))
                    continue
                # The longest first: where it does not fit, nothing of the job has been added.
                for number, (beginning, params) in enumerate(sorted(_parts(job), key=lambda part: -len(part[0]))):
                    name = f"{index}:{number}"
                    try:
                        engine.add_request(name, {"prompt_token_ids": job.prompt_ids + list(beginning)}, params)
                    except (ValueError, VLLMClientError) as error:  # a schema that cannot be followed
                        finished.append((index, Response.failed(str(error), len(job.prompt_ids))))
                        break
                    parts[name] = (index, beginning)
                    outputs[index] = {}
            for output in engine.step() if outputs else []:
                if output.finished:
                    index, beginning = parts.pop(output.request_id)
                    outputs[index][beginning] = output
                    job = jobs[index]
                    if len(outputs[index]) == max(1, len(branches(job))):
                        finished.append((index, _response(job, outputs.pop(index))))
            if finished:
                yield finished


def _parts(job: Job) -> Iterator[tuple[tuple[int, ...], "SamplingParams"]]:
    """What the engine is asked for `job`: (tokens after the prompt, how to go on from there)."""
    from vllm import SamplingParams

    if not job.choice_ids:
        yield (), _sampling(job.request)
        return
    for beginning, tokens in branches(job).items():
        yield beginning, SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=tokens, detokenize=False)


def _sampling(request: Request) -> "SamplingParams":
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    schema = request.json_schema
    return SamplingParams(
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        frequency_penalty=request.frequency_penalty,
        max_tokens=request.max_new_tokens,
        stop=list(request.stop),
        seed=request.random_seed() % 2**63,
        structured_outputs=None if schema is None else StructuredOutputsParams(json=schema),
        **NEUTRAL,
    )


def _response(job: Job, outputs: dict[tuple[int, ...], "RequestOutput"]) -> Response:
    if job.choice_ids:
        logprobs = {
            beginning: {token: one.logprob for token, one in output.outputs[0].logprobs[0].items()}
            for beginning, output in outputs.items()
        }
        return response(job, logprobs)
    (output,) = outputs.values()
    answer = output.outputs[0]
    if answer.finish_reason not in ("stop", "length"):
        return Response.failed(f"vLLM ended the answer with {answer.finish_reason!r}", len(job.prompt_ids))
    return Response(answer.text, answer.finish_reason, len(job.prompt_ids), len(answer.token_ids))
