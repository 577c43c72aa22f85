"""The cache: what was answered is never lost and never asked twice, whatever happens to the process."""

import contextlib
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from sentidistill.commands.cache import export, import_, stats, verify
from sentidistill.errors import SentiDistillError
from sentidistill.inference import store
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.requests import Reader, Request, Response
from sentidistill.inference.store import Cache, Entry, Rate, _digest
from sentidistill.prompts import Prompt
from tests import mutations

ROOT = Path(__file__).resolve().parent.parent
READER = Reader("model", "chat", max_prompt_tokens=100)


class CountingEngine:
    """Answers with the prompt's input, `size` at a time, dies when told to, and counts what it was paid for."""

    def __init__(self, size: int = 4, die_at: int | None = None, bad: str = ""):
        self.paid, self.size, self.die_at, self.bad = [], size, die_at, bad

    def stream(self, jobs):
        for start in range(0, len(jobs), self.size):
            if self.die_at is not None and len(self.paid) >= self.die_at:
                raise KeyboardInterrupt
            batch = [job.request.prompt.input for job in jobs[start : start + self.size]]
            self.paid += batch
            yield [
                (start + i, Response.failed("bad luck") if text == self.bad else Response(text.upper(), "stop", 1, 1))
                for i, text in enumerate(batch)
            ]


def numbered(n: int) -> list[Request]:
    return [Request(Prompt("Do.", f"text {i:03d}")) for i in range(n)]


def teacher(engine, path: Path, mode="read-write") -> CachedTeacher:
    return CachedTeacher(READER, lambda: engine, Cache(path), mode)


def test_an_interrupted_run_keeps_what_was_answered_and_goes_on_there(tmp_path):
    requests = numbered(25)
    dying, second = CountingEngine(die_at=12), CountingEngine()
    with pytest.raises(KeyboardInterrupt):
        teacher(dying, tmp_path / "c").generate(requests)
    answers = teacher(second, tmp_path / "c").generate(requests)
    assert [answer.text for answer in answers] == [request.prompt.input.upper() for request in requests]
    assert len(dying.paid) == 12
    assert sorted(dying.paid + second.paid) == [request.prompt.input for request in requests]


def test_equal_requests_are_paid_for_once_and_answered_each(tmp_path):
    engine = CountingEngine()
    cached = teacher(engine, tmp_path / "c")
    answers = cached.generate(numbered(3) * 2)
    assert len(answers) == 6
    assert len(engine.paid) == 3
    assert cached.generate(numbered(3)) == answers[:3]
    assert len(engine.paid) == 3


def test_a_run_with_all_answers_stored_opens_no_engine(tmp_path):
    expected = teacher(CountingEngine(), tmp_path / "c").generate(numbered(3))

    def open_engine():
        raise AssertionError("the model was loaded for nothing")

    for mode in ("read-write", "read"):
        assert CachedTeacher(READER, open_engine, Cache(tmp_path / "c"), mode).generate(numbered(3)) == expected


def test_errors_are_stored_with_their_reason_and_asked_again(tmp_path):
    failed = teacher(CountingEngine(bad="text 001"), tmp_path / "c").generate(numbered(3))
    assert [answer.error for answer in failed] == [None, "bad luck", None]
    assert teacher(None, tmp_path / "c", "read").generate(numbered(3)) == failed
    engine = CountingEngine()
    assert [a.text for a in teacher(engine, tmp_path / "c").generate(numbered(3))][1] == "TEXT 001"
    assert engine.paid == ["text 001"]
    assert teacher(None, tmp_path / "c", "read").generate(numbered(3))[1].error is None


def test_reading_only_ends_where_an_answer_is_missing(tmp_path):
    teacher(CountingEngine(), tmp_path / "c").generate(numbered(3))
    with pytest.raises(SentiDistillError, match="2 of 5 answers"):
        teacher(None, tmp_path / "c", "read").generate(numbered(5))


