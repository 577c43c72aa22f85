"""Rows that a training step reads per second on a CPU: our loss, the same with `runtime.train.bf16`, and TRL's own.

    python -m benchmarks.training [MODEL_FOLDER]     default: models/student_base

The same batches of the default run's training rows in one run, in turn, forward and backward. Run after `make repro`.
"""

import sys
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path
from unittest.mock import patch

from benchmarks.timing import faster, in_turn, rates
from sentidistill import config
from sentidistill.samples import TRAIN_ROWS
from sentidistill.sources import models
from sentidistill.student import training
from sentidistill.student.rows import tokenise

BATCHES, ROUNDS = 12, 5


def compare(trainer, **_) -> None:
    """In the place of `SFTTrainer.train`: time the losses on the first batches of the prepared trainer."""
    import torch
    from trl import SFTTrainer

    trainer.model.train()
    batches = list(islice(trainer.get_train_dataloader(), BATCHES))
    rows = sum(len(batch["input_ids"]) for batch in batches)

    def pass_over(kind: type, bf16: bool) -> None:
        for batch in batches:
            scored = (batch["labels"] != -100).sum()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = kind.compute_loss(trainer, trainer.model, dict(batch), num_items_in_batch=scored)
            loss.backward()
            trainer.model.zero_grad()

    kinds = {"ours": (type(trainer), False), "bf16": (type(trainer), True), "TRL's": (SFTTrainer, False)}
    calls = {name: partial(pass_over, *kind) for name, kind in kinds.items()}
    in_turn(1, calls)
    seconds = in_turn(ROUNDS, calls)
    print(f"{rows} rows in batches of {len(batches[0]['input_ids'])}: {rates(seconds, rows)} rows/s")
    for one, other in (("ours", "TRL's"), ("bf16", "ours")):
        print(f"  {faster(seconds, one, other)}")


def main(folder: str = "models/student_base") -> None:
    import trl

    params = config.load()
    model = models.load_causal_lm(Path(folder), Path(), params.runtime)
    tokenizer = models.load_tokenizer(Path(folder), Path())
    rows = TRAIN_ROWS.read()
    data = tokenise(rows, tokenizer, params.student.prompt_format, params.student.max_length)
    with tempfile.TemporaryDirectory() as checkpoints, patch.object(trl.SFTTrainer, "train", compare):
        training.train(
            model,
            tokenizer,
            data,
            params.train_student,
            params.runtime.model_copy(update={"save_steps": 0}),
            max_length=params.student.max_length,
            checkpoints=Path(checkpoints) / "c",
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
