"""Recorded answers: whoever has them needs no teacher, a change asks what is new, and files hold what was used."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sentidistill import config
from sentidistill.commands import record, spot_check
from sentidistill.errors import SentiDistillError
from sentidistill.inference.model import CachedTeacher
from sentidistill.inference.opening import cache_path
from sentidistill.inference.recordings import Recordings, write
from sentidistill.inference.requests import Reader, Request, Response
from sentidistill.inference.store import Cache
from sentidistill.prompts import Prompt
from stages import enumerate_attributes
from tests.recorded import ROOT, TEXTS, Scripted, answering, make_folder, outputs, write_texts

FILE = Path("recordings/default/enumerate_attributes.jsonl.gz")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("SENTIDISTILL_RECORDINGS", raising=False)
    monkeypatch.chdir(make_folder(tmp_path / "a"))
    return Path.cwd()


@pytest.fixture
def recorded(folder) -> Path:
    """The folder after a run and `make record`, without its cache and outputs."""
    with answering(Scripted()):
        enumerate_attributes.main()
    record.main()
    shutil.move(".cache", "../cache")
    shutil.copytree("data/calls", "../calls")
    return folder


def stage(*environment: tuple[str, str]) -> subprocess.CompletedProcess:
    """The stage as DVC runs it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "stages.enumerate_attributes"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **dict(environment)},
        capture_output=True,
        text=True,
    )


def rows(path: Path = FILE) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def test_a_stage_is_replayed_to_the_byte_where_no_teacher_is(recorded):
    expected = outputs()
    for name in expected:
        Path(name).unlink()
    result = stage()
    assert result.returncode == 0, result.stderr
    assert outputs() == expected
    assert "enumerate_attributes: 4/4, 0.0/s, 4 recorded, 0 cached, 0 failed" in result.stderr


def test_without_recordings_the_teacher_is_wanted(recorded):
    result = stage(("SENTIDISTILL_RECORDINGS", "off"))
    assert result.returncode == 1
    assert "nowhere.gguf: no such file" in result.stderr
    assert "Traceback" not in result.stderr
    result = stage(("SENTIDISTILL_RECORDINGS", "false"))
    assert "SENTIDISTILL_RECORDINGS is 'false'; set it to on or off" in result.stderr


def test_a_changed_text_is_asked_and_nothing_else(recorded):
    write_texts(recorded, (*TEXTS[1:], "Quite another text."))
    with answering(Scripted()) as engine:
        enumerate_attributes.main()
    assert engine.asked == ["Text: Quite another text."]


def test_a_changed_setting_asks_everything_anew(recorded):
    path = Path("params.yaml")
    values = config.load().enumerate_attributes.sampling.max_new_tokens
    path.write_text(path.read_text().replace(f"max_new_tokens: {values}\n", f"max_new_tokens: {values + 1}\n"))
    with answering(Scripted()) as engine:
        enumerate_attributes.main()
    assert len(engine.asked) == len(TEXTS)


def test_refreshing_ignores_what_is_recorded(recorded):
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("cache: read-write", "cache: refresh"))
    with answering(Scripted()) as engine:
        enumerate_attributes.main()
    assert len(engine.asked) == len(TEXTS)


def test_files_hold_the_answers_that_were_used_and_no_others(folder):
    with answering(Scripted(lambda request: "high" if request.attempt else "")):
        enumerate_attributes.main()
        write_texts(folder, TEXTS[:2])
        enumerate_attributes.main()
    record.main()
    assert sorted(row["response"]["text"] == "" for row in rows()) == [False, False, True, True], "both attempts"
    assert all(set(row) == {"key", "response"} for row in rows())


def test_a_file_is_the_same_bytes_from_the_run_and_from_a_replay(recorded):
    before = FILE.read_bytes()
    os.utime(FILE, (0, 0))
    record.main()
    assert FILE.stat().st_mtime == 0, "what is right already is not written again"
    FILE.rename("kept.gz")
    shutil.rmtree(".cache")
    shutil.move("../cache", ".cache")
    record.main()
    assert FILE.read_bytes() == before
    assert before[4:8] == bytes(4), "no time stands in it"


def test_a_stage_that_is_not_done_is_not_recorded(recorded, capsys):
    write_texts(recorded, (*TEXTS, "A new text."))
    before = FILE.read_bytes()
    record.main()
    said = capsys.readouterr().out
    assert "enumerate_attributes is not recorded: 1 of its answers are not there" in said
    assert "write_analysis_instructions is not recorded: its inputs are not there" in said
    assert FILE.read_bytes() == before
    with pytest.raises(SentiDistillError, match="enumerate_attributes cannot be recorded: 1 of its answers"):
        record.main("enumerate_attributes")


def test_an_experiment_keeps_only_what_is_recorded_nowhere_else(recorded):
    write_texts(recorded, (*TEXTS, "A new text."))
    with answering(Scripted()) as engine:
        enumerate_attributes.main()
    record.main("--name", "more")
    assert len(engine.asked) == len(rows(Path("recordings/more/enumerate_attributes.jsonl.gz"))) == 1
    shutil.rmtree(".cache")
    assert stage().returncode == 0


def test_a_stage_that_asks_nothing_any_more_loses_its_file(recorded):
    stale = FILE.with_name("select_perspectives.jsonl.gz")
    write(stale, {"00": Response("thing", "choice", 1, 0, (-1.0, -2.0))})
    record.main()
    assert not stale.exists()
    assert FILE.exists()


READER = Reader("m", "chat", 100)
QUESTION = Request(Prompt("Do.", "text"))