def test_refreshing_asks_everything_again_and_replaces_it(tmp_path):
    class Later(CountingEngine):
        def stream(self, jobs):
            yield [(place, Response("later", "stop", 1, 1)) for place in range(len(jobs))]

    teacher(CountingEngine(), tmp_path / "c").generate(numbered(3))
    assert {a.text for a in teacher(Later(), tmp_path / "c", "refresh").generate(numbered(3))} == {"later"}
    assert {a.text for a in teacher(None, tmp_path / "c", "read").generate(numbered(3))} == {"later"}


def test_an_answer_that_is_there_is_not_overwritten(tmp_path):
    """Two runs at once ask the same thing: both go on with the answer that was stored first."""
    path = tmp_path / "c"

    class Overtaken(CountingEngine):
        def stream(self, jobs):
            teacher(CountingEngine(), path).generate([job.request for job in jobs])
            yield [(place, Response("second", "stop", 1, 1)) for place in range(len(jobs))]

    assert [a.text for a in teacher(Overtaken(), path).generate(numbered(2))] == ["TEXT 000", "TEXT 001"]


WRITER = """
import sys
from pathlib import Path
from sentidistill.inference.requests import Response
from sentidistill.inference.store import Cache
cache = Cache(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    cache.put("m", {f"{sys.argv[2]} {number} {i}": Response("x" * 500, "stop", 1, 1) for i in range(10)})
    print(number, flush=True)
"""


def start_writer(path: Path, name: str, chunks: int) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(path), name, str(chunks)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_had_stored(tmp_path):
    path, stored = tmp_path / "c", []
    moments = random.Random(0)
    for attempt in range(5):
        writer = start_writer(path, f"w{attempt}", 10**6)
        assert writer.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.05, 0.4))
        writer.send_signal(signal.SIGKILL)
        done = [int(line) for line in writer.stdout.read().split("\n")[:-1] if line.isdigit()]
        writer.wait()
        stored += [f"w{attempt} {number} {i}" for number in done for i in range(10)]
    cache = Cache(path)
    cache.check()
    assert len(stored) > 100
    assert all(cache.get(key).text == "x" * 500 for key in stored)
    chunks = {}
    for entry in cache.entries():
        entry.parsed()
        chunks.setdefault(entry.key.rsplit(" ", 1)[0], []).append(entry.key)
    assert {len(keys) for keys in chunks.values()} == {10}, "a chunk is stored whole or not at all"


