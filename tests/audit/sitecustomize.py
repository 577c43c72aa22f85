"""Python runs this file at its start where PYTHONPATH names its folder: it notes which files a stage opens.

Each goes as a line, STAGE TAB r or w TAB PATH, into the file that OPENED_FILES names. What a library opens by other
means than Python's, such as weights, is not seen.
"""

import os
import sys
from pathlib import Path


def watch(stage: str, target: str) -> None:
    root = Path.cwd()
    log = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path, writes = os.fspath(arguments[0]), bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
        elif event == "os.rename":
            path, writes = os.fspath(arguments[1]), True
        else:
            return
        whole = Path(os.path.abspath(os.fsdecode(path)))
        if whole.is_relative_to(root) and (writes or whole.is_file()):
            os.write(log, f"{stage}\t{'w' if writes else 'r'}\t{whole.relative_to(root)}\n".encode())

    sys.addaudithook(note)


if "OPENED_FILES" in os.environ and len(sys.orig_argv) > 2 and sys.orig_argv[2].startswith("stages."):
    name, *item = [part for part in sys.orig_argv[2:] if not part.startswith("--")]
    watch("@".join([name.removeprefix("stages."), *(["-".join(item)] if item else [])]), os.environ["OPENED_FILES"])
