"""Servers that answer with anything: an asking stage ends with a remedy, or goes through, and then goes on."""

import json
import random
import sys
from pathlib import Path
from typing import Any

from sentidistill import records
from tests.faults.tally import Started, Tally
from tests.local_server import running
from tests.project import ROOT, stored_answers
from tests.recorded import make_folder, write_texts
from tests.test_interrupts import TEXTS, answer

PART = "hostile servers"
SEED = 15
SERVERS = 40
JSON = {"Content-Type": "application/json"}
STAGE = [sys.executable, "-m", "stages.enumerate_attributes"]
STRANGE: tuple[Any, ...] = (
    None,
    3,
    1.5,
    float("nan"),
    True,
    "",
    "x",
    "\ud83d",
    "x" * 100_000,
    [],
    [None],
    {},
    {"a": {}},
)


def damaged_reply(body: dict, moments: random.Random) -> bytes:
    """A good answer with a value replaced by one of another kind, or cut."""
    reply = answer("", body)
    choice, message = reply["choices"][0], reply["choices"][0]["message"]
    holder = moments.choice((reply, choice, message, reply["usage"]))
    holder[moments.choice(sorted(holder))] = moments.choice(STRANGE)
    content = json.dumps(reply).encode()
    return content if moments.random() < 0.8 else content[: moments.randrange(len(content))]


def misbehaviour(moments: random.Random):
    """How one server behaves: how often it answers well, and what it does otherwise."""
    well = moments.choice((0.0, 0.5, 0.9))
    kinds = moments.sample(("status", "damaged", "hang up", "page", "redirect"), moments.randint(1, 5))

    def misbehave(body: dict, before: int) -> Any:
        if moments.random() < well:
            return "answer"
        kind = moments.choice(kinds)
        if kind == "hang up":
            return None
        if kind == "page":
            return 200, {"Content-Type": "text/html"}, b"<html>a proxy's page</html>"
        if kind == "redirect":
            return 307, {"Location": "http://127.0.0.1:9/v1"}, b""
        if kind == "status":
            return moments.choice((400, 401, 402, 404, 408, 413, 418, 429, 500, 502, 503)), JSON, b'{"error": "\xff'
        return 200, JSON, damaged_reply(body, moments)

    return misbehave


def made(folder: Path, url: str) -> Path:
    """The folder of the first asking stage, with the server at `url`."""

    def change(values: dict) -> None:
        values["prepare_models"]["teacher"] = {"source": "server", "model": "m"}
        values["collect_responses"]["calibrate"] = False
        values["runtime"]["engine"]["teacher"] = "openai"
        values["runtime"]["server"] |= {"base_url": url, "first_wait": 0.01, "max_wait": 0.02, "timeout": 5}
        values["teacher"]["api"] = "chat"

    folder = make_folder(folder, change)
    records.write_json(folder / "models/teacher/origin.json", {"source": "server", "model": "m"})
    write_texts(folder, TEXTS)
    return folder


def test_servers_that_misbehave_at_random(tmp_path, tally: Tally):
    for number in range(SERVERS):
        with running(misbehaviour(random.Random(SEED * 1000 + number)), answer=answer) as server:
            folder = made(tmp_path / str(number), server.url)
            started = Started(folder, STAGE, PYTHONPATH=str(ROOT))
            tally.ended(f"server {number}", started.end(), failed=started.process.returncode != 0)
            if not started.process.returncode:
                continue
            server.misbehave = lambda body, before: "answer"
            good = stored(folder)
            again = Started(folder, STAGE, PYTHONPATH=str(ROOT))
            tally.ended(f"server {number}, mended", again.end(), failed=again.process.returncode != 0)
            lost = [key for key, response in good.items() if stored(folder).get(key) != response]
            tally.add("files that differ", f"server {number}: {len(lost)} stored answers are gone", len(lost))
    tally.check()


def stored(folder: Path) -> dict[str, str]:
    """The answers in the cache that are no errors."""
    return {key: text for key, text in stored_answers(folder).items() if not json.loads(text).get("error")}
