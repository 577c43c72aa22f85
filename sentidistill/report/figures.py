"""The figures of the report, as PNG or SVG files without time stamps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

MODELS = {"student_base": "student before", "student": "student, distilled", "teacher": "teacher"}
# Colours that colour-blind readers tell apart, and that differ in lightness; of Okabe and Ito (2008) for groups.
COLOURS = {"student_base": "#9aa5b1", "student": "#1f6feb", "teacher": "#e3872d"}
GROUPS = {"#0072b2": "o", "#e69f00": "s", "#009e73": "^", "#cc79a7": "D", "#56b4e9": "v", "#d55e00": "P"}  # and markers
PALE = "#d0d7de"
MOST_CLUSTERS, MOST_TEXTS = 20, 150  # that are drawn by their names, and by their size
# Learners of benchmarks/adapt.py: what they are called, their colour, marker and line.
LEARNERS = {
    "student": ("student, distilled", COLOURS["student"], "o", "-"),
    "base": ("student before", COLOURS["student_base"], "s", "--"),
    "joined": ("trained on all together", "#cc79a7", "v", "-"),
    "SetFit": ("SetFit", "#009e73", "^", "-."),
    "TF-IDF": ("TF-IDF and logistic regression", "#d55e00", "D", ":"),
}
METRICS = {
    "difficulty": "difficulty for the student before training (0: easy, 1: hard)",
    "rank_score": "rank score of the tokens that are no own choice of the student (0 to 1)",
    "rank_score_all": "rank score of all tokens (0 to 1)",
    "nll": "negative log-likelihood (nats per token)",
    "ppl": "perplexity (no unit)",
    "n_tokens": "length of the answer (tokens)",
    "uncertainty": "uncertainty of the student before the answer is known",
}


def _figure(width: float = 7.0, height: float = 3.6, mosaic: str = "A"):
    """A figure with its axes: one, or by letter those of `mosaic`, as matplotlib reads it."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "sentidistill"}
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(width, height), layout="constrained")
    axes = figure.subplot_mosaic(mosaic)
    for one in axes.values():
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes if len(axes) > 1 else axes[mosaic]


def _save(figure, path: Path) -> None:
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = {".png": "Software", ".svg": "Date"}[path.suffix]
    figure.savefig(path, dpi=110, metadata={stamp: None}, transparent=path.suffix == ".svg")
    pyplot.close(figure)


def training_loss(table: pd.DataFrame, path: Path, highest: float | None = None) -> None:
    """`highest`: the upper end of the axis, for figures that stand side by side."""
    figure, axes = _figure()
    axes.plot(table["step"], table["loss"], color=COLOURS["student"])
    axes.set(xlabel="optimiser step", ylabel="loss on the answers (nats per token)", title="Training loss")
    if highest is not None:
        axes.set_ylim(0, 1.05 * highest)
    _save(figure, path)


def difficulty(table: pd.DataFrame, metric: str, path: Path) -> None:
    figure, axes = _figure()
    width = float(table["difficulty"].diff().median())
    axes.bar(table["difficulty"], table["samples"], width, align="edge", color=PALE, label="all answers")
    axes.bar(
        table["difficulty"], table["kept"], width, align="edge", color=COLOURS["student"], label="kept for training"
    )
    axes.set(xlabel=METRICS.get(metric, metric), ylabel="answers (number)", title="Difficulty of the teacher's answers")
    axes.legend(frameon=False)
    _save(figure, path)


