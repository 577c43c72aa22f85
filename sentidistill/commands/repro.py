"""`dvc repro`, and then what each stage took, and which outputs are those of the committed run.

python -m sentidistill.commands.repro, with options of `dvc repro`.

DVC writes dvc.lock anew after every stage. Where it is killed meanwhile, or the disk is full, a part of the file is
left, which it cannot read any more. So the last good copy is kept beside it, and put back. Nothing is lost by that:
what stages made since, DVC takes from its own cache. It is the same with the list of paths in use that DVC keeps.
"""

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path

import psutil
import yaml
from rich.table import Table

from sentidistill import config, records
from sentidistill.commands import runs
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import interrupts, stage
from sentidistill.pipeline.runs import SINCE
from sentidistill.sources import models

LOCK, GOOD = Path("dvc.lock"), Path("dvc.lock.good")
IN_USE = Path(".dvc/tmp/rwlock")  # which paths DVC's processes read and write at the moment
STAGE_SECONDS, DVC_SECONDS = 10, 20  # how long a stage, and then DVC, may take to end


def is_whole(content: bytes) -> bool:
    """Whether DVC can read `content` as a dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, UnicodeDecodeError, Invalid):
        return False
    return True


def keep_lock() -> None:
    """Keep a copy of dvc.lock or, where it is damaged, put the copy back.

    Where there is no copy and none in git, as in a first run, it is removed: DVC's cache has what stages made.
    Raises `SentiDistillError` where it is damaged and git alone has a copy.
    """
    if not LOCK.exists():
        return
    if is_whole(content := LOCK.read_bytes()):
        records.write_bytes(GOOD, content)
    elif GOOD.exists():
        records.write_bytes(LOCK, GOOD.read_bytes())
        logging.warning(
            "%s was damaged, as by a kill while it is written; the last good copy is back in its place", LOCK
        )
    elif not committed():
        LOCK.unlink()
        logging.warning("%s was damaged, as by a kill while it is written; it is removed, and DVC makes it anew", LOCK)
    else:
        raise SentiDistillError(
            f"{LOCK}: damaged, as by a kill while it is written; get it back with `git checkout {LOCK}`"
        )


def holders(content: bytes) -> set[int]:
    """The ids of the processes in DVC's list of paths in use. Raises `ValueError` where DVC cannot read the list."""
    from dvc.rwlock import SCHEMA
    from voluptuous import Invalid

    try:
        in_use = SCHEMA(json.loads(content))
    except Invalid as error:
        raise ValueError(str(error)) from error
    return {one["pid"] for one in [*in_use["write"].values(), *chain(*in_use["read"].values())]}


def runs_dvc(process: int) -> bool:
    """Whether DVC runs under this id: not if it was killed, where its parent has not noticed, or the id is reused."""
    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and "dvc" in {Path(word).name for word in found.cmdline()}
    except psutil.Error:
        return False


def mend_in_use() -> None:
    """Remove DVC's list of paths in use where a kill has cut it off, or has left it: no DVC might start any more."""
    for wait in (1.0, 0.0):  # another DVC may be writing it
        try:
            if not any(map(runs_dvc, holders(IN_USE.read_bytes()))):
                IN_USE.unlink()
            return
        except FileNotFoundError:
            return
        except ValueError:
            time.sleep(wait)
    IN_USE.unlink(missing_ok=True)
    logging.warning("%s was damaged, as by a kill while it is written; it is removed, and DVC makes it anew", IN_USE)


def dvc_repro(arguments: tuple[str, ...]) -> int:
    """Run `dvc repro`; an interrupt goes to the stage that runs, so that DVC can end as after any stage that fails."""
    since = {**os.environ, SINCE: str(time.time())}
    process = subprocess.Popen([sys.executable, "-m", "dvc", "repro", *arguments], env=since)
    try:
        return process.wait()
    except KeyboardInterrupt:
        for one in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "-c" not in one.cmdline():  # shells wait for the stage
                    one.terminate()
        try:
            return process.wait(STAGE_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            return process.wait()


def check_device() -> None:
    """Raises `SentiDistillError` if this machine lacks `runtime.device`, as hours may pass before it is used."""
    runtime = config.load().runtime
    if runtime.device not in ("auto", "cpu"):
        models.device(runtime)


def committed() -> str:
    """dvc.lock as it is committed; "" where it is not, or where this is no repository."""
    found = subprocess.run(["git", "show", f"HEAD:./{LOCK}"], capture_output=True, text=True)
    return found.stdout if found.returncode == 0 else ""


def hashes(lock: str) -> dict[str, str]:
    """MD5 by path of every output that the text of a dvc.lock names."""
    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    return {out["path"]: out["md5"] for one in stages.values() for out in one.get("outs", [])}


def beside(now: dict[str, str], before: dict[str, str]) -> tuple[str, list[tuple[str, str, str]]]:
    """How many outputs are those of the committed run, and (path, MD5 there, MD5 here) of the others.

    With its settings, all are up to data/train.jsonl on every machine; with those of a profile, most are others.
    """
    differ = [(path, before.get(path, "none"), md5) for path, md5 in now.items() if before.get(path) != md5]
    return f"{len(now) - len(differ)} of {len(now)} outputs are the same bytes as those of the committed run", differ


def main(*arguments: str) -> None:
    check_device()
    mend_in_use()
    keep_lock()
    code = dvc_repro(arguments)
    keep_lock()
    if code:
        sys.exit(code)
    runs.main()
    if before := hashes(committed()):
        text, differ = beside(hashes(LOCK.read_text(encoding="utf-8")), before)
        print(text)
        if differ:
            table = Table("output", "MD5 in the commit", "MD5 here", title="Other outputs")
            for row in differ:
                table.add_row(*row)
            stage.console().print(table)
    print("report.md has the results; `make page` makes a page of the run.")


if __name__ == "__main__":
    interrupts.listen(follow=True, grace=STAGE_SECONDS + DVC_SECONDS)
    stage.run(main, *sys.argv[1:])
