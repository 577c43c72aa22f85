"""A model behind an OpenAI-compatible server: vLLM, transformers serve, llama.cpp, Ollama, commercial ones."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sentidistill.config import Server
from sentidistill.errors import SentiDistillError
from sentidistill.inference.choices import ALL, SHOWN, branches, summed
from sentidistill.inference.requests import NEUTRAL, Job, Request, Response
from sentidistill.prompts import messages

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Api = Literal["completions", "chat"]
# So many requests in a row whose retries run out, and the server counts as down.
GIVE_UP_AFTER = 5


class _Unusable(Exception):
    """The server answered, but not with an answer."""


class ServerEngine:
    """Answers requests by a server, several at a time, trying again where that makes sense.

    `completions` sends token ids, the same that a local engine would read, and scores choices by the
    log-probabilities of their tokens, which the servers of vLLM and llama.cpp give. `chat` sends messages,
    and lets the server choose among choices by a JSON schema; there are no log-probabilities then.
    """

    def __init__(self, settings: Server, model: str, *, api: Api, extra_body: dict[str, Any], concurrency: int):
        self._settings, self._model, self._api, self._extra_body = settings, model, api, extra_body
        self._concurrency = concurrency
        self._key = os.environ.get(settings.key_variable, "")
        self._exhausted_in_a_row = 0

    def stream(self, jobs: Sequence[Job]) -> Iterator[list[tuple[int, Response]]]:
        with asyncio.Runner() as runner:
            client = self._client()
            waiting = iter(enumerate(jobs))
            running: dict[asyncio.Task, int] = {}
            try:
                while True:
                    while len(running) < self._concurrency and (following := next(waiting, None)):
                        running[runner.get_loop().create_task(self._answer(client, following[1]))] = following[0]
                    if not running:
                        return
                    done, _ = runner.run(asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))
                    places = {task: running.pop(task) for task in done}
                    yield [(place, task.result()) for task, place in places.items() if not task.exception()]
                    for task in places:
                        task.result()
            finally:
                for task in running:
                    task.cancel()
                runner.run(_settle(client, list(running)))

    def _client(self) -> "AsyncOpenAI":
        from aiolimiter import AsyncLimiter
        from openai import AsyncOpenAI

        per_minute = self._settings.requests_per_minute
        self._limiter = AsyncLimiter(1, 60 / per_minute) if per_minute else None
        return AsyncOpenAI(
            base_url=self._settings.base_url,
            api_key=self._key or "none",  # local servers want none, the client wants one
            max_retries=0,
            timeout=self._settings.timeout,
        )

    async def _answer(self, client: "AsyncOpenAI", job: Job) -> Response:
        """The response, an error response for a fault of this request, or an exception for one of the server."""
        import httpx2
        import openai
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        patience = wait_random_exponential(multiplier=self._settings.first_wait, max=self._settings.max_wait)
        retrying = AsyncRetrying(
            retry=retry_if_exception(_worth_retrying),
            wait=lambda state: max(patience(state), _asked_to_wait(state.outcome.exception())),
            stop=stop_after_attempt(self._settings.attempts),
            reraise=True,
        )
        ask = self._complete if self._api == "completions" else self._chat
        try:
            response = await retrying(ask, client, job)
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise SentiDistillError(
                f"{self._settings.base_url} refused the key (HTTP {error.status_code}); put the right one into the "
                f"environment variable {self._settings.key_variable}"
            ) from None
        except openai.NotFoundError as error:
            raise SentiDistillError(
                f"{self._settings.base_url} has no model {self._model!r}, or no such address "
                f"({self._reason(error)}); check runtime.server.base_url and the model's name"
            ) from None
        except (openai.APIError, _Unusable, ValueError) as error:
            if getattr(error, "code", None) == "insufficient_quota":
                raise SentiDistillError(f"{self._settings.base_url}: {self._reason(error)}") from None
            if not _worth_retrying(error):
                self._exhausted_in_a_row = 0
                return Response.failed(f"the server refused the request: {self._reason(error)}", len(job.prompt_ids))
            self._exhausted_in_a_row += 1
            nobody_there = isinstance(error.__cause__, httpx2.ConnectError)
            if nobody_there or self._exhausted_in_a_row >= GIVE_UP_AFTER:
                raise SentiDistillError(
                    f"{self._settings.base_url} does not answer, after {self._settings.attempts} attempts: "
                    f"{self._reason(error)}. Answers that came are stored; run the same command again to continue"
                ) from None
            return Response.failed(
                f"no answer after {self._settings.attempts} attempts: {self._reason(error)}", len(job.prompt_ids)
            )
        self._exhausted_in_a_row = 0
        return response

    def _reason(self, error: Exception) -> str:
        """The error in a line, without the key, which some servers repeat."""
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        text = " ".join(f"{type(error).__name__}: {error}{cause}".split())
        return (text.replace(self._key, "[key]") if self._key else text)[:300]

    async def _turn(self) -> None:
        if self._limiter is not None:
            await self._limiter.acquire()

    def _shared_arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self._model,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "frequency_penalty": request.frequency_penalty,
            "seed": request.random_seed() % 2**31,
            self._settings.max_tokens_field: request.max_new_tokens,
        }
        if request.stop:
            arguments["stop"] = list(request.stop)
        if request.json_schema is not None:
            arguments["response_format"] = _response_format(request.json_schema)
        return arguments

    async def _chat(self, client: "AsyncOpenAI", job: Job) -> Response:
        request = job.request
        arguments = self._shared_arguments(request)
        if request.choices:
            answers = {"answer": {"type": "string", "enum": list(request.choices)}}
            schema = {"type": "object", "properties": answers, "required": ["answer"], "additionalProperties": False}
            arguments |= {"temperature": 0.0, "response_format": _response_format(schema)}
        await self._turn()
        answer = await client.chat.completions.create(
            messages=messages(request.prompt), extra_body=self._extra_body or None, **arguments
        )
        choice, usage = _first(answer), getattr(answer, "usage", None)
        text = getattr(choice.message, "content", None) or ""
        counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        if choice.finish_reason not in ("stop", "length"):
            return Response.failed(f"the server ended the answer with {choice.finish_reason!r}", counts[0])
        if not request.choices:
            return Response(text, choice.finish_reason, *counts)
        chosen = _named_choice(text, request.choices)
        if chosen is None:
            return Response.failed(f"the answer names none of the choices: {text[:100]!r}", counts[0])
        return Response(chosen, "choice", *counts)

    async def _complete(self, client: "AsyncOpenAI", job: Job) -> Response:
        request = job.request
        if not job.choice_ids:
            arguments = self._shared_arguments(request)
            extra = {"top_k": request.top_k, **NEUTRAL, **self._extra_body}
            arguments |= {"prompt": job.prompt_ids, "extra_body": extra}
            if schema_format := arguments.pop("response_format", None):
                # vLLM takes the one and llama.cpp the other; neither knows the other's.
                extra |= {"response_format": schema_format, "json_schema": request.json_schema}
            await self._turn()
            answer = await client.completions.create(**arguments)
            choice = _first(answer)
            if choice.finish_reason not in ("stop", "length"):
                return Response.failed(f"the server ended the answer with {choice.finish_reason!r}")
            tokens = answer.usage.completion_tokens if answer.usage else 0
            return Response(choice.text or "", choice.finish_reason, len(job.prompt_ids), tokens)
        logprobs = {}
        for beginning, tokens in branches(job).items():
            logprobs[beginning] = await self._next(client, job.prompt_ids + list(beginning), tokens)
            if not set(tokens) <= logprobs[beginning].keys():
                return Response.failed(
                    "the server gives no log-probabilities of tokens by their ids, as vLLM's and llama.cpp's do; use "
                    "teacher.api: chat",
                    len(job.prompt_ids),
                )
        scores = summed(job, logprobs)
        best = max(range(len(scores)), key=scores.__getitem__)
        return Response(request.choices[best], "choice", len(job.prompt_ids), 0, scores)

    async def _next(self, client: "AsyncOpenAI", ids: list[int], tokens: list[int]) -> dict[int, float]:
        """Log-probabilities after `ids`, of all `tokens` where the server can tell."""
        found: dict[int, float] = {}
        for shown in (SHOWN, ALL):
            await self._turn()
            # vLLM shows the tokens that it is asked for, llama.cpp the likeliest `n_probs`.
            wanted = {"logprob_token_ids": tokens, "return_tokens_as_token_ids": True, "n_probs": shown}
            arguments = {"model": self._model, "prompt": ids, "max_tokens": 1, "temperature": 0.0}
            answer = await client.completions.create(
                **arguments, logprobs=len(tokens), extra_body={**wanted, **NEUTRAL, **self._extra_body}
            )
            found = _shown_logprobs(_first(answer).logprobs)
            if not found or set(tokens) <= found.keys():
                break
        return found


async def _settle(client: "AsyncOpenAI", cancelled: list[asyncio.Task]) -> None:
    await asyncio.gather(*cancelled, return_exceptions=True)
    await client.close()


def _first(answer: Any) -> Any:
    """The first choice of a completion. Raises `_Unusable` where the server sent something else."""
    choices = getattr(answer, "choices", None)
    if not choices:
        raise _Unusable(f"no answer in {str(answer)[:200]!r}")
    return choices[0]


def _shown_logprobs(given: Any) -> dict[int, float]:
    """Log-probability by token id of the tokens that a server shows in place of the one it wrote."""
    if given and given.top_logprobs:  # vLLM: {"token_id:5": -0.1}
        shown = given.top_logprobs[0].items()
        return {int(name.removeprefix("token_id:")): value for name, value in shown if name.startswith("token_id:")}
    if given and (content := getattr(given, "content", None)):  # llama.cpp: [{"id": 5, "logprob": -0.1}]
        return {one["id"]: one["logprob"] for one in content[0]["top_logprobs"]}
    return {}


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _named_choice(text: str, choices: Sequence[str]) -> str | None:
    """The choice that `text` gives, as JSON or, where a server knows no schemas, as plain text."""
    try:
        value = json.loads(text)
        text = str(value.get("answer", "")) if isinstance(value, dict) else str(value)
    except ValueError:
        pass
    return {choice.casefold(): choice for choice in choices}.get(text.strip().rstrip(".").casefold())


def _worth_retrying(error: BaseException) -> bool:
    """Whether the same request may well be answered later."""
    import openai

    if isinstance(error, openai.RateLimitError):
        return error.code != "insufficient_quota"
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code in (408, 409, 425)
    return isinstance(error, openai.APIError | _Unusable | ValueError)


def _asked_to_wait(error: BaseException | None) -> float:
    """Seconds that the server asks to wait, by its Retry-After header."""
    response = getattr(error, "response", None)
    try:
        return float(response.headers.get("retry-after", 0)) if response is not None else 0.0
    except ValueError:
        return 0.0
