"""Supervised fine-tuning of the student on the teacher's answers, by TRL: of all weights or of an adapter (LoRA)."""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentidistill import records
from sentidistill.config.runtime import Runtime
from sentidistill.config.training import TrainStudent
from sentidistill.errors import SentiDistillError
from sentidistill.inference.packing.branches import attention
from sentidistill.inference.packing.prefix_tree import PrefixTree
from sentidistill.pipeline.progress import track
from sentidistill.student import processes
from sentidistill.student.rows import Tokenised

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


# The last file of a checkpoint, which is whole then: the random state that the order of its epoch's rows came from.
EPOCH_START = "whole"
# Folder beside the checkpoints: what a training by several processes, or of an adapter, ends with.
TRAINED = "trained"
LOSSES = "losses.json"
LOGGED = ("step", "loss", "learning_rate", "soft_share")


def weighted_loss(
    forward: Callable[..., Any], model: "PreTrainedModel", data: Tokenised, places: Sequence[int]
) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
    """Negative log-likelihoods of the answers of the rows at `places`, times their weights, summed.

    Also the logits that it comes from, and which of them are of rows with several answers. `forward` calls `model`.
    What answers have in common, their prompt above all, goes through it once.
    """
    import torch

    answers = [(place, ids, weight) for place in places for ids, weight in data.answers[place]]
    tree = PrefixTree.of([data.prompt_ids(place) + ids[:-1] for place, ids, _ in answers])
    sources = [place for path, (_, ids, _) in zip(tree.paths, answers) for place in path[len(path) - len(ids) :]]
    each = [(token, weight, len(data.answers[place]) > 1) for place, ids, weight in answers for token in ids]
    tokens, depths, predicting, targets, weights, several = (
        torch.tensor(one, device=model.device) for one in (tree.tokens, tree.depths, sources, *zip(*each))
    )
    kept, of_target = predicting.unique(return_inverse=True)
    logits = forward(
        input_ids=tokens[None],
        attention_mask=attention(model.config, tree.sees().to(model.device)[None], depths[None], model.dtype),
        position_ids=depths[None],
        use_cache=False,
        logits_to_keep=kept,
    ).logits[0]
    loss = -(logits.float().log_softmax(-1)[of_target, targets] * weights).sum()
    return loss, logits, torch.zeros_like(kept, dtype=torch.bool).scatter(0, of_target, several)