def test_two_writers_at_once_both_store_everything(tmp_path):
    writers = [start_writer(tmp_path / "c", name, 60) for name in ("a", "b")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert len(list(Cache(tmp_path / "c").entries())) == 2 * 60 * 10


def test_a_full_disk_ends_with_one_clear_error_and_what_was_stored_is_safe(tmp_path):
    cache = Cache(tmp_path / "c")
    cache.put("m", {"first": Response("kept", "stop", 1, 1)})
    # SQLite's own limit raises what a full disk raises.
    cache._database.execute("PRAGMA max_page_count = 20")
    with pytest.raises(SentiDistillError, match="full"):
        cache.put("m", {f"key {i}": Response("x" * 1000, "stop", 1, 1) for i in range(200)})
    assert [entry.key for entry in Cache(tmp_path / "c").entries()] == ["first"]
    assert Cache(tmp_path / "c").get("first").text == "kept"


def test_a_file_that_is_no_cache_is_named(tmp_path):
    path = tmp_path / "responses.sqlite"
    path.write_text("not a database, but long enough to be looked at" * 10)
    with pytest.raises(SentiDistillError, match=r"responses\.sqlite"):
        Cache(path)


def command(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    result = subprocess.run(
        [sys.executable, "-m", "sentidistill.commands.cache", *arguments],
        cwd=ROOT,
        env={**os.environ, "DVC_ROOT": str(folder)},
        capture_output=True,
        text=True,
    )
    assert not check or result.returncode == 0, result.stderr
    return result


@pytest.fixture
def filled(tmp_path) -> Path:
    """A folder whose cache holds three answers, one of them an error."""
    path = tmp_path / "a/.cache/generations/responses.sqlite"
    teacher(CountingEngine(bad="text 001"), path).generate(numbered(3))
    return tmp_path / "a"


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.jsonl.gz"])
def test_exported_answers_replay_the_run_elsewhere(filled, tmp_path, name):
    command(filled, "export", str(tmp_path / name))
    command(tmp_path / "b", "import", str(tmp_path / name))
    there = tmp_path / "b/.cache/generations/responses.sqlite"
    here = filled / ".cache/generations/responses.sqlite"
    assert teacher(None, there, "read").generate(numbered(3)) == teacher(None, here, "read").generate(numbered(3))
    command(tmp_path / "b", "export", str(tmp_path / f"again-{name}"))
    read = [json.loads(line) for line in _lines(tmp_path / name)]
    assert read == [json.loads(line) for line in _lines(tmp_path / f"again-{name}")]


def test_an_export_of_nothing_or_onto_the_store_writes_over_nothing(filled, tmp_path):
    out, store = tmp_path / "answers.jsonl", filled / ".cache/generations/responses.sqlite"
    command(filled, "export", str(out))
    before = out.read_bytes()
    refused = command(filled, "export", str(out), "--model", "student", check=False)
    assert "no answers of a model 'student'; known are " in refused.stderr
    assert out.read_bytes() == before
    for path in (store, tmp_path):
        assert "is a folder, or the store itself" in command(filled, "export", str(path), check=False).stderr
    assert "3" in command(filled, "stats").stdout


def _lines(path: Path) -> list[str]:
    import gzip

    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode().splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        "[]",
        "3",
        '{"key": 1, "model": "m", "response": "r", "digest": "d"}',
        '{"key": "\\ud83d"}',
        "\xff",
    ],
    ids=["nested", "a list", "a number", "a key that is a number", "parts missing", "no UTF-8"],
)
def test_a_line_that_is_no_answer_is_refused_and_named(filled, tmp_path, line):
    command(filled, "export", str(tmp_path / "answers.jsonl"))
    with (tmp_path / "answers.jsonl").open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    with pytest.raises(SentiDistillError, match=r"answers\.jsonl, line 4"):
        import_(cache := Cache(tmp_path / "b"), tmp_path / "answers.jsonl")
    assert list(cache.entries()) == []


def test_a_damaged_gzip_file_is_refused(filled, tmp_path):
    path = tmp_path / "answers.jsonl.gz"
    with closing(Cache(filled / ".cache/generations/responses.sqlite")) as cache:
        export(cache, path, None)
        with pytest.raises(SentiDistillError, match="nothing was written"):
            export(cache, tmp_path / "no folder" / "a.jsonl", None)
    content = path.read_bytes()
    for place in range(12, len(content), 9):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        with closing(Cache(Path(":memory:"))) as cache:
            with contextlib.suppress(SentiDistillError):
                import_(cache, path)
            assert len(list(cache.entries())) in (0, 3)


@pytest.mark.parametrize("damage", ["torn", "changed"])
def test_a_damaged_export_is_refused_as_a_whole(filled, tmp_path, damage):
    path = tmp_path / "answers.jsonl"
    command(filled, "export", str(path))
    text = path.read_text()
    path.write_text(text[:-40] if damage == "torn" else text.replace("TEXT 002", "TEXT 999"))
    result = command(tmp_path / "b", "import", str(path), check=False)
    assert result.returncode == 1
    assert "answers.jsonl, line " in result.stderr
    assert "Traceback" not in result.stderr
    assert list(Cache(tmp_path / "b/.cache/generations/responses.sqlite").entries()) == []


def test_stats_count_answers_errors_and_tokens(filled):
    (filled / "models/notes").mkdir(parents=True)  # no model of ours
    lines = command(filled, "stats").stdout.splitlines()
    (row,) = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│ model ")]
    assert row == ["model", "", "3", "0", "1", "2", "2"]


def damage(path: Path, response: str, digest: bool = False) -> str:
    """Put `response` in the place of the first stored one, with a digest that fits if `digest`; returns its key."""
    cache = Cache(path)
    first = next(cache.entries())
    fitting = _digest(first.key, first.model, response) if digest else first.digest
    with cache._database:
        cache._database.execute(
            "UPDATE answers SET response = ?, digest = ? WHERE key = ?", (response, fitting, first.key)
        )
    return first.key


