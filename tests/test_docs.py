"""What README and docs name is there: files that links lead to, targets of make, modules that are run."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

from scripts import departures
from sentidistill.pipeline import stage
from tests.project import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
IDS = [str(path.relative_to(ROOT)) for path in PAGES]


def anchors(path: Path) -> set[str]:
    """What a link into `path` may name after its #: headings as forges write them, and ids of a page of HTML."""
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    names = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
    return names | set(re.findall(r'id="([^"]+)"', text))


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_links_lead_to_files_and_headings_that_are_there(path):
    links = re.findall(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)", path.read_text(encoding="utf-8"))
    local = [(path.parent / file if file else path, anchor) for file, anchor in links if "://" not in file]
    assert not [file for file, _ in local if not file.exists()]
    assert not [(file, anchor) for file, anchor in local if anchor and anchor not in anchors(file)]


def test_a_heading_is_found_as_forges_write_it(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# `make`, and what (else)\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"make-and-what-else"}


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_commands_are_ones_that_there_are(path):
    text = path.read_text(encoding="utf-8")
    code = "\n".join(
        [*re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL), *re.findall(r"`([^`]+)`", text)]
    )
    asked = set(re.findall(r"^make ([a-z][\w-]*)", code, re.MULTILINE))
    assert asked <= TARGETS
    modules = set(re.findall(r"python -m ((?:sentidistill|stages|scripts|benchmarks|tests)[\w.]*)", code))
    assert not {one for one in modules if importlib.util.find_spec(one.removesuffix(".NAME")) is None}


def commands(path: Path) -> list[list[str]]:
    """The words of every command line of `path` that runs a module of this repository."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("python -m sentidistill.")]


def test_the_readme_has_commands_to_look_at():
    assert len(commands(ROOT / "README.md")) > 3


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_options_of_commands_are_ones_that_their_modules_have(path):
    for _, _, module, *words in commands(path):
        source = Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert not [one for one in options if f'"{one}"' not in source], module


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_settings_of_experiments_are_params(path):
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    known = {key for key, _ in stage.leaves(params)}
    asked = set(re.findall(r"-S ([a-z_]+\.[\w.]+)=", path.read_text(encoding="utf-8")))
    assert not {one for one in asked if not any(key == one or key.startswith(f"{one}.") for key in known)}


@pytest.mark.parametrize("target", sorted(TARGETS - {"help"}))
def test_every_target_is_in_the_list_of_help(target):
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    described = {line.partition(":")[0] for line in lines if re.match(r"[a-z-]+:.*##", line)}
    assert target in described


def test_departures_are_those_of_the_params():
    """A changed param shows here: `python -m scripts.departures`, and see whether its reason still holds."""
    assert departures.page() == departures.PATH.read_text(encoding="utf-8"), "run `python -m scripts.departures`"
