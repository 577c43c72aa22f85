"""The runs of an experiment: how DVC is asked for one, and what is kept of it in experiments/NAME/ARM-SEED.json.

What is kept is small and in git. So an experiment goes on in another clone and on another day, and its tables can be
made without DVC's cache.
"""

import io
import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml
from pydantic import ValidationError

from sentidistill import config, records, yaml_files
from sentidistill.commands.ablations import COLUMNS, FOLDER
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.metrics import Estimate, draws_of, macro_f1, mean
from sentidistill.evaluation.suite import Column
from sentidistill.evaluation.tasks import tasks_of
from sentidistill.pipeline import runs, stage
from sentidistill.records import Record

# What every arm starts from, unless its own settings change that.
STARTS = ("data/responses.jsonl", "models/student_base")


@dataclass(frozen=True)
class Trial:
    """An arm of an experiment with a seed, and its settings as `dvc exp run -S` takes them."""

    experiment: str
    arm: str
    seed: int
    settings: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.experiment}-{self.arm}-{self.seed}"

    @property
    def path(self) -> Path:
        return FOLDER / self.experiment / f"{self.arm}-{self.seed}.json"

    def command(self) -> list[str]:
        changes = [part for setting in self.settings for part in ("-S", setting)]
        return ["dvc", "exp", "run", "--queue", "--name", self.name, *changes]


class Answers(Record):
    """Of the records of a task in their order: the right label, the student's, and its calibrated one."""

    gold: list[str]
    output: list[str]
    calibrated: list[str]


class Kept(Record):
    """A trial that has run. `samples` are training rows, `supervised_tokens` those of their answers in all epochs.

    `settings` are all params but those of the machine, by dotted key, and `inputs` MD5s of what every arm starts from.
    """

    settings: dict[str, Any]
    inputs: dict[str, str]
    commit: str
    processor: str
    samples: int
    supervised_tokens: int
    tasks: dict[str, Answers]

    @property
    def records(self) -> int:
        return sum(len(answers.gold) for answers in self.tasks.values())


def output(*command: str) -> str:
    """What `command` prints. Raises `SentiDistillError` with what it says where it fails."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise SentiDistillError(f"experiment: `{shlex.join(command)}` failed: {result.stderr.strip()}")
    return result.stdout


@cache
def values_of(trial: Trial) -> dict[str, Any]:
    """params.yaml with the settings of `trial`, as DVC reads them. Raises `SentiDistillError` with what is wrong."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    where = f"experiments/{trial.experiment}.yaml, arm {trial.arm}"
    with TemporaryDirectory() as folder:
        path = shutil.copy("params.yaml", folder)
        try:
            apply_overrides(path, list(trial.settings))
        except DvcException as error:
            raise SentiDistillError(f"{where}: {str(error.__cause__ or error).splitlines()[0]}") from error
        values = yaml_files.read_yaml(path)
    config.checked(values, where)
    return values


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """All params but those of the machine, by dotted key, as JSON has them."""
    found = {key: value for key, value in stage.leaves(values) if not key.startswith("runtime.")}
    return json.loads(json.dumps(found))


def holds(settings: Mapping[str, Any], trial: Trial) -> bool:
    """Whether `settings` are those of `trial` now.

    A setting that did not exist then is no difference: with its default, a run is what it was before. What stands in a
    mapping that was empty then, such as select_samples.budget, is one.
    """
    now = settings_of(values_of(trial))
    parents = {key.rpartition(".")[0] for key in settings}
    filled = [
        key for key in now.keys() - settings.keys() if key.count(".") > 1 and key.rpartition(".")[0] not in parents
    ]
    return not filled and all(number(now.get(key, ...)) == number(value) for key, value in settings.items())


def number(value: Any) -> Any:
    """DVC writes a small number as 5e-05, which YAML reads as text."""
    if isinstance(value, Mapping):
        return {name: number(inner) for name, inner in value.items()}
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def stages_of(lock: str) -> dict[str, Any]:
    """The stages in the text of a dvc.lock. Raises `SentiDistillError` where it is damaged."""
    try:
        return yaml.safe_load(lock)["stages"]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise SentiDistillError(
            f"dvc.lock: damaged, or in conflict ({str(error).splitlines()[0]}); `git checkout dvc.lock`"
        ) from error


def inputs_of(lock: str) -> dict[str, str]:
    """MD5s of what every arm starts from, by the text of a dvc.lock. Raises `SentiDistillError` where it is damaged."""
    outs = [out for one in stages_of(lock).values() for out in one.get("outs", [])]
    return {one["path"]: one["md5"] for one in outs if one["path"] in STARTS or "data/benchmark/" in one["path"]}


def kept(trials: Sequence[Trial]) -> dict[Trial, Kept]:
    """What is kept of `trials` and still holds: with the settings and on the inputs of now.

    Raises `SentiDistillError` for a file that is damaged.
    """
    inputs = inputs_of(Path("dvc.lock").read_text(encoding="utf-8"))
    found = {one: read_kept(one.path) for one in trials if one.path.exists()}
    return {one: run for one, run in found.items() if run.inputs == inputs and holds(run.settings, one)}