def test_verify_finds_a_changed_answer_and_drops_it_on_demand(filled):
    path = filled / ".cache/generations/responses.sqlite"
    assert "3 answers are as they were stored" in command(filled, "verify").stdout
    key = damage(path, '{"text": "x"}')
    found = command(filled, "verify", check=False)
    assert found.returncode == 1
    assert key in found.stdout
    command(filled, "verify", "--drop")
    assert Cache(path).get(key) is None
    assert len(list(Cache(path).entries())) == 2


def test_statistics_count_a_damaged_answer_and_an_export_names_it(filled, tmp_path):
    key = damage(filled / ".cache/generations/responses.sqlite", '{"text": "x"}')
    lines = command(filled, "stats").stdout.splitlines()
    (row,) = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│ model ")]
    assert row[2:4] == ["3", "1"]
    result = command(filled, "export", str(tmp_path / "answers.jsonl"), check=False)
    assert result.returncode == 1
    assert key in result.stderr
    assert "verify --drop" in result.stderr
    assert not (tmp_path / "answers.jsonl").exists()


GOOD = {"version": 1, "text": "x", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
UNUSABLE = {
    "not a response": "[1]",
    "another version": json.dumps({**GOOD, "version": 2}),
    "a missing field": json.dumps({key: value for key, value in GOOD.items() if key != "text"}),
    "a number for a text": json.dumps({**GOOD, "text": 3}),
    "half a token": json.dumps({**GOOD, "completion_tokens": 0.5}),
    "a score that is none": json.dumps({**GOOD, "choice_logprobs": [float("nan")]}),
    "a score above 0": json.dumps({**GOOD, "choice_logprobs": [5.0]}),
    "a score that is a text": json.dumps({**GOOD, "choice_logprobs": ["-1.5"]}),
    "nested by the thousand": "[" * 100_000,
    "an unknown field": json.dumps({**GOOD, "logits": []}),
    "an error without a reason": json.dumps({**GOOD, "finish_reason": "error"}),
}


@pytest.mark.parametrize("response", UNUSABLE.values(), ids=UNUSABLE)
def test_a_stored_answer_that_cannot_be_read_is_asked_again_and_counted(tmp_path, caplog, response):
    path = tmp_path / "c"
    teacher(CountingEngine(), path).generate(numbered(1))
    damage(path, response, digest=True)
    with pytest.raises(SentiDistillError, match="1 of 1 answers, 1 of them as they are damaged"):
        teacher(None, path, "read").generate(numbered(1))
    engine = CountingEngine()
    asking = teacher(engine, path)
    assert [answer.text for answer in asking.generate(numbered(1))] == ["TEXT 000"]
    assert (engine.paid, asking.asked, asking.damaged) == (["text 000"], 1, 1)
    assert "1 stored answers are damaged or of another version, and asked again" in caplog.text
    assert teacher(None, path, "read").generate(numbered(1))[0].text == "TEXT 000"


def test_flipped_bits_in_the_file_are_found_and_asked_again(tmp_path):
    """Bytes that are no UTF-8 must not keep SQLite from giving the row."""
    path = tmp_path / "c"
    teacher(CountingEngine(), path).generate(numbered(3))
    path.write_bytes(path.read_bytes().replace(b"TEXT 001", b"TEXT \xff01"))
    engine = CountingEngine()
    assert [answer.text for answer in teacher(engine, path).generate(numbered(3))][1] == "TEXT 001"
    assert engine.paid == ["text 001"]


FLIPS = mutations.NUMBER // 4


def test_one_flipped_bit_anywhere_gives_no_other_answer_and_no_traceback(tmp_path):
    """Half of the bits in the first page, which holds the tables; after `verify --drop`, all can be stored again."""
    texts = [f"answer {number} " + "long " * (number % 3 * 800) for number in range(40)]
    stored = {hashlib.sha256(text.encode()).hexdigest(): Response(text, "stop", 1, 1) for text in texts}
    stored |= {"e" * 64: Response.failed("bad luck")}
    with closing(Cache(tmp_path / "whole")) as cache:
        cache.put("m", stored)
        cache.set_rate("m", "labels", Rate(1, 2, 3, 4.0))
    remedies: set[bool] = set()
    content, draw, path = (tmp_path / "whole").read_bytes(), random.Random(0), tmp_path / "flipped"
    for number in range(FLIPS):
        place, flipped = draw.randrange(4096 if number % 2 else len(content)), bytearray(content)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        whole = set()
        try:
            with closing(Cache(path)) as cache:
                for key, response in stored.items():
                    with contextlib.suppress(ValueError):
                        if (found := cache.get(key)) is not None:
                            assert found == response, (number, place)
                            whole.add(key)
                cache.rates("m")
                stats(cache)
        except SentiDistillError as error:
            remedies.add("verify --drop" in str(error))
        with contextlib.suppress(SentiDistillError):
            verify(path, False)
        verify(path, True)
        verify(path, False)
        with closing(Cache(path)) as cache:
            assert {key for key in stored if cache.get(key) is not None} >= whole
            cache.put("m", stored)
            assert all(cache.get(key) == response for key, response in stored.items())
    assert remedies <= {True}


def test_a_damaged_file_keeps_what_is_whole_and_is_set_aside(filled):
    path = filled / ".cache/generations/responses.sqlite"
    many = {f"{number:064x}"[::-1]: Response("x" * 900, "stop", 1, 1) for number in range(300)}
    with closing(Cache(path)) as cache:
        cache.put("m", many)
    content = bytearray(path.read_bytes())
    leaves = [start for start in range(4096, len(content), 4096) if content[start] == 10]
    content[leaves[3] : leaves[3] + 4096] = bytes(4096)
    path.write_bytes(content)
    found = command(filled, "verify", check=False)
    assert found.returncode == 1
    assert "verify --drop" in found.stderr
    command(filled, "verify", "--drop")
    assert "answers are as they were stored" in command(filled, "verify").stdout
    assert 250 < len(list(Cache(path).entries())) < 303
    assert path.with_name("responses.sqlite.damaged").read_bytes() == content


@pytest.mark.parametrize("length", [200, 900])  # the longer ones go on in other pages
def test_of_a_file_that_was_cut_off_most_is_kept_and_no_damaged_file_is_lost(length, tmp_path):
    path = tmp_path / "c"
    many = {hashlib.sha256(b"%d" % number).hexdigest(): Response("x" * length, "stop", 1, 1) for number in range(300)}
    with closing(Cache(path)) as cache:
        cache.put("m", many)
    whole = path.read_bytes()
    for share, least, aside in ((0.9, 240, "c.damaged"), (0.6, 60, "c.damaged1"), (0.1, 0, "c.damaged2")):
        cut = whole[: int(len(whole) * share)]
        path.write_bytes(cut)
        with pytest.raises(SentiDistillError, match="verify --drop"):
            verify(path, False)
        verify(path, True)
        verify(path, False)
        with closing(Cache(path)) as cache:
            kept = list(cache.entries())
        assert all(entry.parsed() == many[entry.key] for entry in kept)
        assert len(kept) >= least
        assert (tmp_path / aside).read_bytes().startswith(cut)
    assert (tmp_path / "c.damaged").read_bytes().startswith(whole[: int(len(whole) * 0.9)]), "not written over"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_store_with_a_column_more_takes_answers(filled, tmp_path):
    path = filled / ".cache/generations/responses.sqlite"
    other = tmp_path / "other"
    with closing(Cache(path)) as cache:
        export(cache, tmp_path / "answers.jsonl", None)
    Cache(other).close()
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("ALTER TABLE answers ADD COLUMN note TEXT")
    with closing(Cache(other)) as cache:
        import_(cache, tmp_path / "answers.jsonl")
        cache.put("m", {"k": Response("x", "stop", 1, 1)})
        assert len(list(cache.entries())) == 4
        assert cache.get("k").text == "x"


def test_every_kind_of_error_has_its_own_remedy(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other")) as other, other:
        other.execute("CREATE TABLE answers (key TEXT, said TEXT)")
    with pytest.raises(SentiDistillError, match="not those of this version"):
        Cache(tmp_path / "other")
    Cache(tmp_path / "c").close()
    with closing(sqlite3.connect(tmp_path / "c")) as busy, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "WAIT_SECONDS", 0.01)
        cache = Cache(tmp_path / "c")
        busy.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SentiDistillError, match="Wait for the other run"):
            cache.put("m", {"k": Response("x", "stop", 1, 1)})
    (tmp_path / "file").write_text("")
    with pytest.raises(SentiDistillError, match=str(tmp_path / "file")):
        Cache(tmp_path / "file" / "c")


