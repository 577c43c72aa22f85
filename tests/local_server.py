"""An OpenAI-compatible server on loopback whose answers follow from the prompts alone, and which can misbehave."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What a handler may do in place of answering: (status, headers, body), or None to hang up without a word.
Misbehaviour = tuple[int, dict[str, str], bytes] | None


class LocalServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, misbehave: Callable[[dict, int], Any] | None = None, seconds: float = 0.0):
        """`misbehave` gets the body of a call and how often it was made before; "answer" lets it be answered."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.misbehave, self.seconds = misbehave or (lambda body, before: "answer"), seconds
        self.calls: list[str] = []
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
            before = server.calls.count(called)
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
            answer = _chat(body) if self.path.endswith("/chat/completions") else _completion(body)
            outcome = (200, {"Content-Type": "application/json"}, json.dumps(answer).encode())
        status, headers, content = outcome
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = int(headers.get("Content-Length", 0)) > len(content)


def _number(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:4])


def _from_schema(schema: dict[str, Any], seed: Any) -> Any:
    """A value that obeys `schema`, as far as the tests' schemas go."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "enum" in schema:
        return schema["enum"][_number(seed) % len(schema["enum"])]
    if schema["type"] == "object":
        return {key: _from_schema(value, [seed, key]) for key, value in schema["properties"].items()}
    return f"value {_number(seed) % 100}"


def _text(body: dict, prompt: Any) -> str:
    if "response_format" in body:
        return json.dumps(_from_schema(body["response_format"]["json_schema"]["schema"], prompt))
    return f"answer {_number(prompt, body.get('seed')) % 10_000} to the prompt."


def _chat(body: dict) -> dict:
    message = {"role": "assistant", "content": _text(body, body["messages"])}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return _answer({"index": 0, "message": message, "finish_reason": "stop"}, "chat.completion", usage)


def _completion(body: dict) -> dict:
    choice: dict[str, Any] = {"index": 0, "text": f" {_text(body, body['prompt'])}", "finish_reason": "stop"}
    if wanted := body.get("logprob_token_ids"):
        scores = {f"token_id:{token}": -(_number(body["prompt"], token) % 1000) / 100 for token in wanted}
        choice["logprobs"] = {"top_logprobs": [scores], "tokens": [], "token_logprobs": [], "text_offset": []}
    usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 4, "total_tokens": 0}
    return _answer(choice, "text_completion", usage)


def _answer(choice: dict, kind: str, usage: dict) -> dict:
    return {"id": "1", "object": kind, "created": 0, "model": "local", "choices": [choice], "usage": usage}


@contextmanager
def running(misbehave: Callable[[dict, int], Any] | None = None, seconds: float = 0.0):
    server = LocalServer(misbehave, seconds)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
