"""train set -> models/student/, and plots/training_loss.csv (step, loss, learning_rate; with soft targets also
soft_share, what rows with soft labels have in the gradient).

With train_student.own_labels, the training texts of the user's own tasks are learned, too.
The folder has safetensors, tokenizer and sentidistill.json: how sentiment and the user's own tasks are asked, with
offsets and temperature of their labels from validation texts. With train_student.lora, models/student/adapter has what
the safetensors have merged into the base. With runtime.train, several processes train, and this one goes on with what
they have left.
"""

import shutil
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sentidistill import config, records
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS, VALIDATION
from sentidistill.evaluation.tasks import OWN_TEXTS, TaskTexts, wording
from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.requests import Reader, Request, answer
from sentidistill.pipeline import stage
from sentidistill.prompts import stop_strings
from sentidistill.samples import SOFT_LABELS, TRAIN_ROWS, labelled_rows
from sentidistill.sources import models
from sentidistill.student import checks, folder, processes, training
from sentidistill.student.rows import to_learn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBES = 16


def tasks_for_use() -> list[TaskTexts]:
    """Sentiment, with the validation texts of all default tasks, and the user's own tasks."""
    texts = [(row.sentence, row.label) for row in VALIDATION.read()]
    sentiment = TaskTexts(name="sentiment", **wording()["sentiment"], labels=SENTIMENTS, train=[], validation=texts)
    return [sentiment, *OWN_TEXTS.read()]


def main() -> None:
    params = config.load()
    section, student, runtime = params.train_student, params.student, params.runtime
    cache, base = stage.cache_root(), Path("models/student_base")
    tokenizer = models.load_tokenizer(base, cache.parent)
    tasks = tasks_for_use()
    own = [row for task in tasks if section.own_labels for row in labelled_rows(task, task.train)]
    soft = [row for row in SOFT_LABELS.read() if section.targets == "soft"]
    rows, settings = TRAIN_ROWS.read(), (tokenizer, student.prompt_format, student.max_length)
    data = to_learn(rows, own, soft, section.own_labels, *settings)
    counts = checks.rows(data)
    if section.own_labels:
        used = len(data.prompts) - len(rows)
        counts |= {"own_rows": used, "own_rows_too_long": len(own) - used}
    validation = [task for task in tasks if task.validation] if section.keep == "best" else []
    if section.keep == "best" and not validation:
        raise SentiDistillError("train_student.keep: best needs validation texts, of prepare_benchmark.tasks or own")
    texts = [task.validation for task in validation]
    key = records.content_id(models.identity(base), section.model_dump(), data.input_ids, data.answers, texts)
    checkpoints = cache / "train" / key
    in_float32 = processes.own_device(runtime).model_copy(update={"dtype": "float32"})
    reader = Reader("", student.prompt_format, student.max_length, lambda: tokenizer)
    engine_of = partial(
        TransformersEngine, tokenizer=tokenizer, rows_per_batch=PROBES, batch_tokens=runtime.batch_tokens
    )

    def measured(model: "PreTrainedModel", task: TaskTexts) -> tuple[np.ndarray, np.ndarray]:
        return folder.measured(engine_of(model), reader, task, task.validation)

    load = partial(models.load_causal_lm, root=cache.parent, runtime=in_float32)
    if processes.several(runtime.train) and not processes.launched():
        processes.launch(runtime.train, "stages.train_student")  # each process comes here, too, and goes the other way
        model, losses = training.collected(load, base, section, checkpoints)
    else:
        model = load(base)
        learner = training.with_adapter(model, section)
        # What FSDP and DeepSpeed leave on each device, their file decides.
        needed = {} if runtime.train.config else checks.check_memory(learner, data, runtime)
        if processes.is_first():
            stage.show("before the first step", {**counts, **checks.special_tokens(data, tokenizer), **needed})
        losses = training.train(
            learner,
            tokenizer,
            data,
            section,
            runtime,
            max_length=student.max_length,
            checkpoints=checkpoints,
            validate=lambda: mean(folder.macro_f1(*measured(model, task)) for task in validation),
        )
    if processes.launched():
        return
    out = Path("models/student")
    folder.save(out, model, tokenizer, student.prompt_format)
    if section.lora:
        training.save_adapter(checkpoints, out / "adapter", models.name(base))
    shutil.rmtree(checkpoints, ignore_errors=True)
    table = pd.DataFrame(losses, columns=[name for name in training.LOGGED if name in losses[0]])
    records.write_text("plots/training_loss.csv", table.to_csv(index=False))
    known = {task.name: folder.known_task(task, *measured(model, task)) for task in tasks}
    folder.describe(out, student, known)
    stop = stop_strings(student.prompt_format)
    probes = [Request(one, max_new_tokens=96, stop=stop) for one in data.prompts[:PROBES]]
    ending = answer(engine_of(model), reader, probes)
    learned = {"first_loss": losses[0]["loss"], "last_loss": losses[-1]["loss"]}
    learned |= {name: losses[-1][name] for name in ("validation_f1",) if name in losses[-1]}
    stage.finish("train_student", {**counts, **learned, **checks.endings(ending, section.max_failure_rate)})


if __name__ == "__main__":
    stage.run(main)