def with_adapter(model: "PreTrainedModel", params: TrainStudent) -> "PreTrainedModel | PeftModel":
    """What is trained: `model` itself or, with `train_student.lora`, an adapter put into it, and no other weight."""
    if params.lora is None:
        return model
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(params.seed)
    config = LoraConfig(
        r=params.lora.rank,
        lora_alpha=params.lora.alpha,
        lora_dropout=params.lora.dropout,
        target_modules=params.lora.target_modules,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise SentiDistillError(f"train_student.lora.target_modules: {error}") from error


def save_adapter(checkpoints: Path, out: Path, base: str) -> None:
    """The two files of a trained adapter, which say that it is one for the model `base`."""
    about = records.read_json(checkpoints / TRAINED / "adapter_config.json")
    about |= {"base_model_name_or_path": base, "target_modules": sorted(about["target_modules"])}
    records.write_json(out / "adapter_config.json", about)
    shutil.copy2(checkpoints / TRAINED / "adapter_model.safetensors", out)


def collected(
    load: Callable[[Path], "PreTrainedModel"], base: Path, params: TrainStudent, checkpoints: Path
) -> tuple["PreTrainedModel", list[dict[str, float]]]:
    """(trained model, rows of its logged steps) of the processes that `launch` has started."""
    folder = checkpoints / TRAINED
    losses = records.read_json(folder / LOSSES)
    if params.lora is None:
        return load(folder), losses
    from peft import PeftModel

    return PeftModel.from_pretrained(load(base), str(folder)).merge_and_unload(), losses


def train(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    data: Tokenised,
    params: TrainStudent,
    runtime: Runtime,
    *,
    max_length: int,
    checkpoints: Path,
    validate: Callable[[], float] | None = None,
) -> list[dict[str, float]]:
    """Fine-tune `model` in place; the loss falls on the answers alone. Returns a row per logged step.

    With soft targets, `soft_share` is what rows with several answers have in the gradient of the loss by the logits
    (sum of absolute values, mean over forward passes since the last row).
    An adapter (`with_adapter`) is merged at the end into the model that it was put into. It is kept in `checkpoints`,
    and so is what several processes have trained, each of which calls this function.
    With `params.keep` "best", `validate` scores `model` after each epoch, and the weights of the best one stay; its
    score is `validation_f1` of the last row.
    With `runtime.save_steps`, a checkpoint is kept in `checkpoints` so often; training goes on from the last whole one
    found there. Who has saved the model removes the folder.
    Raises `SentiDistillError` once a loss or a weight is not finite.
    """
    import torch
    from accelerate.utils import synchronize_rng_states
    from datasets import Dataset, disable_progress_bars
    from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class InSteps(SFTTrainer):
        """Rows of like length come together, in an order that is the same for any number of processes."""

        def _get_train_sampler(self, *arguments):
            sampler: Any = super()._get_train_sampler(*arguments)
            sampler.batch_size = params.batch_size
            return sampler

        def evaluate(self, *_, **__):
            assert validate is not None
            model.eval()
            found = {"eval_score": validate()}
            model.train()
            self.log(found)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
            return found

    class AnswersOnly(InSteps):
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
            # These are the tokens of all processes, and gradients are means over processes.
            return loss / num_items_in_batch * self.accelerator.num_processes

    class Weighted(InSteps):
        """The loss of `weighted_loss` over the number of answer tokens, as of rows with their own answer alone."""

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            places = inputs["rows"].tolist()
            loss, logits, several = weighted_loss(model, self.model, data, places)  # type: ignore[arg-type]

            def measure(gradient):
                size = gradient.float().abs().sum(-1)
                self._metrics["train"]["soft_share"].append(float(size[several].sum() / size.sum()))

            if params.targets == "soft":
                logits.register_hook(measure)
            return loss / num_items_in_batch * self.accelerator.num_processes

    def numbered(rows: list[dict]) -> dict[str, torch.Tensor]:
        """A batch for `Weighted`: the numbers of its rows, and all labels, by which the trainer counts tokens."""
        labels = [label for row in rows for label in row["labels"]]
        return {"rows": torch.tensor([row["row"] for row in rows]), "labels": torch.tensor([labels])}

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
            synchronize_rng_states(["torch"])
            self.start = torch.get_rng_state()

        def on_save(self, args, state, control, **_):
            trainer.accelerator.wait_for_everyone()
            if not state.is_world_process_zero:
                return
            ended = state.epoch == int(state.epoch)
            start = torch.get_rng_state() if ended else self.start
            path = checkpoints / f"checkpoint-{state.global_step}" / EPOCH_START
            records.write_bytes(path, start.numpy().tobytes())

    disable_progress_bars()

    on_cpu, best = model.device.type == "cpu", params.keep == "best"
    packing = runtime.train.packing and not data.weighted
    saved_by = "epoch" if best else "steps" if runtime.save_steps else "no"
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
        gradient_accumulation_steps=processes.passes(params.batch_size, runtime.train_rows_per_step),
        train_sampling_strategy="group_by_length",
        max_length=None if packing else max_length,
        completion_only_loss=True,
        padding_free=packing,  # the rows of a step stay as many; with `packing`, TRL would make a row of several
        use_cpu=on_cpu,
        bf16=not on_cpu,
        gradient_checkpointing=runtime.gradient_checkpointing,
        logging_steps=5,
        logging_first_step=True,
        eval_strategy="epoch" if best else "no",
        load_best_model_at_end=best,
        metric_for_best_model="score",
        save_strategy=saved_by,
        save_steps=runtime.save_steps or 500,
        save_total_limit=2,  # one is whole while another is written or removed; the best one stays beside
        seed=params.seed,
        data_seed=params.seed,
        remove_unused_columns=not data.weighted,
        report_to="none",
        disable_tqdm=True,
    )
    if config.n_gpu > 1:
        config._n_gpu = 1  # one process trains on one; of several GPUs it would make threads, which TRL refuses
    columns: dict[str, list] = {"input_ids": data.input_ids, "completion_mask": data.completion_mask}
    if data.weighted:
        columns["row"] = list(range(len(data.input_ids)))
    dataset = Dataset.from_dict(columns)
    model.train()
    checkpoint = last_whole(checkpoints)
    trainer = (Weighted if data.weighted else AnswersOnly if on_cpu else InSteps)(
        model=model,
        args=config,
        train_dataset=dataset,
        eval_dataset=dataset.select([0]) if best else None,  # which the library asks for, and `evaluate` does not
        processing_class=tokenizer,
        callbacks=[RowOrder(checkpoint)],
    )
    if params.patience:
        trainer.add_callback(EarlyStoppingCallback(params.patience))
    if data.weighted:
        trainer.data_collator = numbered
    trainer.remove_callback(PrinterCallback)
    if processes.is_first():
        trainer.add_callback(Progress())
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model.eval()
    if not all(bool(weights.isfinite().all()) for weights in model.parameters()):
        raise _not_finite("a weight of the trained student is not a finite number")
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    losses = [{name: entry[name] for name in LOGGED if name in entry} for entry in log]
    if best:
        losses[-1]["validation_f1"] = float(trainer.state.best_metric or 0)
    if processes.launched() or params.lora:
        trainer.save_model(str(checkpoints / TRAINED))
    if processes.launched() and processes.is_first():
        records.write_json(checkpoints / TRAINED / LOSSES, losses)
    if params.lora:
        model.merge_and_unload()  # type: ignore[operator]  # which PeftModel hands on
    return losses


def last_whole(checkpoints: Path) -> Path | None:
    """The last checkpoint that was written to its end."""
    whole = [path.parent for path in checkpoints.glob(f"checkpoint-*/{EPOCH_START}")]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def _not_finite(what: str) -> SentiDistillError:
    return SentiDistillError(f"train_student: {what}; lower train_student.learning_rate, or max_grad_norm")
