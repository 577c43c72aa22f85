"""What a part of the fault suite tried, and what came of it."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from sentidistill.pipeline.graph import Stage, stages
from sentidistill.sources.packages import sha256
from tests.project import ROOT, SMOKE, Project, environment

HANG = 300  # seconds after which a stage counts as one that hangs
RUN_HANG = 1800  # and a run of the whole pipeline, which takes minutes, on a busy machine ten and more
# A named remedy: what the user is to do, as our errors and lines put it.
REMEDY = re.compile(
    r"run the same command again|run it again|rerun|git checkout|make room|check |set |raise |use |put |give |name |"
    r"did you mean|move it away|is missing|expected|Unable to acquire lock|is busy",
    re.IGNORECASE,
)
COLUMNS = ("tried", "handled by a named remedy", "tracebacks", "hangs", "files that differ", "paid twice")
STAGES = stages(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8")), SMOKE)
ONE_OF_EACH = list({one.template: one for one in reversed(STAGES)}.values())[::-1]


@dataclass
class Tally:
    """Counts of one part, by the names of `COLUMNS`; `faults` are what a test has to fail for, in words."""

    part: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, column: str, fault: str = "", number: int = 1) -> None:
        self.counts[column] += number
        if fault and number:
            self.faults.append(f"{column}: {fault}")

    def ended(self, case: str, said: str | None, failed: bool = True) -> None:
        """Count a command that ended, with what it `said`; None is one that hangs, and so does not end."""
        self.add("tried")
        if said is None:
            self.add("hangs", case)
        elif "Traceback (most recent call last)" in said:
            self.add("tracebacks", f"{case}: {said[-600:]}")
        elif failed and REMEDY.search(said):
            self.add("handled by a named remedy")
        elif failed:
            self.faults.append(f"{case}: ends without a remedy: {said[-600:]}")

    def ended_well(self, case: str, started: "Started", hang: int) -> None:
        """Wait for a command that has to end by itself and without a fault, and count it."""
        said = started.end(hang)
        self.ended(case, said, failed=False)
        if started.process.returncode:
            self.faults.append(f"{case}: {said and said[-2000:]}")

    def raised(self, case: str, error: BaseException | None) -> None:
        """Count a call in this process that raised `error`, or went through."""
        from sentidistill.errors import SentiDistillError

        self.add("tried")
        if isinstance(error, SentiDistillError):
            self.add("handled by a named remedy")
        elif isinstance(error, Hang):
            self.add("hangs", case)
        elif error is not None:
            self.add("tracebacks", f"{case}: {error!r:.200}")

    def compare(self, case: str, found: dict[str, str], expected: dict[str, str]) -> None:
        different = [path for path in expected if found.get(path) != expected[path]]
        self.add("files that differ", f"{case}: {', '.join(different)}", len(different))

    def check(self) -> None:
        """Fail for the faults since the last check."""
        found, self.faults = self.faults, []
        if found:
            pytest.fail("\n".join([f"{self.part}: {len(found)} faults", *found]), pytrace=False)


class Hang(Exception):
    """A call in this process took too long."""


class limited:
    """Ends the block with `Hang` after so many seconds."""

    def __init__(self, seconds: int):
        self.seconds = seconds

    def __enter__(self):
        def ring(*_):
            raise Hang

        self.before = signal.signal(signal.SIGALRM, ring)
        signal.alarm(self.seconds)

    def __exit__(self, *_):
        signal.alarm(0)
        signal.signal(signal.SIGALRM, self.before)


class Started:
    """A command in a session of its own, with all that it says in a file."""

    def __init__(self, folder: Path, command: Sequence[str], **variables: str):
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment(), "PYTHONUNBUFFERED": "1", **variables},
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Where the tests themselves run in the background, SIGINT is ignored, and a process inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @property
    def said(self) -> str:
        return os.pread(self._said.fileno(), 2**24, 0).decode("utf-8", "replace")

    def wait_for(self, words: str, after: int = 0) -> bool:
        """Wait until it says `words` behind the first `after` characters; False where it ends, or hangs, before."""
        deadline = time.monotonic() + HANG
        while words not in self.said[after:]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                return words in self.said[after:]
            time.sleep(0.02)
        return True

    def end(self, hang: int = HANG) -> str | None:
        """All that it said, once it has ended by itself; None where it had to be ended after `hang` seconds."""
        try:
            self.process.wait(hang)
        except subprocess.TimeoutExpired:
            self.kill_all()
            return None
        return self.said

    def kill_all(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def outputs(folder: Path, some: Sequence[Stage] = STAGES) -> dict[str, str]:
    """SHA-256 by path of every file that the stages write."""
    tops = [folder / path for one in some for path in (*one.outs, *one.metrics)]
    files = [path for top in tops for path in ([top] if top.is_file() else sorted(top.rglob("*"))) if path.is_file()]
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def copy_of(project: Project, folder: Path, change: Callable[[dict], None] = lambda values: None) -> Path:
    """The files of the pipeline with what its stages fetched, to run single stages in."""
    project.copy_of_files(folder, change)
    shutil.copytree(project.folder / ".cache/downloads", folder / ".cache/downloads")
    return folder


def command_of(one: Stage) -> list[str]:
    return one.cmd.split()
