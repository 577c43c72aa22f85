"""Rows of JSONL files: what was written is what is read, whatever characters texts hold."""

import errno
import os
import sqlite3
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentidistill import records
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import sentibench
from tests.project import ROOT

# What `str.splitlines` takes for the end of a line.
SEPARATORS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


class Row(records.Record):
    text: str


@pytest.mark.parametrize("mark", SEPARATORS)
def test_a_separator_in_a_text_is_no_end_of_a_row(mark, tmp_path):
    rows = [Row(text=f"one{mark}two"), Row(text=mark), Row(text="three")]
    records.write_jsonl(tmp_path / "a.jsonl", rows)
    assert records.read_jsonl(tmp_path / "a.jsonl", Row) == rows
    assert [row["text"] for row in sentibench.read(tmp_path / "a.jsonl")] == [row.text for row in rows]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text()))
def test_rows_come_back_as_they_were(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    rows = [Row(text=text) for text in texts]
    records.write_jsonl(path, rows)
    assert records.read_jsonl(path, Row) == rows


def test_half_a_surrogate_pair_is_replaced_and_has_an_id(tmp_path):
    records.write_text(tmp_path / "a.txt", "so \ud83d good")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "so ? good"
    assert records.content_id("\ud83d") != records.content_id("\ud83e")


def test_a_bad_line_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\u2028b"}\n{"text": 3}\n', encoding="utf-8")
    with pytest.raises(SentiDistillError, match=r"a\.jsonl, line 2: not a Row"):
        records.read_jsonl(tmp_path / "a.jsonl", Row)
    (tmp_path / "b.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(SentiDistillError, match=r"b\.jsonl, line 1: not a Row \(Invalid JSON"):
        records.read_jsonl(tmp_path / "b.jsonl", Row)
    with pytest.raises(SentiDistillError, match=r"c\.jsonl: cannot be read"):
        records.read_jsonl(tmp_path / "c.jsonl", Row)


def test_many_rows_are_written_and_streamed_in_the_memory_of_a_few(tmp_path):
    path = tmp_path / "a.jsonl"
    tracemalloc.start()
    records.write_jsonl(path, (Row(text=f"{number} " + "word " * 200) for number in range(4000)))
    assert sum(int(row.text.split()[0]) for row in records.stream_jsonl(path, Row)) == sum(range(4000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 10


def test_what_fails_while_it_is_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.jsonl"
    records.write_jsonl(path, [Row(text="old")])

    def rows():
        yield Row(text="new")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        records.write_jsonl(path, rows())
    assert records.read_jsonl(path, Row) == [Row(text="old")]
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def model(tmp_path):
    """A folder with two files of a model and notes, and what is in it by name."""
    path = tmp_path / "models/mine"
    (path / "more").mkdir(parents=True)
    for name in ("config.json", "model-00001.safetensors", "notes.txt", "more/why.md"):
        (path / name).write_text(f"old {name}")
    return path


def content_of(path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()}


def test_a_folder_is_replaced_at_the_end_and_keeps_what_no_program_wrote(model):
    before = content_of(model)
    with records.whole_folder(model) as new:
        (new / "config.json").write_text("new")
        (new / "model.safetensors").write_text("new")
        assert content_of(model) == before
    foreign = {name: before[name] for name in ("notes.txt", "more/why.md")}
    assert content_of(model) == {"config.json": "new", "model.safetensors": "new", **foreign}
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_that_fails_while_it_is_written_is_the_old_one(model, error):
    before = content_of(model)

    def write(path) -> None:
        with records.whole_folder(path) as new:
            (new / "config.json").write_text("new")
            raise error

    with pytest.raises(error):
        write(model)
    assert content_of(model) == before
    with pytest.raises(error):
        write(model.with_name("other"))
    assert list(model.parent.iterdir()) == [model]


def test_a_folder_that_a_kill_left_aside_is_put_back(model):
    before = content_of(model)
    model.rename(model.with_name(".mine.old.tmp"))
    with pytest.raises(ValueError, match="no model"), records.whole_folder(model):
        raise ValueError("no model")
    assert content_of(model) == before
    assert list(model.parent.iterdir()) == [model]


FULL = {
    errno.ENOSPC: "no space left; make room and run the same command again",
    errno.EDQUOT: "the disk quota is used up; make room and run the same command again",
    errno.EFBIG: "larger than a file may be here",
    errno.EROFS: "the file system is read-only; make it writable and run the same command again",
}


@pytest.mark.parametrize("number", FULL)
def test_a_disk_that_takes_nothing_is_named_with_the_remedy(number):
    here = OSError(number, os.strerror(number), "a/b.jsonl")
    assert records.file_fault(here).startswith(f"a/b.jsonl: {FULL[number]}")
    for pathless in (
        OSError(number, os.strerror(number)),
        RuntimeError(f"I/O error: {os.strerror(number)} (os error {number})"),
        RuntimeError(f"Error writing bytes to file. Detail: [errno {number}] {os.strerror(number)}"),
    ):
        assert f": {FULL[number]}" in records.file_fault(pathless)


def test_where_not_even_a_temporary_file_may_be_written_the_disk_is_named():
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp']")
    assert records.file_fault(error).endswith("no space left; make room and run the same command again")


@pytest.mark.parametrize("said", ["disk I/O error", "database or disk is full"])
def test_where_a_database_cannot_be_written_the_disk_is_named(said):
    found = records.file_fault(sqlite3.OperationalError(said))
    assert found.endswith("no space left; make room and run the same command again")


def test_of_a_copy_the_place_that_is_written_to_is_named():
    error = OSError(errno.ENOSPC, "No space left on device", "from", None, "to")
    assert records.file_fault(error).startswith("to: no space left")


@pytest.mark.parametrize(
    "error", [ValueError("Error 28"), KeyError("x"), OSError("no such model"), ConnectionError(111)]
)
def test_other_errors_are_no_faults_of_a_disk(error):
    assert records.file_fault(error) is None


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(SentiDistillError, match=r"data: a file where a folder has to be; move it away and run"):
        records.write_text(tmp_path / "data/a.jsonl", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SentiDistillError, match=r"folder: a folder where a file has to be"):
        records.write_text(tmp_path / "folder", "x")


# Each writes a file of 8 MB in the way of another library.
WRITERS = {
    "ours": "records.write_text('big', text)",
    "Python": "Path('big').write_text(text)",
    "numpy": "import numpy; numpy.save('big', numpy.zeros(10**6))",
    "pandas": "import pandas; pandas.DataFrame({'a': [text] }).to_csv('big')",
    "safetensors": "import torch; from safetensors.torch import save_file; save_file({'a': torch.zeros(10**6)}, 'big')",
    "torch": "import torch; torch.save(torch.zeros(10**6), 'big')",
}


@pytest.mark.heavy
@pytest.mark.parametrize("writer", WRITERS)
def test_a_command_that_may_not_write_so_much_says_so_in_a_line(writer, tmp_path):
    program = (
        "import resource; from pathlib import Path; from sentidistill import records\n"
        "from sentidistill.pipeline import stage; text = 'x' * 8_000_000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
        f"def main(): {WRITERS[writer]}\n"
        "stage.run(main)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert line.endswith("run the same command again")
    assert "larger than a file may be here" in line
