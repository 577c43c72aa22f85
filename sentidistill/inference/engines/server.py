"""A model behind an OpenAI-compatible server: vLLM, transformers serve, llama.cpp, Ollama, commercial ones."""

import asyncio
import base64
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from sentidistill.config.runtime import Server
from sentidistill.errors import SentiDistillError
from sentidistill.inference.choices import ALL, SHOWN, branches, response
from sentidistill.inference.requests import MOST_TOKENS, NEUTRAL, Job, Request, Response, loads
from sentidistill.parsing.labels import parse_label
from sentidistill.parsing.markup import parse_json, strip_thinking
from sentidistill.prompts import messages

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LOG = logging.getLogger(__name__)
Api = Literal["completions", "chat"]
# So many requests in a row whose retries run out, or that are refused in the same words, and no more are sent.
GIVE_UP_AFTER = 5
LONGEST_WAIT = 600.0  # seconds, whatever a server asks for
# What a server says of an answer that is none. Everything else that is not "length" is some server's word for "stop".
LEAST_KEY = 8  # characters; shorter ones are words by which local servers are asked, and stand in answers
NO_ANSWER = ("content_filter", "tool_calls", "function_call")


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
        self._key = _key(settings.key_variable)
        self._schemas = settings.schemas
        self._exhausted_in_a_row = 0
        self._refusals: list[str] = []

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
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        for name in ("httpx", "httpx2"):  # a line for every request
            logging.getLogger(name).setLevel(logging.WARNING)
        per_minute = self._settings.requests_per_minute
        self._limiter = AsyncLimiter(1, 60 / per_minute) if per_minute else None
        return AsyncOpenAI(
            base_url=self._settings.base_url,
            api_key=self._key or "none",  # local servers want none, the client wants one
            max_retries=0,
            timeout=self._settings.timeout,
            # Prompts go to the address that the user named, and nowhere else.
            http_client=DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def _answer(self, client: "AsyncOpenAI", job: Job) -> Response:
        """The response, an error response for a fault of this request, or an exception for one of the server."""
        import httpx2
        import openai
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        patience = wait_random_exponential(multiplier=self._settings.first_wait, max=self._settings.max_wait)
        retrying = AsyncRetrying(
            retry=retry_if_exception(_worth_retrying),
            wait=lambda state: max(
                patience(state), _asked_to_wait(state.outcome.exception() if state.outcome else None)
            ),
            stop=stop_after_attempt(self._settings.attempts),
            reraise=True,
        )
        ask = self._complete if self._api == "completions" else self._chat
        try:
            response: Response = await retrying(ask, client, job)
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
            if _spent(error):
                raise SentiDistillError(
                    f"{self._settings.base_url}: the account has nothing left to spend ({self._reason(error)}). "
                    "Answers that came are stored; top it up, and run the same command again to continue"
                ) from None
            if not _worth_retrying(error):
                self._exhausted_in_a_row = 0
                return self._refused(error, job)
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
        self._refusals.clear()
        return response

    def _refused(self, error: Exception, job: Job) -> Response:
        """An error response; an exception where several requests in a row are refused in the same words."""
        reason = self._reason(error)
        self._refusals = [*(one for one in self._refusals if one == reason), reason]
        if len(self._refusals) >= GIVE_UP_AFTER:
            raise SentiDistillError(
                f"{self._settings.base_url} refused {GIVE_UP_AFTER} requests in a row alike: {reason}. Answers "
                "that came are stored; run the same command again to continue"
            ) from None
        return Response.failed(f"the server refused the request: {reason}", len(job.prompt_ids))

    async def _create(self, create: Callable[..., Awaitable[Any]], **arguments: Any) -> Any:
        """The server's reply, as its JSON is. A server that refuses the schema of an answer is asked without, from then
        on.
        """
        import openai

        plain = _without_schema(arguments)
        try:
            return await self._sent(create(**(arguments if self._schemas else plain)))
        except openai.BadRequestError:
            if not self._schemas or plain == arguments:
                raise
        reply = await self._sent(create(**plain))
        self._schemas = False
        return reply

    async def _sent(self, call: Awaitable[Any]) -> Any:
        """The reply to one attempt. A server that sends it byte by byte is not waited for any longer than others."""
        if self._limiter is not None:
            await self._limiter.acquire()
        try:
            async with asyncio.timeout(self._settings.timeout):
                # The client's own objects would be of any type, or of the right one by a conversion.
                return loads((await call).text)
        except TimeoutError:
            raise _Unusable(f"no whole answer within {self._settings.timeout:g} seconds") from None
        except (AssertionError, LookupError, TypeError) as error:  # its charset is no encoding of texts
            raise _Unusable(f"a reply that cannot be decoded ({type(error).__name__})") from None

    def _reason(self, error: Exception) -> str:
        """The error in a line, without the key, which some servers repeat."""
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        return " ".join(self._masked(f"{type(error).__name__}: {error}{cause}").split())[:300]

    def _masked(self, text: str) -> str:
        """`text` without the key, which some servers and gateways repeat in one form or another."""
        if len(self._key) >= LEAST_KEY:
            written = {self._key, quote(self._key, safe=""), repr(self._key)[1:-1], json.dumps(self._key)[1:-1]}
            for form in {*written, base64.b64encode(self._key.encode()).decode()}:
                text = text.replace(form, "[key]")
        return text

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
        reply = await self._create(
            client.chat.completions.with_raw_response.create,
            messages=messages(request.prompt),
            extra_body=self._extra_body or None,
            **arguments,
        )
        choice = _first(reply)
        answered = self._answered(choice, _field(choice.get("message"), "content"), reply.get("usage"))
        if not request.choices or answered.error:
            return answered
        chosen = _named_choice(answered.text, request.choices)
        if chosen is None:
            return Response.failed(
                f"the answer names none of the choices: {answered.text[:100]!r}", answered.prompt_tokens
            )
        return Response(chosen, "choice", answered.prompt_tokens, answered.completion_tokens)

    def _answered(self, choice: Any, content: Any, usage: Any, prompt_tokens: int | None = None) -> Response:
        """A choice of a reply as a response. Raises `_Unusable` for an empty message, which may be another next time.

        An empty completion is what the model wrote, as with every other engine.
        """
        text, reason = self._masked(_text(content)), choice.get("finish_reason")
        given, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        read = given if prompt_tokens is None else prompt_tokens
        if reason in NO_ANSWER:
            return Response.failed(f"the server ended the answer with {reason!r}", read)
        if self._api == "chat" and not strip_thinking(text):
            if reason != "length":
                raise _Unusable(f"an empty answer (finish_reason {reason!r})")
            return Response.failed(f"no answer within {written} tokens; raise max_new_tokens", read)
        return Response(text, "length" if reason == "length" else "stop", read, written)

    async def _complete(self, client: "AsyncOpenAI", job: Job) -> Response:
        request = job.request
        if not job.choice_ids:
            arguments = self._shared_arguments(request)
            extra = {"top_k": request.top_k, **NEUTRAL, **self._extra_body}
            arguments |= {"prompt": job.prompt_ids, "extra_body": extra}
            if schema_format := arguments.pop("response_format", None):
                # vLLM takes the one and llama.cpp the other; neither knows the other's.
                extra |= {"response_format": schema_format, "json_schema": request.json_schema}
            reply = await self._create(client.completions.with_raw_response.create, **arguments)
            choice = _first(reply)
            if (text := choice.get("text")) is None:
                raise _Unusable(f"no text in {choice}")
            return self._answered(choice, text, reply.get("usage"), len(job.prompt_ids))
        logprobs = {}
        for beginning, tokens in branches(job).items():
            logprobs[beginning] = await self._next(client, job.prompt_ids + list(beginning), tokens)
            if not set(tokens) <= logprobs[beginning].keys():
                return Response.failed(
                    "the server gives no log-probabilities of tokens by their ids, as vLLM's and llama.cpp's do; use "
                    "teacher.api: chat",
                    len(job.prompt_ids),
                )
        return response(job, logprobs)

    async def _next(self, client: "AsyncOpenAI", ids: list[int], tokens: list[int]) -> dict[int, Any]:
        """Log-probabilities after `ids`, of all `tokens` where the server can tell."""
        found: dict[int, Any] = {}
        for shown in (SHOWN, ALL):
            # vLLM shows the tokens that it is asked for, llama.cpp the likeliest `n_probs`.
            wanted = {"logprob_token_ids": tokens, "return_tokens_as_token_ids": True, "n_probs": shown}
            arguments = {"model": self._model, "prompt": ids, "max_tokens": 1, "temperature": 0.0}
            extra = {**wanted, **NEUTRAL, **self._extra_body}
            reply = await self._create(
                client.completions.with_raw_response.create, **arguments, logprobs=len(tokens), extra_body=extra
            )
            found = _shown_logprobs(_first(reply).get("logprobs"))
            if not found or set(tokens) <= found.keys():
                break
        return found


async def _settle(client: "AsyncOpenAI", cancelled: list[asyncio.Task]) -> None:
    await asyncio.gather(*cancelled, return_exceptions=True)
    await client.close()


def _key(variable: str) -> str:
    """The key in the environment. Raises `SentiDistillError` where it cannot be one, without showing it."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SentiDistillError(f"the environment variable {variable} holds no key: it has characters beyond ASCII")
    return key


def _field(value: Any, name: str) -> Any:
    """The field of an object; None where there is neither."""
    return value.get(name) if isinstance(value, dict) else None


def _first(reply: Any) -> dict[str, Any]:
    """The first choice of a reply. Raises `_Unusable` where the server sent something else."""
    choices = _field(reply, "choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _Unusable(f"no answer in {reply}")
    return choices[0]


def _text(content: Any) -> str:
    """The text of a message, which is a string or a list of parts. Raises `_Unusable` for anything else."""
    if isinstance(content, list):
        parts: list[Any] = [one.get("text") for one in content if isinstance(one, dict) and one.get("type") == "text"]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else content
    if content is not None and not isinstance(content, str):
        raise _Unusable(f"an answer that is no text: {content}")
    return content or ""


def _count(usage: Any, name: str) -> int:
    """A number of tokens; 0 where the server says nothing of the kind."""
    value = _field(usage, name)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def _without_schema(arguments: dict[str, Any]) -> dict[str, Any]:
    extra = arguments.get("extra_body")
    plain = {name: value for name, value in arguments.items() if name != "response_format"}
    if extra:
        plain["extra_body"] = {n: value for n, value in extra.items() if n not in ("response_format", "json_schema")}
    return plain


def _shown_logprobs(given: Any) -> dict[int, Any]:
    """Log-probability by token id of the tokens that a server shows in place of the one it wrote.

    Raises `_Unusable` where they have neither of the forms that are known; the values are checked later.
    """
    try:
        if given and (top := given.get("top_logprobs")):  # vLLM: {"token_id:5": -0.1}
            shown = top[0].items()
            return {int(name.removeprefix("token_id:")): value for name, value in shown if name.startswith("token_id:")}
        if given and (content := given.get("content")):  # llama.cpp: [{"id": 5, "logprob": -0.1}]
            return {one["id"]: one["logprob"] for one in content[0]["top_logprobs"]}
    except (AttributeError, LookupError, TypeError, ValueError):
        raise _Unusable(f"log-probabilities of no known form: {given}") from None
    return {}


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _named_choice(text: str, choices: Sequence[str]) -> str | None:
    """The choice that `text` gives, as JSON or, where a server knows no schemas, as plain text."""
    value, _ = parse_json(text)
    while isinstance(value, dict | list) and value:
        value = value[0] if isinstance(value, list) else value.get("answer", next(iter(value.values())))
    return parse_label(text if value is None else str(value), choices)


def _spent(error: Exception) -> bool:
    """Whether the account has no money left."""
    return getattr(error, "code", None) == "insufficient_quota" or getattr(error, "status_code", None) == 402


def _worth_retrying(error: BaseException) -> bool:
    """Whether the same request may well be answered later."""
    import openai

    if isinstance(error, openai.RateLimitError):
        return not _spent(error)
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code in (408, 409, 425)
    return isinstance(error, openai.APIError | _Unusable | ValueError)


def _asked_to_wait(error: BaseException | None) -> float:
    """Seconds that the server asks to wait, by its Retry-After header, a number or a date; ten minutes at most."""
    response = getattr(error, "response", None)
    asked = response.headers.get("retry-after", "") if response is not None else ""
    try:
        seconds = float(asked)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(asked).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    seconds = min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else 0.0
    if seconds > 5:
        LOG.warning("the server asks to wait %.0f seconds", seconds)
    return seconds
