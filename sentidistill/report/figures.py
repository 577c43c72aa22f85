"""The figures of the report, as PNG files without time stamps."""

from pathlib import Path

import pandas as pd

MODELS = {"student_base": "student before", "student": "student, distilled", "teacher": "teacher"}
COLOURS = {"student_base": "#9aa5b1", "student": "#1f6feb", "teacher": "#e3872d"}


def _figure(width: float = 7.0, height: float = 3.6):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure, path: Path) -> None:
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
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
    axes.set(xlabel=f"difficulty ({metric})", ylabel="samples", title="Difficulty of the teacher's answers")
    axes.legend(frameon=False)
    _save(figure, path)


def cluster_map(table: pd.DataFrame, path: Path, named: int = 24) -> None:
    figure, axes = _figure(7.5, 5.5)
    sizes = 12 + 6 * table["count"]
    axes.scatter(table["x"], table["y"], s=sizes, c=table["cluster"], cmap="tab20", alpha=0.6, linewidths=0)
    for row in table.nlargest(named, "count").itertuples():
        axes.annotate(row.attribute, (row.x, row.y), fontsize=7, ha="center", va="center")
    axes.set(xticks=[], yticks=[], title="Attributes by meaning; colour: perspective, size: texts that mention it")
    _save(figure, path)


def scores(table: pd.DataFrame, path: Path) -> None:
    """`table`: rows are tasks, columns are the keys of `MODELS`."""
    figure, axes = _figure()
    positions = range(len(table))
    for number, (model, name) in enumerate(MODELS.items()):
        places = [place + (number - 1) * 0.27 for place in positions]
        bars = axes.bar(places, table[model], 0.25, color=COLOURS[model], label=name)
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(list(positions), table.index)
    axes.set(ylabel="macro-F1 (%)", title="Macro-F1 by task")
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    _save(figure, path)
