"""`train_student`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from sentidistill.config.rules import PartAboveZero, Section, Seed, Share, above, real, whole, without_faults
from sentidistill.yaml_files import shown


def _modules(found: Any) -> Any:
    named = isinstance(found, list) and found and all(isinstance(name, str) and name for name in found)
    if not named and found != "all-linear":
        raise ValueError(f"expected all-linear or a list of names such as [q_proj, v_proj], found {shown(found)}")
    return found


class Lora(Section):
    rank: Annotated[int, whole(1, 10_000)]
    alpha: Annotated[int, whole(1, 1_000_000)]
    dropout: Annotated[float, real(0, 0.9)]
    target_modules: Annotated[str | list[str], BeforeValidator(_modules)]


class TrainStudent(Section):
    targets: Literal["hard", "soft"]
    own_labels: Annotated[float, real(0, 1_000)]
    epochs: Annotated[float, above(0, 1_000)]
    learning_rate: PartAboveZero
    batch_size: Annotated[int, whole(1, 1_000_000)]
    weight_decay: Annotated[float, real(0, 10)]
    warmup_ratio: Share
    max_grad_norm: Annotated[float, above(0, 1_000_000)]
    keep: Literal["last", "best"]
    patience: Annotated[int, whole(0, 1_000)]
    lora: Lora | None
    max_failure_rate: Share
    seed: Seed

    @model_validator(mode="after")
    def _consistent(self) -> "TrainStudent":
        return without_faults(self, {"patience needs keep: best": self.patience and self.keep == "last"})
