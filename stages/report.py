"""all outputs -> report.md, metrics/report.json, the figures in plots/, and metrics/predictions.csv.

metrics/predictions.csv has a row for each model and test record of the default and own tasks, without the texts.
"""

from collections import Counter
from pathlib import Path

import pandas as pd

from sentidistill import config, records
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.construct.instructions import INSTRUCTIONS
from sentidistill.construct.perspectives import PERSPECTIVES
from sentidistill.inference.calls import CALLING_STAGES
from sentidistill.pipeline import stage
from sentidistill.report import figures, page, scores
from sentidistill.samples import SAMPLES


def main() -> None:
    params = config.load()
    section, seed = params.evaluate, params.evaluate.seed
    tested = {name: scores.read(name, section.split) for name in section.tasks}
    models = scores.of_models(tested, section)

    plots = Path("plots")
    clusters_map = pd.read_csv(plots / "clusters.csv")
    figures.training_loss(pd.read_csv(plots / "training_loss.csv"), plots / "training_loss.png")
    figures.difficulty(pd.read_csv(plots / "difficulty.csv"), params.select_samples.metric, plots / "difficulty.png")
    own = params.build_instructions.source == "attributes" and not params.collect_responses.released
    names = clusters_map if own else clusters_map[:0]
    figures.kept_shares(pd.read_csv(plots / "kept.csv"), names, plots / "kept.png")
    figures.cluster_map(clusters_map, plots / "clusters.png")
    shown = [*models["tasks"], "mean"]
    main_scores = {role: [models["plain"][name][role]["main"] for name in shown] for role in scores.ROLES}
    table = pd.DataFrame(main_scores, shown)
    figures.scores({name: models["plain"][name] for name in shown}, plots / "scores.png")
    records.write_text(plots / "scores.csv", table.rename_axis("task").to_csv())

    instructions, perspectives = INSTRUCTIONS.read(), PERSPECTIVES.read()
    text = page.render(
        **models,
        n_attributes=len(clusters_map),
        perspectives=[row for row in perspectives if row.kept],
        left_out=[row for row in perspectives if not row.kept],
        instructions=instructions,
        families=dict(sorted(Counter(row.family for row in instructions).items())),
        shown_tasks=page.drawn([row for row in instructions if row.family != "analysis"], seed),
        shown_analyses=page.drawn([row for row in instructions if row.family == "analysis"], seed),
        clustering=records.read_json("metrics/cluster_attributes.json"),
        breadth=records.read_json("metrics/build_instructions.json")["breadth"],
        calls={name: records.read_json(f"metrics/{name}.json") for name in CALLING_STAGES},
        examples=page.drawn(SAMPLES.read(), seed),
        selection=records.read_json("metrics/select_samples.json"),
        training=records.read_json("metrics/train_student.json"),
    )
    records.write_text("report.md", text)
    own = {name: one for name, one in tested.items() if name not in SENTIBENCH}
    records.write_text("metrics/predictions.csv", scores.by_record(own).to_csv(index=False))
    records.write_json("metrics/report.json", scores.headline(models["plain"], models["calibrated"]))
    gains = ((kind, models[kind]["mean"]["gain"]["main"]) for kind in ("calibrated", "plain") if "mean" in models[kind])
    said = ", ".join(f"{gain:+.1f} {kind}" for kind, gain in gains)
    print(f"report.md: points of mean macro-F1 of the student over its base: {said}")


if __name__ == "__main__":
    stage.run(main)
