"""How long each stage last took, and where its answers came from: python -m sentidistill.commands.runs"""

from rich.table import Table

from sentidistill.pipeline import graph, stage
from sentidistill.pipeline.runs import Run, last


def table(runs: dict[str, Run]) -> Table:
    """The runs in the order of the pipeline, and their sums."""
    columns = ("seconds", "of them asking", "answers recorded", "cached", "asked", "on")
    shown = Table("stage", *columns, title="What each stage last took, and where its answers came from")
    known = [(one.name, runs[one.name]) for one in graph.load() if one.name in runs]
    for name, run in known:
        counts = (run.recorded, run.cached, run.asked)
        cells = [f"{count:,}" for count in counts] if any(counts) else ["", "", ""]
        shown.add_row(name, f"{run.seconds:,.0f}", f"{run.asking:,.0f}" if run.asked else "", *cells, run.processor)
    kinds = ("seconds", "asking", "recorded", "cached", "asked")
    shown.add_section()
    shown.add_row("all", *(f"{sum(getattr(run, kind) for _, run in known):,.0f}" for kind in kinds), "")
    return shown


def main() -> None:
    stage.console().print(table(last(stage.cache_root())))


if __name__ == "__main__":
    stage.run(main)
