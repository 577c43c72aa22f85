"""Figures say in words what they show: names for numbers, units on the axes; and the same bytes each time."""

import re

import pandas as pd
import pytest

from sentidistill.report import figures
from sentidistill.report.templates import drawn
from tests.project import ROOT


def words(svg: str) -> list[str]:
    return [one.strip() for one in re.findall(r"<text[^>]*>(.*?)</text>", svg)]


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(ROOT / f"plots/{name}.csv") for name in ("clusters", "kept", "difficulty")}


def test_kept_shares_name_the_clusters_and_without_names_show_their_numbers(tables):
    said = words(drawn(figures.kept_shares, tables["kept"], tables["clusters"]))
    assert "overall sentiment" in said
    assert "by perspective" in said
    assert "kept of the answers (%)" in said
    assert "by cluster" in words(drawn(figures.kept_shares, tables["kept"], tables["clusters"][:0]))


def test_the_map_says_that_its_axes_have_no_unit_and_what_its_colours_are(tables):
    svg = drawn(figures.cluster_map, tables["clusters"])
    said = words(svg)
    assert sum("projection (t-SNE), no unit" in one for one in said) == 2
    assert "other clusters" in said
    assert svg == drawn(figures.cluster_map, tables["clusters"])


def test_learning_curves_explain_their_bars():
    said = words(drawn(figures.learning_curves, pd.read_csv(ROOT / "docs/own_labels.csv")))
    assert {"student, distilled", "student before", "TF-IDF and logistic regression"} <= set(said)
    assert any(one.startswith("Bars: the central 95 %") for one in said)


def test_difficulty_has_words_for_every_metric(tables):
    for metric, told in figures.METRICS.items():
        assert told in words(drawn(figures.difficulty, tables["difficulty"], metric))


def test_losses_beside_each_other_have_one_axis():
    ends = []
    for last in (1.0, 8.0):
        table = pd.DataFrame({"step": [1, 2], "loss": [0.5, last]})
        ends.append(words(drawn(lambda one, path: figures.training_loss(one, path, highest=8.0), table)))
    assert ends[0] == ends[1]
