"""What may import what: imports of the library point up one list, and go in no circle."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Names of sentidistill/. A module may import from its own line and from the lines above it.
LAYERS = (
    ("errors", "yaml_files", "config", "records", "pipeline"),
    ("clustering", "selection"),
    ("parsing",),
    ("prompts", "samples"),
    ("sources",),
    ("inference",),
    ("construct",),
    ("difficulty", "student", "uncertainty"),
    ("evaluation",),
    ("scored", "shares"),
    ("predict",),
    ("report",),
    ("commands",),
)
LINE_OF = {name: number for number, names in enumerate(LAYERS) for name in names}
# They run whole stages, as DVC does.
RUNNERS = {"sentidistill/commands/rehearsal.py", "benchmarks/construction.py"}


@dataclass(frozen=True)
class Import:
    """Module `importer`, in `line` of `file`, imports module `imported`, wherever in the file that stands."""

    file: str
    line: int
    importer: str
    imported: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: imports {self.imported}"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


MODULES = {module_of(path): path for path in files("sentidistill")}


def imports(path: Path, package: str) -> Iterator[Import]:
    """The imports of `package` and its modules in the file `path`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in full]
        else:
            continue
        for name in dict.fromkeys(names):
            if name.split(".")[0] == package:
                yield Import(str(path.relative_to(ROOT)), node.lineno, module_of(path), name)


IMPORTS = [one for path in MODULES.values() for one in imports(path, "sentidistill")]


def group(module: str) -> str:
    """The name of sentidistill/ that a module is, or lies in; "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def test_every_module_has_a_line():
    unknown = sorted({group(module) for module in MODULES} - {"", *LINE_OF})
    assert not unknown, f"sentidistill/ has {', '.join(unknown)}: put each on a line of LAYERS in tests/test_layers.py"
    assert set(LINE_OF) == {group(module) for module in MODULES} - {""}, "LAYERS names what is no longer there"


def test_no_import_points_down_the_list():
    wrong = [one for one in IMPORTS if LINE_OF.get(group(one.imported), -1) > LINE_OF.get(group(one.importer), -1)]
    assert not wrong, "\n".join(
        f"{one}, which stands below {group(one.importer)} in LAYERS (tests/test_layers.py): move what both need up to "
        f"{group(one.importer)} or above it, or move this module down to {group(one.imported)}"
        for one in wrong
    )


@pytest.mark.parametrize("name_of", [group, str], ids=["groups", "modules"])
def test_imports_go_in_no_circle(name_of):
    graph: dict[str, set[str]] = {}
    for one in IMPORTS:
        graph.setdefault(name_of(one.importer), set())
        if name_of(one.importer) != name_of(one.imported):
            graph[name_of(one.importer)].add(name_of(one.imported))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]
        steps = [
            str(one)
            for importer, imported in pairwise(circle)
            for one in IMPORTS
            if (name_of(one.importer), name_of(one.imported)) == (importer, imported)
        ]
        pytest.fail("a circle of imports; move what two of them share to a third:\n" + "\n".join(steps))


def test_only_tests_and_dvc_import_stages():
    wrong = []
    for path in files("sentidistill", "stages", "benchmarks", "scripts"):
        name = str(path.relative_to(ROOT))
        wrong += [str(one) for one in imports(path, "stages")]
        wrong += [f"{name}, line {line}: runs a stage" for line in run_stages(path) if name not in RUNNERS]
    assert not wrong, "\n".join(f"{one}: put what is needed of it into sentidistill/" for one in wrong)


def run_stages(path: Path) -> list[int]:
    """Lines of `path` that import a stage by its name: `import_module("stages...")`."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("import_module")
        and "stages." in ast.unparse(node.args[0])
    ]
