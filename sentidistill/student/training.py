"""Supervised fine-tuning of the student on the teacher's answers, by TRL."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sentidistill import records
from sentidistill.config.prompting import PromptFormat
from sentidistill.config.runtime import Runtime
from sentidistill.config.training import TrainStudent
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline.progress import track
from sentidistill.prompts import Prompt
from sentidistill.samples import TrainRow, fit

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


# The last file of a checkpoint: the random state that the order of its epoch's rows was drawn from.
EPOCH_START = "epoch_start.state"


@dataclass(frozen=True)
class Tokenised:
    """Rows as token ids. `completion_mask` is 1 on the answer and its end, 0 on the prompt.

    `prompts`: with the demonstrations that are shown. `truncated`: rows that lost some; `dropped`: rows left out.
    """

    prompts: list[Prompt]
    input_ids: list[list[int]]
    completion_mask: list[list[int]]
    truncated: int
    dropped: int


def tokenise(
    rows: Sequence[TrainRow], tokenizer: "PreTrainedTokenizerBase", prompt_format: PromptFormat, max_length: int
) -> Tokenised:
    """Ids of every row that fits into `max_length` tokens, as `samples.fit` makes it fit."""
    fitted = (fit(row.prompt(), row.answer, tokenizer, prompt_format, max_length) for row in rows)
    kept = [one for one in fitted if one is not None]
    return Tokenised(
        prompts=[one.prompt for one in kept],
        input_ids=[one.prompt_ids + one.completion_ids for one in kept],
        completion_mask=[[0] * len(one.prompt_ids) + [1] * len(one.completion_ids) for one in kept],
        truncated=sum(one.truncated for one in kept),
        dropped=len(rows) - len(kept),
    )


def train(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    data: Tokenised,
    params: TrainStudent,
    runtime: Runtime,
    *,
    max_length: int,
    checkpoints: Path,
) -> list[dict[str, float]]:
    """Fine-tune `model` in place; the loss falls on the answers alone. Returns a row per logged step.

    With `runtime.save_steps`, a checkpoint is kept in `checkpoints` so often; training goes on from the last whole one
    found there. Who has saved the model removes the folder.
    Raises `SentiDistillError` once a loss or a weight is not finite.
    """
    import torch
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class AnswersOnly(SFTTrainer):
        """The same loss, with the vocabulary's logits of those positions alone that predict an answer's token.

        Without Triton, TRL computes the logits of every position, which takes a third of a step.
        """

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels = inputs.pop("labels")
            scored = (labels != -100).any(0).nonzero()[:, 0]
            logits = model(**inputs, logits_to_keep=scored - 1, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(
                logits.float().flatten(0, 1), labels[:, scored].flatten(), reduction="sum"
            )
            return loss / num_items_in_batch

    class Progress(TrainerCallback):
        """Our progress display in place of the library's."""

        def on_train_begin(self, args, state, control, **_):
            self.shown = track("train_student, steps", state.max_steps)
            self.tracker = self.shown.__enter__()
            self.tracker.advance(state.global_step, hits=state.global_step)

        def on_step_end(self, args, state, control, **_):
            self.tracker.advance()

        def on_log(self, args, state, control, logs=None, **_):
            if not math.isfinite(loss := (logs or {}).get("loss", 0.0)):
                raise _not_finite(f"the loss of step {state.global_step} is {loss}")

        def on_train_end(self, args, state, control, **_):
            self.shown.__exit__(None, None, None)

    class RowOrder(TrainerCallback):
        """Rows come in the same order after a kill within an epoch: it is drawn from torch's random state."""

        def __init__(self, checkpoint: Path | None):
            self.saved = (checkpoint / EPOCH_START).read_bytes() if checkpoint else None

        def on_epoch_begin(self, args, state, control, **_):
            if self.saved:
                torch.set_rng_state(torch.frombuffer(bytearray(self.saved), dtype=torch.uint8))
                self.saved = None
            self.start = torch.get_rng_state()

        def on_save(self, args, state, control, **_):
            ended = state.epoch == int(state.epoch)
            start = torch.get_rng_state() if ended else self.start
            path = checkpoints / f"checkpoint-{state.global_step}" / EPOCH_START
            records.write_bytes(path, start.numpy().tobytes())

    disable_progress_bars()

    on_cpu = model.device.type == "cpu"
    checkpoints.mkdir(parents=True, exist_ok=True)
    config = SFTConfig(
        output_dir=str(checkpoints),
        num_train_epochs=params.epochs,
        learning_rate=params.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=params.warmup_ratio,  # transformers 5 takes a share below 1 here
        weight_decay=params.weight_decay,
        max_grad_norm=params.max_grad_norm,
        per_device_train_batch_size=runtime.train_rows_per_step,
        gradient_accumulation_steps=params.batch_size // runtime.train_rows_per_step,
        train_sampling_strategy="group_by_length",
        max_length=max_length,
        completion_only_loss=True,
        packing=False,
        use_cpu=on_cpu,
        bf16=not on_cpu,
        gradient_checkpointing=runtime.gradient_checkpointing,
        logging_steps=5,
        logging_first_step=True,
        save_strategy="steps" if runtime.save_steps else "no",
        save_steps=runtime.save_steps or 500,
        save_total_limit=2,  # one is whole while another is written or removed
        seed=params.seed,
        data_seed=params.seed,
        report_to="none",
        disable_tqdm=True,
    )
    if config.n_gpu > 1:
        config._n_gpu = 1  # one process trains on one; of several GPUs it would make threads, which TRL refuses
    dataset = Dataset.from_dict({"input_ids": data.input_ids, "completion_mask": data.completion_mask})
    model.train()
    checkpoint = last_whole(checkpoints)
    trainer = (AnswersOnly if on_cpu else SFTTrainer)(
        model=model,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[Progress(), RowOrder(checkpoint)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    model.eval()
    if not all(bool(weights.isfinite().all()) for weights in model.parameters()):
        raise _not_finite("a weight of the trained student is not a finite number")
    return [
        {"step": entry["step"], "loss": entry["loss"], "learning_rate": entry["learning_rate"]}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


def last_whole(checkpoints: Path) -> Path | None:
    """The last checkpoint that was written to its end."""
    whole = [path.parent for path in checkpoints.glob(f"checkpoint-*/{EPOCH_START}")]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def _not_finite(what: str) -> SentiDistillError:
    return SentiDistillError(f"train_student: {what}; lower train_student.learning_rate, or max_grad_norm")
