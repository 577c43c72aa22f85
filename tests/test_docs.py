"""What README and docs name is there: files that links lead to, targets of make, modules that are run."""

import importlib.util
import re

import pytest

from scripts import departures
from tests.project import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
IDS = [str(path.relative_to(ROOT)) for path in PAGES]


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_links_lead_to_files_that_are_there(path):
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    missing = [one for one in links if "://" not in one and not (path.parent / one).exists()]
    assert not missing


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


@pytest.mark.parametrize("target", sorted(TARGETS - {"help"}))
def test_every_target_is_in_the_list_of_help(target):
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    described = {line.partition(":")[0] for line in lines if re.match(r"[a-z-]+:.*##", line)}
    assert target in described


def test_departures_are_those_of_the_params():
    """A changed param shows here: `python -m scripts.departures`, and see whether its reason still holds."""
    assert departures.page() == departures.PATH.read_text(encoding="utf-8"), "run `python -m scripts.departures`"
