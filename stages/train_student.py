"""train set -> models/student/, and plots/training_loss.csv (step, loss, learning_rate; with soft targets also
soft_share, what rows with soft labels have in the gradient).

With train_student.own_labels, the training texts of the user's own tasks are learned, too. The folder has safetensors,
tokenizer and sentidistill.json: how sentiment and the user's own tasks are asked, with offsets and temperature of their
labels from validation texts. With train_student.lora, models/student/adapter has what the safetensors have merged into
the base. With runtime.train, several processes train, and this one goes on with what they have left.
"""

from pathlib import Path
from statistics import mean

import pandas as pd

from sentidistill import config, records
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS, VALIDATION
from sentidistill.evaluation.tasks import OWN_TEXTS, TaskTexts, wording
from sentidistill.inference.calibration import fit
from sentidistill.inference.requests import answer
from sentidistill.pipeline import stage
from sentidistill.samples import SOFT_LABELS, TRAIN_ROWS, labelled_rows
from sentidistill.sources import models
from sentidistill.student import checks, folder, processes, training
from sentidistill.student.checkpoints import held
from sentidistill.student.rows import to_learn


def tasks_for_use() -> list[TaskTexts]:
    """Sentiment, with the validation texts of all default tasks, and the user's own tasks."""
    texts = [(row.sentence, row.label) for row in VALIDATION.read()]
    sentiment = TaskTexts(name="sentiment", **wording()["sentiment"], labels=SENTIMENTS, train=[], validation=texts)
    return [sentiment, *OWN_TEXTS.read()]


def main() -> None:
    params = config.load()
    section, student = params.train_student, params.student
    cache, base, tasks = stage.cache_root(), Path("models/student_base"), tasks_for_use()
    tokenizer = models.load_tokenizer(base, cache.parent)
    own = [row for task in tasks if section.own_labels for row in labelled_rows(task, task.train)]
    soft = [row for row in SOFT_LABELS.read() if section.targets == "soft"]
    form = (tokenizer, student.prompt_format, student.max_length)
    data, own_counts = to_learn(TRAIN_ROWS.read(), own, soft, section.own_labels, *form)
    counts = checks.rows(data) | own_counts
    scored = [task for task in tasks if task.validation and section.keep == "best"]
    if section.keep == "best" and not scored:
        raise SentiDistillError("train_student.keep: best needs validation texts, of prepare_benchmark.tasks or own")
    texts = [task.validation for task in scored]
    settings = section.model_dump(exclude={"max_failure_rate"})  # looked at after training
    key = records.content_id(models.identity(base), settings, data.input_ids, data.answers, texts)
    checkpoints, out = cache / "train" / key, Path("models/student")

    def asking(model):
        return folder.asking(model, tokenizer, student, params.runtime.batch_tokens)

    def measured(model, task):
        return folder.label_scores(*asking(model), task, folder.spread(task.validation))

    def validate(model):
        return mean(folder.macro_f1(*measured(model, task)) for task in scored)

    with held(checkpoints):
        model, losses = training.fine_tuned(
            base, tokenizer, data, params, counts, root=cache.parent, checkpoints=checkpoints, validate=validate
        )
        if processes.launched():
            return
        answers = answer(*asking(model), checks.probes(data, student.prompt_format))
        probed = checks.endings(answers, section.max_failure_rate)
        folder.save(out, model, tokenizer, student.prompt_format, models.locate(base, cache.parent))
        if section.lora:
            training.save_adapter(checkpoints, out / "adapter", models.name(base))
    table = pd.DataFrame(losses, columns=[name for name in training.LOGGED if name in losses[0]])
    records.write_text("plots/training_loss.csv", table.to_csv(index=False))
    folder.describe(out, student, {task.name: folder.known_task(task, *fit(*measured(model, task))) for task in tasks})
    learned = {"first_loss": losses[0]["loss"], "last_loss": losses[-1]["loss"]}
    learned |= {name: losses[-1][name] for name in ("validation_f1",) if name in losses[-1]}
    stage.finish("train_student", {**counts, **learned, **probed})


if __name__ == "__main__":
    stage.run(main)