def read_kept(path: Path) -> Kept:
    """A file of experiments/NAME/. Raises `SentiDistillError` where it is damaged."""
    try:
        return Kept.model_validate(records.read_json(path))
    except ValidationError as error:
        raise SentiDistillError(f"{path}: damaged; remove it, and the run is done again") from error


def take_over(trials: Sequence[Trial]) -> None:
    """Keep of `trials` what other experiments have kept of the same settings on the inputs of now.

    Raises `SentiDistillError` for a file that is damaged.
    """
    inputs, already = inputs_of(Path("dvc.lock").read_text(encoding="utf-8")), kept(trials)
    others = [run for path in sorted(FOLDER.glob("*/*.json")) if (run := read_kept(path)).inputs == inputs]
    for one in trials:
        same = next((run for run in others if holds(run.settings, one)), None)
        if same and one not in already:
            records.write_text(one.path, json.dumps(same.model_dump(), ensure_ascii=False))


def done(trials: Sequence[Trial]) -> dict[Trial, tuple[str, str]]:
    """Of the trials that DVC has run here, with their settings and on the inputs of now: start and result, as commits.

    Raises `SentiDistillError` where a name of theirs is taken here by a run with other settings.
    """
    from dvc.repo import Repo

    by_name, found = {one.name: one for one in trials}, {}
    here = inputs_of(Path("dvc.lock").read_text(encoding="utf-8"))
    with Repo(".") as repo:
        known = repo.experiments.ls(all_commits=True)
    for start, of_start in known.items():
        named = {by_name[name]: commit for name, commit in of_start if name in by_name}
        if not named or inputs_of(output("git", "show", f"{start}:dvc.lock")) != here:
            continue
        for one, commit in named.items():
            values = yaml.safe_load(output("git", "show", f"{commit}:params.yaml"))
            if not holds(settings_of(values), one):
                raise SentiDistillError(
                    f"experiment {one.name} was run with other settings than now; give the arm another name, or remove "
                    f"the run: `dvc exp remove --rev {start[:10]} {one.name}`"
                )
            found[one] = start, commit
    return found


def still_here(trials: Sequence[Trial]) -> dict[Trial, str]:
    """The commits of the trials whose students are in this clone. Raises `SentiDistillError` where none is."""
    found = {one: commit for one, (_, commit) in done(trials).items()}
    if not found:
        raise SentiDistillError(
            f"experiment {trials[0].experiment}: its students are not in this clone; remove the files of "
            f"{trials[0].path.parent} whose students you need, and run `make experiment NAME={trials[0].experiment}`"
        )
    return found


def keep_done(trials: Sequence[Trial]) -> None:
    """Keep what is not kept yet of the trials that DVC has run here."""
    already = kept(trials)
    for one, (start, commit) in done([one for one in trials if one not in already]).items():
        records.write_text(one.path, json.dumps(of_run(one, start, commit).model_dump(), ensure_ascii=False))


def of_run(trial: Trial, start: str, commit: str) -> Kept:
    """What the run of `trial` from the commit `start` has left in its own `commit`."""
    params = config.checked(values_of(trial), trial.name)
    answered = io.StringIO(output("git", "show", f"{commit}:metrics/predictions.csv"))
    rows = pd.read_csv(answered, dtype=str, keep_default_na=False).query("model == 'student'")
    tasks = {
        name: Answers(**rows.loc[rows["task"] == name, list(Answers.model_fields)].to_dict("list"))
        for name in params.evaluate.tasks
        if name not in SENTIBENCH
    }
    trained = json.loads(output("git", "show", f"{commit}:metrics/train_student.json"))
    return Kept(
        settings=settings_of(values_of(trial)),
        inputs=inputs_of(output("git", "show", f"{start}:dvc.lock")),
        commit=start[:10],
        processor=runs.processor() + (", training in bfloat16" if params.runtime.train.bf16 else ""),
        samples=trained["rows"],
        supervised_tokens=round(trained["supervised_tokens"] * params.train_student.epochs),
        tasks=tasks,
    )


def scores(trial: Trial, of_trial: Kept) -> dict[str, Estimate]:
    """The student's macro-F1 in percent, calibrated and plain, the mean over the label tasks."""
    params = config.checked(values_of(trial), trial.name)
    tasks, samples = tasks_of(params.prepare_benchmark), params.evaluate.bootstrap_samples

    def score(column: Column) -> Estimate:
        found = []
        for name, answers in of_trial.tasks.items():
            draws = draws_of(name, len(answers.gold), samples)
            found.append(macro_f1(tasks[name].labels, answers.gold, getattr(answers, column), draws))
        return mean(found)

    return {name: score(column) for name, column in COLUMNS.items()}