def asked(cache: Cache, recordings: dict | None = None, mode="read") -> CachedTeacher:
    return CachedTeacher(READER, Scripted, cache, mode, recordings)


def test_a_cached_answer_comes_before_a_recorded_one():
    cache, key = Cache(Path(":memory:")), asked(Cache(Path(":memory:"))).key(QUESTION)
    recordings = {key: Response("recorded", "stop", 1, 1)}
    model = asked(cache, recordings)
    assert model.generate([QUESTION])[0].text == "recorded"
    assert list(cache.entries()) == [], "a recorded answer stays where it is"
    cache.put("m", {key: Response("cached", "stop", 1, 1)})
    assert model.generate([QUESTION])[0].text == "cached"
    assert (model.recorded, model.cached, model.asked) == (1, 1, 0)


def test_a_recorded_error_is_asked_again_unless_the_prompt_is_still_too_long():
    key = asked(Cache(Path(":memory:"))).key(QUESTION)
    for error, tokens, paid in (("the server was busy", 10, 1), ("too long", 101, 0)):
        model = asked(Cache(Path(":memory:")), {key: Response.failed(error, tokens)}, "read-write")
        model.generate([QUESTION])
        assert (model.asked, model.recorded) == (paid, 1 - paid)
        assert asked(Cache(Path(":memory:")), {key: Response.failed(error, tokens)}).generate([QUESTION])[0].error


def test_of_two_folders_the_default_runs_answer_counts(tmp_path):
    for name in ("a", "default", "z"):
        write(tmp_path / name / "s.jsonl.gz", {"k": Response(name, "stop", 1, 1), name: Response("own", "stop", 1, 1)})
    found = Recordings(tmp_path)
    assert [found.get(key).text for key in ("k", "a", "default", "z")] == ["default", "own", "own", "own"]
    assert found.get("unknown") is None


GOOD = json.dumps({"key": "k", "response": json.loads(Response("x", "stop", 1, 1).to_json())})
NUMBER = GOOD.replace('"x"', "3")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (gzip.compress(f"{GOOD}\n{GOOD}\n".encode())[:-12], r"\d"),
        (gzip.compress(f"{GOOD}\n{GOOD[:-3]}\n".encode()), 2),
        (gzip.compress(f"{NUMBER}\n{GOOD}\n".encode()), 1),
        (gzip.compress(f"{GOOD}\n[]\n".encode()), 2),
        (gzip.compress(f"{GOOD}\n".encode() + b'{"key": "\xff"}\n'), 1),
        (b"no gzip", 1),
    ],
    ids=["torn", "half a line", "a number for a text", "no row", "no UTF-8", "no gzip"],
)
def test_a_damaged_file_is_named_with_its_line_and_the_remedy(tmp_path, content, line):
    path = tmp_path / "default/stage.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SentiDistillError, match=rf"stage\.jsonl\.gz, line {line}: damaged .*git checkout"):
        Recordings(tmp_path).get("k")


def test_recorded_answers_of_another_version_are_asked_again(tmp_path):
    path = tmp_path / "default/stage.jsonl.gz"
    path.parent.mkdir()
    other = {"key": "l", "response": {"version": 0, "words": "of another time"}}
    path.write_bytes(gzip.compress(f"{GOOD}\n{json.dumps(other)}\n".encode()))
    found = Recordings(tmp_path)
    assert (found.get("k").text, found.get("l")) == ("x", None)


def checked(engine: Scripted, seed: int = 7) -> list[spot_check.Again]:
    with answering(engine):
        return spot_check.spot_check(config.load(), Path.cwd(), Recordings(), lambda: engine, seed)


def test_a_spot_check_asks_recorded_requests_again_and_says_what_became_of_them(recorded, capsys):
    same = checked(Scripted())
    assert len(same) == len(TEXTS)
    spot_check.show(same)
    assert (
        "texts: 4 of 4 are equal; of 4 that a stage checks, 4 pass now and 4 did as recorded" in capsys.readouterr().out
    )
    other = checked(Scripted(lambda request: "" if "day" in request.prompt.input else "low"))
    spot_check.show(other)
    assert "texts: 0 of 4 are equal; of 4 that a stage checks, 3 pass now and 4 did" in capsys.readouterr().out


def test_a_spot_check_draws_by_its_seed(folder):
    write_texts(folder, tuple(f"Text number {number}." for number in range(30)))
    with answering(Scripted()):
        enumerate_attributes.main()
    record.main()
    drawn = [[one.request.prompt.input for one in checked(Scripted(), seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 10


def again(recorded: str, now: str) -> spot_check.Again:
    request = Request(Prompt("Do.", "text"), choices=("a", "b"))
    answers = [Response(text, "choice", 1, 0, (-0.1, -2.0)) for text in (recorded, now)]
    return spot_check.Again("stage", request, *answers, None, None)


def test_a_spot_check_fails_where_more_than_one_label_in_ten_differs(capsys):
    spot_check.show([again("a", "a")] * 9 + [again("a", "b")])
    assert "labels: 9 of 10 are the same" in capsys.readouterr().out
    with pytest.raises(SentiDistillError, match="only 8 of 10 labels"):
        spot_check.show([again("a", "a")] * 8 + [again("a", "b")] * 2)


def test_a_spot_check_without_recordings_says_so(folder):
    with pytest.raises(SentiDistillError, match="no recorded answer"):
        checked(Scripted())


def test_the_cache_of_a_replay_stays_empty(recorded):
    assert stage().returncode == 0
    assert list(Cache(cache_path(Path(".cache"))).entries()) == []