@pytest.mark.parametrize(
    "change",
    [{"finish_reason": "stop", "choice_logprobs": []}, {"text": "other"}, {"choice_logprobs": [-1.0]}],
    ids=["no choice", "none of the choices", "too few scores"],
)
def test_a_stored_answer_to_another_kind_of_question_is_asked_again(tmp_path, change):
    class Chooses:
        def stream(self, jobs):
            yield [(place, Response("a", "choice", 1, 0, (-0.5, -1.5))) for place in range(len(jobs))]

    request = Request(Prompt("Choose.", "text"), choices=("a", "b"))
    (right,) = teacher(Chooses(), tmp_path / "c").generate([request])
    values = {"version": 1, "text": "a", "finish_reason": "choice", "prompt_tokens": 1, "completion_tokens": 0}
    damage(tmp_path / "c", json.dumps({**values, "choice_logprobs": [-0.5, -1.5], **change}), digest=True)
    asking = teacher(Chooses(), tmp_path / "c")
    assert asking.generate([request]) == [right]
    assert asking.damaged == 1


def test_a_surrogate_pair_in_an_answer_is_joined_and_a_half_is_replaced(tmp_path):
    class Halves:
        def stream(self, jobs):
            yield [(0, Response("\ud83d\ude00 and \ud83d", "stop", 1, 1))]

    (found,) = teacher(Halves(), tmp_path / "c").generate(numbered(1))
    assert found.text == "😀 and \ufffd"
    assert teacher(None, tmp_path / "c", "read").generate(numbered(1)) == [found]


