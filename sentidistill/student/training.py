"""Supervised fine-tuning of the student on the teacher's answers, by TRL: of all weights or of an adapter (LoRA)."""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sentidistill import records
from sentidistill.config import Params
from sentidistill.config.runtime import Runtime
from sentidistill.config.training import TrainStudent
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.sources import models
from sentidistill.student import checks, processes
from sentidistill.student.checkpoints import LOSSES, TRAINED, last_whole
from sentidistill.student.rows import Tokenised

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import SFTConfig

LOGGED = ("step", "loss", "learning_rate", "soft_share")


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


def fine_tuned(
    base: Path,
    tokenizer: "PreTrainedTokenizerBase",
    data: Tokenised,
    params: Params,
    counts: Mapping[str, int],
    *,
    root: Path,
    checkpoints: Path,
    validate: Callable[["PreTrainedModel"], float],
) -> tuple["PreTrainedModel", list[dict[str, float]]]:
    """(trained model, rows of its logged steps) of this process, or of those that `runtime.train` asks for.

    These are started, come here, too, and train; the process that has started them goes on with what they have left.
    `counts` are shown before the first step. For the rest see `train`.
    """
    section, runtime = params.train_student, params.runtime
    in_float32 = processes.own_device(runtime).model_copy(update={"dtype": "float32"})
    load = partial(models.load_causal_lm, root=root, runtime=in_float32)
    if processes.several(runtime.train) and not processes.launched():
        processes.launch(runtime.train, "stages.train_student")
        return collected(load, base, section, checkpoints)
    model = load(base)
    learner = with_adapter(model, section)
    # What FSDP and DeepSpeed leave on each device, their file decides.
    needed = {} if runtime.train.config else checks.check_memory(learner, data, runtime)
    if processes.is_first():
        stage.show("before the first step", {**counts, **checks.special_tokens(data, tokenizer), **needed})
    losses = train(
        learner,
        tokenizer,
        data,
        section,
        runtime,
        max_length=params.student.max_length,
        checkpoints=checkpoints,
        validate=lambda: validate(model),
    )
    return model, losses


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
    from datasets import Dataset, disable_progress_bars
    from transformers import EarlyStoppingCallback, PrinterCallback

    from sentidistill.student.trainer import AnswersOnly, InSteps, Progress, RowOrder, Weighted, not_finite, numbered

    disable_progress_bars()
    on_cpu, best = model.device.type == "cpu", params.keep == "best"
    checkpoints.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list] = {"input_ids": data.input_ids, "completion_mask": data.completion_mask}
    if data.weighted:
        columns["row"] = list(range(len(data.input_ids)))
    dataset = Dataset.from_dict(columns)
    model.train()
    checkpoint = last_whole(checkpoints)
    kind = Weighted if data.weighted else AnswersOnly if on_cpu else InSteps
    trainer = kind(
        data,
        params,
        validate,
        model=model,
        args=_trl_settings(params, runtime, checkpoints, max_length, weighted=data.weighted, on_cpu=on_cpu),
        train_dataset=dataset,
        eval_dataset=dataset.select([0]) if best else None,  # which the library asks for, and `evaluate` does not
        processing_class=tokenizer,
        callbacks=[RowOrder(checkpoints, checkpoint)],
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
        raise not_finite("a weight of the trained student is not a finite number")
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


def _trl_settings(
    params: TrainStudent, runtime: Runtime, checkpoints: Path, max_length: int, *, weighted: bool, on_cpu: bool
) -> "SFTConfig":
    from trl import SFTConfig

    best, packing = params.keep == "best", runtime.train.packing and not weighted
    saved_by = "epoch" if best else "steps" if runtime.save_steps else "no"
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
        bf16=runtime.train.bf16 or not on_cpu,
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
        remove_unused_columns=not weighted,
        report_to="none",
        disable_tqdm=True,
    )
    if config.n_gpu > 1:
        config._n_gpu = 1  # one process trains on one; of several GPUs it would make threads, which TRL refuses
    return config
