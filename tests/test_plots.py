"""`dvc plots show`: titled, with words and units on the axes, and readable without a network."""

import json
import subprocess
import sys

import pytest
import yaml

from tests.browser import Parts, is_whole, opened
from tests.project import ROOT, environment


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    command = [sys.executable, "-m", "dvc", "plots", "show", "-o", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    return folder / "index.html"


def test_plots_are_titled_and_need_no_network(page):
    text = page.read_text(encoding="utf-8")
    assert Parts(text).fetched == []
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    of_stages = [plot for stage in declared["stages"].values() for plot in stage.get("plots", [])]
    for plot in [*declared["plots"], *of_stages]:
        (settings,) = plot.values()
        for words in ("title", "x_label", "y_label"):
            assert json.dumps(settings[words]) in text


def test_in_a_browser_every_plot_is_drawn(page):
    with opened(page) as browser:
        drawn = is_whole(browser, "polyline, rect, circle")
    bars = len((ROOT / "plots/scores.csv").read_text(encoding="utf-8").splitlines()) - 1
    dots = len((ROOT / "plots/clusters.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert sorted(drawn) == sorted([1, 2, bars, dots])  # lines of the loss, and of all samples and the kept ones