def kept_shares(table: pd.DataFrame, names: pd.DataFrame, path: Path) -> None:
    """`table`: group (decile, family or cluster), name, samples, kept. `names`: clusters (cluster) with their exemplar.

    Without `names`, the clusters are shown by their numbers.
    """
    figure, axes = _figure(7.0, 5.6, mosaic="AC;BC")
    exemplars = dict(zip(names["cluster"].astype(str), names["exemplar"]))
    titles = {
        "decile": ("A", "difficulty among answers of one task"),
        "family": ("B", "kind of task"),
        "cluster": ("C", "perspective" if len(names) else "cluster"),
    }
    for group, (place, title) in titles.items():
        rows = table[table["group"] == group].nlargest(MOST_CLUSTERS, "samples", keep="first").sort_index()
        said = rows["name"].astype(str).tolist()
        if group == "decile":
            said = [{"1": "1, easiest", "10": "10, hardest"}.get(name, name) for name in said]
        if group == "cluster":
            said = [short(exemplars.get(name, name)) for name in said]
        axes[place].barh(range(len(rows)), 100 * rows["kept"] / rows["samples"], color=COLOURS["student"])
        axes[place].set_yticks(range(len(rows)), said)
        axes[place].tick_params(axis="y", labelsize=9)
        axes[place].set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.6))
        axes[place].set_title(f"by {title}", fontsize=10, loc="left")
    axes["B"].set_xlabel("kept of the answers (%)")
    axes["C"].set_xlabel("kept of the answers (%)")
    figure.suptitle("Which of the teacher's answers are kept for training")
    _save(figure, path)


def short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def cluster_map(table: pd.DataFrame, path: Path, named: int = 24) -> None:
    """`table`: attribute, count, cluster, exemplar, x, y. The clusters of most texts have colours, the others grey."""
    figure, axes = _figure(7.0, 6.4)
    largest = table.groupby("cluster")["count"].sum().nlargest(len(GROUPS), keep="first").index
    sizes = 12 + 6 * table["count"].clip(upper=MOST_TEXTS)
    rest = ~table["cluster"].isin(largest)
    axes.scatter(table["x"][rest], table["y"][rest], sizes[rest], color="#8a8f98", alpha=0.5, linewidths=0)
    for cluster, (colour, marker) in zip(largest, GROUPS.items()):
        own = table["cluster"] == cluster
        looks = {"color": colour, "marker": marker, "label": short(table["exemplar"][own].iloc[0])}
        axes.scatter(table["x"][own], table["y"][own], sizes[own], alpha=0.7, linewidths=0, **looks)
    axes.scatter([], [], 30, color="#8a8f98", alpha=0.5, linewidths=0, label="other clusters")
    axes.set(xticks=[], yticks=[], title="Attributes by meaning; the larger the mark, the more texts")
    axes.set(xlabel="projection (t-SNE), no unit: the nearer, the more alike", ylabel="projection (t-SNE), no unit")
    axes.margins(0.08)
    marks = axes.legend(frameon=False, ncols=4, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.06))
    for mark in marks.legend_handles:
        mark.set_sizes([40])
    figure.draw_without_rendering()
    inside, taken = axes.get_window_extent(), list[Any]()
    for row in table.nlargest(named, "count").itertuples():
        name = axes.annotate(row.attribute, (row.x, row.y), fontsize=9, ha="center", va="center")
        place = name.get_window_extent()
        if place.x0 < inside.x0 or place.x1 > inside.x1 or any(place.overlaps(other) for other in taken):
            name.remove()
        else:
            taken.append(place)
    _save(figure, path)


def reliability(table: pd.DataFrame, path: Path) -> None:
    """`table`: by bin the mean probability (said), the share that is right, and the ends of its interval."""
    figure, axes = _figure(4.6, 3.6)
    axes.plot([0, 100], [0, 100], color="#8a8f98", linewidth=1, linestyle="--")
    middle = 100 * table["right"]
    spread = [middle - 100 * table["low"], 100 * table["high"] - middle]
    axes.errorbar(100 * table["said"], middle, yerr=spread, fmt="o-", color=COLOURS["student"], capsize=2)
    start = 100 * min(float(table["said"].min()), float(table["low"].min()))
    axes.set(xlabel="probability of the label (%)", ylabel="right (%)", xlim=(start, 100), ylim=(start, 100))
    axes.set_title("Calibration curve: as right as it says?")
    _save(figure, path)