UNUSABLE_ANSWERS = [
    Response("x", "stop", 1, 1, (float("nan"),)),
    Response("x", "stop", 1, 1, ("-1.5",)),
    Response("x", "stop", 1, 1, (5.0,)),
    Response("x", "choice", 1, 0, (-1.0,)),
    Response("x", "stop", 10**30, 1),
    Response(None, "stop", 1, 1),
]


@pytest.mark.parametrize("response", UNUSABLE_ANSWERS)
def test_what_an_engine_gives_is_checked_before_it_is_stored(tmp_path, response):
    class Careless:
        def stream(self, jobs):
            yield [(0, response)]

    (answer,) = teacher(Careless(), tmp_path / "c").generate(numbered(1))
    assert "no usable response" in answer.error
    assert teacher(None, tmp_path / "c", "read").generate(numbered(1)) == [answer]


def test_a_prompt_that_is_still_too_long_is_no_reason_to_open_the_model(tmp_path):
    class TooLong:
        def stream(self, jobs):
            yield [(0, Response.failed("too long", prompt_tokens=101))]

    teacher(TooLong(), tmp_path / "c").generate(numbered(1))
    (again,) = teacher(None, tmp_path / "c").generate(numbered(1))
    assert "max_prompt_tokens is 100" in again.error
    wider = CachedTeacher(Reader("model", "chat", 200), CountingEngine, Cache(tmp_path / "c"))
    assert [answer.text for answer in wider.generate(numbered(1))] == ["TEXT 000"]


def test_an_entry_survives_its_own_text():
    response = Response('ünïcode \n \u2028 "quotes"', "choice", 5, 0, (-0.5, -1.25))
    assert Entry.of("k", "m", response).parsed() == response
