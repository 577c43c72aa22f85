"""What there is to read of experiments/*.yaml: NAME.md for each that ran, and docs/ablations.md for all of them."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentidistill import records, yaml_files
from sentidistill.commands import compare
from sentidistill.config.experiment import Experiment
from sentidistill.evaluation.suite import Column

FOLDER, PAGE = Path("experiments"), Path("docs/ablations.md")
COLUMNS: dict[str, Column] = {"calibrated": "calibrated", "plain": "output"}
ABOUT = """\
# Experiments

Each question has a file in `experiments/`, written before anything runs, and one command that answers it.
`make experiment NAME=...` has DVC's queue run what is not done yet. It keeps the settings of each run, the MD5s of its
inputs and the student's labels in `experiments/NAME/`, which is in git. So the command goes on after a kill, and in
another clone, and an arm that another experiment has run with the same settings is not run again. It writes
`experiments/NAME.md`, `.json` and `.png`, and this page. With `KEPT=1` it writes them for what is kept, and no more.

## The files

- `question`: one line. `note`: what else a reader should know, such as what no setting can express.
- `arms`: by name the settings of an arm, as `dvc exp run -S` takes them. All are checked against params.yaml before
  anything is queued. Where arms differ in rows, an arm's own `train_student.epochs=` makes equal what it is trained
  on: supervised tokens or, where the note says so, rows. The tables show these tokens, every epoch counted.
- `compare`: pairs `[a, b]`, for the difference a minus b. Calibrated macro-F1 decides, plain stands beside it.
- `split`: `validation` to choose settings, `test` to report them.
- `seeds` (3): of every arm to begin with: 1, 2, 3, each as `select_samples.seed` and `train_student.seed`. An arm gets
  further seeds, up to `max_seeds` (8), while one of its comparisons has an interval wider than `half_width` (4 points)
  to each side.
- `not_run`: why we have not run it, or not to its end. It is shown as long as runs are missing.
- `minutes`: what the first seeds of all arms take on 2 cores (AVX2).

## The verdicts

The interval of a difference is Student's t over the seeds that both arms have. Its variance is that between seeds and
that of the test records, which all seeds share (paired bootstrap); `sentidistill/evaluation/verdicts.py` has the
formula and its source. The level is 97 %, because an interval that is looked at after every further seed errs more
often than it says. *Better* and *worse*: the interval leaves out 0. *No difference seen*: it holds 0 and is narrow
enough. *Not answered*: it holds 0 and is too wide.

Of 1,000 made-up experiments without a difference, 4 % see one where differences vary by 1.3 points over seeds, as
between training seeds of the default student, and 6 % where they vary by 2.5 (`tests/test_verdicts.py`). A true
difference of four points is found by 75 % and by 63 % of them.
"""


def interval(one: Mapping[str, float]) -> str:
    value, half_width = one["value"], one["half_width"]
    return f"{value:+.1f} ({value - half_width:+.1f} to {value + half_width:+.1f})"


def results_as_tables(experiment: Experiment, results: Mapping[str, Any]) -> list[str]:
    arms = []
    for arm in experiment.arms:
        if not (runs := [run for run in results["runs"] if run["arm"] == arm]):
            continue
        of = {key: [run[key] for run in runs] for key in ("samples", "supervised_tokens", *COLUMNS)}
        sizes = [f"{sum(of[key]) / len(runs):,.0f}" for key in ("samples", "supervised_tokens")]
        scores = [f"{sum(of[key]) / len(runs):.1f} ({min(of[key]):.1f} to {max(of[key]):.1f})" for key in COLUMNS]
        arms.append((arm, len(runs), *sizes, *scores))
    differences = [
        (f"{one['a']} minus {one['b']}", one["seeds"], *(interval(one[column]) for column in COLUMNS), one["verdict"])
        for one in results["comparisons"]
    ]
    made_by = []
    for processor in dict.fromkeys(run["processor"] for run in results["runs"]):
        runs = [run for run in results["runs"] if run["processor"] == processor]
        of_arms, commits = (", ".join(dict.fromkeys(run[key] for run in runs)) for key in ("arm", "commit"))
        made_by.append(f"{processor} ({of_arms}; commits {commits})")
    return [
        "Macro-F1 in percent, the mean of the label tasks; its mean and range over seeds.",
        f"On {results['records']} records of the {results['split']} split. On {'; on '.join(made_by)}.",
        "",
        *compare.table(("arm", "seeds", "samples", "supervised tokens", *COLUMNS), arms),
        *compare.table(("difference", "seeds", *COLUMNS, "verdict"), differences),
    ]


def more_seeds(experiment: Experiment, found: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The seeds that the arms of comparisons with too wide an interval should have: one more, up to the most."""
    wide = [one for one in found if one["calibrated"]["half_width"] > experiment.half_width]
    return {
        arm: one["seeds"] + 1
        for one in sorted(wide, key=lambda one: one["seeds"])
        for arm in (one["a"], one["b"])
        if one["seeds"] < experiment.max_seeds
    }


def missing(experiment: Experiment, results: Mapping[str, Any]) -> list[str]:
    """Arms with the seeds that they should have and have not: "soft from seed 5"."""
    wanted = dict.fromkeys(experiment.arms, experiment.seeds)
    for arm, seeds in more_seeds(experiment, results["comparisons"]).items():
        wanted[arm] = max(wanted[arm], seeds)
    have = {arm: {run["seed"] for run in results["runs"] if run["arm"] == arm} for arm in experiment.arms}
    first = {arm: min(set(range(1, seeds + 1)) - have[arm], default=None) for arm, seeds in wanted.items()}
    return [f"{arm} from seed {seed}" for arm, seed in first.items() if seed]


def section(name: str, experiment: Experiment, results: Mapping[str, Any] | None) -> list[str]:
    """Lines about an experiment. `results` are those of experiments/NAME.json, None where there are none."""
    lines = [experiment.question, "", *([experiment.note.strip(), ""] if experiment.note else []), "```bash"]
    lines.append(f"make experiment NAME={name}  # {len(experiment.arms)} arms x {experiment.seeds} seeds")
    for arm in experiment.arms:
        settings = (part for setting in experiment.settings(arm, 1) for part in ("-S", setting))
        lines += [f"# {arm}, seed 1 by hand:", f"dvc exp run {shlex.join(settings)}"]
    lines += ["```", ""]
    why = f" {experiment.not_run}" if experiment.not_run else ""
    if results and (results["arms"], results["split"]) == (experiment.arms, experiment.split):
        lines += results_as_tables(experiment, results)
        if left := missing(experiment, results):
            lines += [f"Not run to its end: {', '.join(left)}.{why}", ""]
        return lines
    pairs = ", ".join(f"{a} minus {b}" for a, b in experiment.compare)
    state = "Not run since its arms were changed" if results else "Not run yet"
    cost = f"about {experiment.minutes} minutes on 2 cores (AVX2), more where seeds are added"
    return [*lines, f"Compares {pairs}. {state}: {cost}.{why}", ""]


def report(name: str, experiment: Experiment, results: Mapping[str, Any]) -> str:
    """experiments/NAME.md."""
    return "\n".join([f"# {name}", "", *section(name, experiment, results), f"![Differences]({name}.png)", ""])


def page(folder: Path = FOLDER) -> str:
    """docs/ablations.md; `folder` is experiments/."""
    lines = [ABOUT]
    for path in sorted(folder.glob("*.yaml")):
        found = path.with_suffix(".json")
        results = records.read_json(found) if found.exists() else None
        lines += [f"## {path.stem}", "", *section(path.stem, yaml_files.read(path, Experiment), results)]
    return "\n".join(lines)
