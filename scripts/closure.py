"""Import closure of a stage: the repository's own files that running it can execute or read as code.

`python scripts/closure.py NAME` shows it; `python scripts/closure.py --write` writes those of all stages into dvc.yaml.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sentidistill", "stages")


def _file_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            raise ValueError(f"{path}: relative import; write the absolute one")
    # Importing a module runs the packages that it is in, too.
    for name in list(names):
        parts = name.split(".")
        names |= {".".join(parts[:length]) for length in range(1, len(parts))}
    return {name for name in names if name.split(".")[0] in PACKAGES}


def closure(start: Path) -> set[str]:
    """Paths, relative to the root, of `start` and all that it imports; empty `__init__.py` files are left out."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += [file for name in _imports(path) if (file := _file_of(name)) is not None]
    return {str(path.relative_to(ROOT)) for path in found if path.stat().st_size}


def written(dvc_yaml: str) -> str:
    """`dvc_yaml` with the code dependencies of every stage as they are; its comments and other lines stay."""
    lines: list[str] = []
    code: list[str] = []
    for line in dvc_yaml.splitlines():
        if command := re.match(r"\s+cmd: python -m stages\.(\w+)", line):
            code = sorted(closure(ROOT / "stages" / f"{command[1]}.py"))
        if re.match(r"\s+- (?:sentidistill|stages)/[\w/]+\.py$", line):
            continue
        lines.append(line)
        if line.strip() == "deps:":
            lines += [f"{line.partition('deps:')[0]}  - {path}" for path in code]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        path = ROOT / "dvc.yaml"
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n".join(sorted(closure(ROOT / "stages" / f"{sys.argv[1]}.py"))))
