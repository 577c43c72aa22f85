"""Code that a stage depends on: the repository's own modules that it imports, and those of its sections of params.yaml.

What cannot change an output is left out, so that a change there runs no stage again.
`python scripts/closure.py NAME` shows it; `python scripts/closure.py --write` writes those of all stages into dvc.yaml.
"""

import ast
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sentidistill", "stages")
PARAMS = ROOT / "sentidistill/config/__init__.py"
# What settings are refused, what is shown, noted and interrupted.
NEUTRAL = {
    PARAMS,
    *(ROOT / "sentidistill/config" / f"{name}.py" for name in ("rules", "runtime")),
    *(ROOT / "sentidistill/pipeline" / f"{name}.py" for name in ("graph", "interrupts", "progress", "runs")),
}


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


def _sections() -> dict[str, Path]:
    """The module of each section of params.yaml, by the section's name."""
    tree = ast.parse(PARAMS.read_text(encoding="utf-8"))
    modules = {
        alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    (params,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Params")
    fields = (node for node in params.body if isinstance(node, ast.AnnAssign))
    return {node.target.id: _file_of(modules[node.annotation.id]) for node in fields}


def closure(*starts: Path) -> set[str]:
    """Paths, relative to the root, of `starts` and all that they import; empty `__init__.py` files are left out."""
    found: set[Path] = set()
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path in found or path in NEUTRAL:
            continue
        found.add(path)
        waiting += [file for name in _imports(path) if (file := _file_of(name)) is not None]
    return {str(path.relative_to(ROOT)) for path in found if path.stat().st_size}


def of_stage(name: str, dvc_yaml: str) -> set[str]:
    """The `closure` of a stage: of its module, and of the modules of its sections of params.yaml."""
    body = yaml.safe_load(dvc_yaml)["stages"][name]
    sections = _sections()
    params = body.get("do", body).get("params", [])
    return closure(ROOT / "stages" / f"{name}.py", *(sections[entry.split(".")[0]] for entry in params))


def written(dvc_yaml: str) -> str:
    """`dvc_yaml` with the code dependencies of every stage as they are; its comments and other lines stay."""
    lines: list[str] = []
    code: list[str] = []
    for line in dvc_yaml.splitlines():
        if command := re.match(r"\s+cmd: python -m stages\.(\w+)", line):
            code = sorted(of_stage(command[1], dvc_yaml))
        if re.match(r"\s+- (?:sentidistill|stages)/[\w/]+\.py$", line):
            continue
        lines.append(line)
        if line.strip() == "deps:":
            lines += [f"{line.partition('deps:')[0]}  - {path}" for path in code]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    path = ROOT / "dvc.yaml"
    content = path.read_text(encoding="utf-8")
    if sys.argv[1] == "--write":
        path.write_text(written(content), encoding="utf-8")
    else:
        print("\n".join(sorted(of_stage(sys.argv[1], content))))
