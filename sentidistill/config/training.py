"""`train_student`."""

from typing import Annotated, Literal

from sentidistill.config.rules import PartAboveZero, Section, Seed, Share, above, real, whole


class TrainStudent(Section):
    targets: Literal["hard", "soft"]
    own_labels: Annotated[float, real(0, 1_000)]
    epochs: Annotated[float, above(0, 1_000)]
    learning_rate: PartAboveZero
    batch_size: Annotated[int, whole(1, 1_000_000)]
    weight_decay: Annotated[float, real(0, 10)]
    warmup_ratio: Share
    max_grad_norm: Annotated[float, above(0, 1_000_000)]
    max_failure_rate: Share
    seed: Seed
