"""An OpenAI-compatible server on loopback whose answers follow from the requests alone, and which can misbehave."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What a handler may do in place of answering: (status, headers, body), or None to hang up without a word. A body may
# come in parts.
Misbehaviour = tuple[int, dict[str, str], bytes | Iterator[bytes]] | None
# (path, body of the call) to the body of the answer.
Answer = Callable[[str, dict], dict]


class LocalServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        misbehave: Callable[[dict, int], Any] | None = None,
        seconds: float = 0.0,
        answer: Answer | None = None,
        port: int = 0,
    ):
        """`misbehave` gets the body of a call and how often it was made before; "answer" lets it be answered."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.misbehave, self.seconds = misbehave or (lambda body, before: "answer"), seconds
        self.answer = answer or numbered_answer
        self.calls: list[str] = []
        self.times: Counter[str] = Counter()
        self.keys: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def handle_error(self, request, client_address):
        """A client that hangs up is no fault of the server's."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        called = json.dumps([self.path, body], sort_keys=True)
        server: LocalServer = self.server
        with server.lock:
            before = server.times[called]
            server.times[called] += 1
            server.calls.append(called)
            server.keys.append(self.headers["Authorization"])
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            time.sleep(server.seconds)
            outcome = server.misbehave(body, before)
        finally:
            with server.lock:
                server.at_once -= 1
        if outcome is None:
            self.close_connection = True
            return
        if outcome == "answer":
            answer = json.dumps(server.answer(self.path, body)).encode()
            outcome = (200, {"Content-Type": "application/json"}, answer)
        status, headers, content = outcome
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for part in [content] if isinstance(content, bytes) else content:
            self.wfile.write(part)
        self.close_connection = "Content-Length" in headers


def number(*parts: Any) -> int:
    """A random number that follows from `parts`."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:4])


def _from_schema(schema: dict[str, Any], seed: Any) -> Any:
    """A value that obeys `schema`, as far as the tests' schemas go."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "enum" in schema:
        return schema["enum"][number(seed) % len(schema["enum"])]
    if schema["type"] == "object":
        return {key: _from_schema(value, [seed, key]) for key, value in schema["properties"].items()}
    return f"value {number(seed) % 100}"


def _text(body: dict, prompt: Any) -> str:
    if "response_format" in body:
        return json.dumps(_from_schema(body["response_format"]["json_schema"]["schema"], prompt))
    return f"answer {number(prompt, body.get('seed')) % 10_000} to the prompt."


def numbered_answer(path: str, body: dict) -> dict:
    """A text or a log-probability that means nothing."""
    if path.endswith("/chat/completions"):
        message = {"role": "assistant", "content": _text(body, body["messages"])}
        return reply({"message": message, "finish_reason": "stop"}, 7, 3)
    choice: dict[str, Any] = {"text": f" {_text(body, body['prompt'])}", "finish_reason": "stop"}
    if wanted := body.get("logprob_token_ids"):
        scores = {f"token_id:{token}": -(number(body["prompt"], token) % 1000) / 100 for token in wanted}
        choice["logprobs"] = {"top_logprobs": [scores], "tokens": [], "token_logprobs": [], "text_offset": []}
    return reply(choice, len(body["prompt"]), 4)


def reply(choice: dict, prompt_tokens: int, completion_tokens: int) -> dict:
    """The body of a server's answer with one choice."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": 0}
    kind = "chat.completion" if "message" in choice else "text_completion"
    choices = [{"index": 0, **choice}]
    return {"id": "1", "object": kind, "created": 0, "model": "local", "choices": choices, "usage": usage}


@contextmanager
def running(
    misbehave: Callable[[dict, int], Any] | None = None, seconds: float = 0.0, answer: Answer | None = None
) -> Iterator[LocalServer]:
    server = start(LocalServer(misbehave, seconds, answer))
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def start(server: LocalServer) -> LocalServer:
    """`server`, answering in a thread that ends with this process."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
