"""The figures of the report, as PNG or SVG files without time stamps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

MODELS = {"student_base": "student before", "student": "student, distilled", "teacher": "teacher"}
COLOURS = {"student_base": "#9aa5b1", "student": "#1f6feb", "teacher": "#e3872d"}


def _figure(width: float = 7.0, height: float = 3.6, columns: int = 1):
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "sentidistill"}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")
    for one in axes if columns > 1 else [axes]:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure, path: Path) -> None:
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = {".png": "Software", ".svg": "Date"}[path.suffix]
    figure.savefig(path, dpi=110, metadata={stamp: None}, transparent=path.suffix == ".svg")
    pyplot.close(figure)


def training_loss(table: pd.DataFrame, path: Path) -> None:
    figure, axes = _figure()
    axes.plot(table["step"], table["loss"], color=COLOURS["student"])
    axes.set(xlabel="optimiser step", ylabel="loss on the answers (nats per token)", title="Training loss")
    _save(figure, path)


def difficulty(table: pd.DataFrame, metric: str, path: Path) -> None:
    figure, axes = _figure()
    width = float(table["difficulty"].diff().median())
    axes.bar(table["difficulty"], table["samples"], width, align="edge", color="#d0d7de", label="pool")
    axes.bar(table["difficulty"], table["kept"], width, align="edge", color=COLOURS["student"], label="kept")
    axes.set(xlabel=metric, ylabel="samples", title="Difficulty of the teacher's answers")
    axes.legend(frameon=False)
    _save(figure, path)


def kept_shares(table: pd.DataFrame, path: Path) -> None:
    """`table`: group (decile, family or cluster), name, samples, kept."""
    figure, axes = _figure(9.0, 3.6, columns=3)
    titles = {"decile": "decile of difficulty in its stratum", "family": "family", "cluster": "cluster"}
    for one, (group, title) in zip(axes, titles.items()):
        rows = table[table["group"] == group].nlargest(20, "samples", keep="first").sort_index()
        one.bar(range(len(rows)), 100 * rows["kept"] / rows["samples"], color=COLOURS["student"])
        one.set_xticks(range(len(rows)), rows["name"].astype(str))
        one.set(xlabel=title, ylim=(0, 100))
        one.tick_params(axis="x", rotation=0 if group == "decile" else 90, labelsize=8)
    axes[0].set(ylabel="kept (%)")
    figure.suptitle("Share of the answers that is kept")
    _save(figure, path)


def cluster_map(table: pd.DataFrame, path: Path, named: int = 24) -> None:
    figure, axes = _figure(7.5, 5.5)
    sizes = 12 + 6 * table["count"]
    axes.scatter(table["x"], table["y"], s=sizes, c=table["cluster"], cmap="tab20", alpha=0.6, linewidths=0)
    axes.set(xticks=[], yticks=[], title="Attributes by meaning; colour: perspective, size: texts that mention it")
    figure.draw_without_rendering()
    taken: list[Any] = []
    for row in table.nlargest(named, "count").itertuples():
        name = axes.annotate(row.attribute, (row.x, row.y), fontsize=8, ha="center", va="center")
        place = name.get_window_extent()
        if any(place.overlaps(other) for other in taken):
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
    axes.set_title("Is the student as right as it says?")
    _save(figure, path)


def risk_coverage(table: pd.DataFrame, path: Path) -> None:
    """`table`: by share of texts that get an answer (coverage), the share of these that is wrong (risk)."""
    figure, axes = _figure(4.6, 3.6)
    axes.plot(100 * table["coverage"], 100 * table["risk"], color=COLOURS["student"])
    axes.set(xlabel="texts that get an answer, surest first (%)", ylabel="of these wrong (%)", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    axes.set_title("What an answer costs where one may abstain")
    _save(figure, path)


def differences(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`rows`: arms a and b; under calibrated and plain the difference (value) and its interval (half_width)."""
    figure, axes = _figure(7.0, 1.2 + 0.5 * len(rows))
    for shift, (name, colour) in zip((-0.12, 0.12), {"calibrated": COLOURS["student"], "plain": "#9aa5b1"}.items()):
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
    figure, axes = _figure()
    for row in table[table["labels"] == 0].itertuples():
        axes.axhline(row.macro_f1, color="#8a8f98", linewidth=1, linestyle="--", label=f"{row.learner}, no labels")
    learned = table[table["labels"] > 0].sort_values("labels")
    for number, (learner, curve) in enumerate(learned.groupby("learner", sort=False)):
        places = curve["labels"] * 1.03**number  # beside, not on each other
        spread = [curve["macro_f1"] - curve["low"], curve["high"] - curve["macro_f1"]]
        axes.errorbar(places, curve["macro_f1"], yerr=spread, marker="o", markersize=4, capsize=2, label=learner)
    axes.set(xscale="log", xlabel="labelled texts", ylabel="macro-F1 (%)")
    axes.set_xticks(sizes := sorted(set(learned["labels"])), sizes)
    axes.minorticks_off()
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
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
