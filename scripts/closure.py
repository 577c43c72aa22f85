"""Import closure of a stage: the repository's own files that running it can execute or read as code.

Used to test the code dependencies in dvc.yaml, and to write them: `python -m scripts.closure`.
"""

import ast
import re
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
    """`dvc_yaml` with the code dependencies of every stage as they are; they stand before all others."""
    stages = re.split(r"(?m)^(?=  \w+:$)", dvc_yaml)
    for place, text in enumerate(stages[1:], 1):
        name = text.split(":")[0].strip()
        indent, kept = re.search(r"(?m)^( +)deps:\n((?:\1  - .*\n)*)", text).groups()
        others = [line for line in kept.splitlines() if not line.endswith(".py")]
        code = [f"{indent}  - {path}" for path in sorted(closure(ROOT / "stages" / f"{name}.py"))]
        stages[place] = text.replace(f"deps:\n{kept}", "\n".join(["deps:", *code, *others, ""]))
    return "".join(stages)


if __name__ == "__main__":
    path = ROOT / "dvc.yaml"
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