def risk_coverage(table: pd.DataFrame, path: Path) -> None:
    """`table`: by share of texts that get an answer (coverage), the share of these that is wrong (risk)."""
    figure, axes = _figure(4.6, 3.6)
    axes.plot(100 * table["coverage"], 100 * table["risk"], color=COLOURS["student"])
    axes.set(xlabel="texts that get an answer, surest first (%)", ylabel="of these wrong (%)", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    axes.set_title("Risk-coverage curve: errors by answers")
    _save(figure, path)


def differences(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`rows`: arms a and b; under calibrated and plain the difference (value) and its interval (half_width)."""
    figure, axes = _figure(7.0, 1.2 + 0.5 * len(rows))
    colours = {"calibrated": COLOURS["student"], "plain": COLOURS["student_base"]}
    for shift, (name, colour) in zip((-0.12, 0.12), colours.items()):
        values, widths = ([row[name][key] for row in rows] for key in ("value", "half_width"))
        places = [place + shift for place in range(len(rows))]
        axes.errorbar(values, places, xerr=widths, fmt="o", color=colour, capsize=2, label=name)
    axes.axvline(0, color="#8a8f98", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(rows)), [f"{row['a']} minus {row['b']}" for row in rows])
    axes.set(xlabel="difference of mean macro-F1 (points)", ylim=(len(rows) - 0.5, -0.5))
    axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    _save(figure, path)


def learning_curves(table: pd.DataFrame, path: Path) -> None:
    """`table`: labels, learner, macro_f1, low, high. What is known without labels is a line across."""
    figure, axes = _figure(7.0, 4.6)
    learned = table[table["labels"] > 0].sort_values("labels")
    for number, (learner, (name, colour, marker, line)) in enumerate(LEARNERS.items()):
        curve = learned[learned["learner"] == learner]
        if curve.empty:
            continue
        places = curve["labels"] * 1.03**number  # beside, not on each other
        spread = [curve["macro_f1"] - curve["low"], curve["high"] - curve["macro_f1"]]
        looks = {"color": colour, "marker": marker, "linestyle": line, "markersize": 5, "capsize": 2}
        axes.errorbar(places, curve["macro_f1"], yerr=spread, label=name, **looks)
    for row in table[table["labels"] == 0].itertuples():
        name = f"{LEARNERS[row.learner][0]}, no labels"
        axes.axhline(row.macro_f1, color=LEARNERS[row.learner][1], linewidth=1, linestyle=(0, (1, 3)), label=name)
    axes.set(xscale="log", xlabel="labelled texts (number, logarithmic)", ylabel="macro-F1 on test texts (%)")
    axes.set_title("What a few labels of one's own bring")
    axes.set_xticks(sizes := sorted(set(learned["labels"])), sizes)
    axes.minorticks_off()
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    bars = "Bars: the central 95 % over resampled test texts and draws of labels"
    figure.supxlabel(bars, fontsize=9, color="#57606a")
    _save(figure, path)


def scores(rows: Mapping[str, Mapping[str, Mapping[str, float]]], path: Path) -> None:
    """`rows`: by task and key of `MODELS`, the score (main) and the ends of its interval (low, high)."""
    figure, axes = _figure()
    for number, (model, name) in enumerate(MODELS.items()):
        places = [place + (number - 1) * 0.27 for place in range(len(rows))]
        cells = [row[model] for row in rows.values()]
        spread = [[cell["main"] - cell["low"] for cell in cells], [cell["high"] - cell["main"] for cell in cells]]
        axes.bar(places, [cell["main"] for cell in cells], 0.25, color=COLOURS[model], label=name)
        axes.errorbar(places, [cell["main"] for cell in cells], yerr=spread, fmt="none", ecolor="#57606a", capsize=2)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set(ylabel="macro-F1 (%)", title="Macro-F1 by task, with the central 95 % over resampled test records")
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    _save(figure, path)
