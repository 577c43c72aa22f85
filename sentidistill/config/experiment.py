"""`experiments/NAME.yaml`: a question, the runs that answer it and what is compared, decided before anything runs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sentidistill.config.rules import Line, Positive, Section, TaskName, Text, above, text, whole, without_faults

SEEDED = ("select_samples.seed", "train_student.seed")
Setting = Annotated[str, text(r"[a-z_]+(\.\w+)+=[^\n]{1,300}", "a setting as of `dvc exp run -S`, section.key=value")]


class Experiment(Section):
    """What docs/ablations.md says of each key."""

    question: Line
    split: Literal["validation", "test"]
    arms: Annotated[dict[TaskName, list[Setting]], Field(min_length=2)]
    compare: Annotated[list[tuple[TaskName, TaskName]], Field(min_length=1)]
    seeds: Annotated[int, whole(2, 100)] = 3
    max_seeds: Annotated[int, whole(2, 100)] = 8
    half_width: Annotated[float, above(0, 100)] = 4.0
    minutes: Positive
    note: Text | None = None
    not_run: Line | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        compared = {arm for pair in self.compare for arm in pair}
        unknown, alone = sorted(compared - set(self.arms)), sorted(set(self.arms) - compared)
        keys = {setting.partition("=")[0] for arm in self.arms.values() for setting in arm}
        own = {key for key in keys if key in SEEDED or key.startswith("evaluate.")}
        machine = {key for key in keys if key.startswith("runtime.")}
        faults = {
            f"compare names {', '.join(unknown)}: no such arm": unknown,
            f"compare leaves out {', '.join(alone)}": alone,
            "compare has an arm beside itself": any(a == b for a, b in self.compare),
            f"max_seeds ({self.max_seeds}) is below seeds ({self.seeds})": self.max_seeds < self.seeds,
            f"arms set {', '.join(sorted(own))}, which all arms have in common; take it out of the arms": own,
            f"arms set {', '.join(sorted(machine))}, of the machine, by which no runs are told apart": machine,
        }
        return without_faults(self, faults)

    def settings(self, arm: str, seed: int) -> list[str]:
        """All settings of an arm's run, as `dvc exp run -S` takes them."""
        return [*self.arms[arm], f"evaluate.split={self.split}", *(f"{key}={seed}" for key in SEEDED)]
