"""A finished student goes on with labels of your own: `make adapt LABELLED=few.csv`, in a few minutes.

python -m sentidistill.commands.adapt few.csv [--task NAME] [--instruction "..."] [--out models/adapted]

The student is trained on the labelled texts, in the words of its task; with `--instruction`, on a task that it does not
know yet. It is written to a folder that `sentidistill.predict` takes as it takes models/student. Every fifth text, by
content hash, is kept out of training. The gain, and how sure the answers are, is measured on the texts kept out. Of
fewer than 25 texts none is kept out. The label bias of the task is measured on the texts that were trained on; that of
other tasks stays as it was.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.table import Table

from sentidistill import config, records
from sentidistill.commands.arguments import at_least
from sentidistill.config.rules import TASK_NAME
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.metrics import draws_of, macro_f1, score
from sentidistill.evaluation.tasks import EvaluationTask
from sentidistill.inference.calibration import fit, fit_temperature, normalised
from sentidistill.pipeline import stage
from sentidistill.samples import labelled_rows
from sentidistill.sources import corpus, models
from sentidistill.sources.tables import Source, at, names
from sentidistill.student import checks, folder, training
from sentidistill.student.rows import tokenise

KEPT_OUT = 5  # every fifth text
LEAST = 25  # texts; of fewer, none is kept out
SAMPLES = 2000  # resampled texts of an interval
LEAST_MEASURED = 20  # texts kept out; of fewer, a temperature would be chance
ROWS = 480  # to be read in training, as long as this is between so many epochs; chosen on validation texts
FEWEST_EPOCHS, MOST_EPOCHS = 3.0, 12.0

OF_PIPELINE = ("teacher", "student_base", "student", "proxy", "embedder")  # folders of models/ that stages write

Labelled = list[tuple[str, str]]  # texts with their labels


def parts(rows: Iterable[tuple[str, str]], task: EvaluationTask) -> tuple[Labelled, Labelled]:
    """(texts to train on, texts kept out), clean, each once, by their content hash."""
    labelled = ((text, task.gold_label({"label": label})) for text, label in rows)
    found, _ = corpus.distinct(labelled, min_chars=1, max_chars=sys.maxsize)
    if len(found) < LEAST:
        return found, []
    return [row for place, row in enumerate(found) if place % KEPT_OUT], found[::KEPT_OUT]


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="adapt", description="A finished student goes on with labels of your own.")
    made.add_argument("labelled", type=Path, help=".csv, .tsv, .jsonl or .parquet")
    made.add_argument("--text-field", default="text", help="column of the texts (%(default)s)")
    made.add_argument("--label-field", default="label", help="column of the labels (%(default)s)")
    made.add_argument("--task", default="sentiment", help="what is labelled; one that the student knows, or a new name")
    made.add_argument("--instruction", help="of a new task: what is to be told of a text")
    made.add_argument("--model", type=Path, default=Path("models/student"), help="(%(default)s)")
    made.add_argument("--out", type=Path, default=Path("models/adapted"), help="(%(default)s)")
    made.add_argument("--epochs", type=at_least(0.01), help="(from 12 for a few texts to 3 for many)")
    made.add_argument("--learning-rate", type=at_least(0.0), default=1e-4, help="(%(default)s)")
    made.add_argument("--seed", type=at_least(0, 2**32 - 1), default=42, help="(%(default)s)")
    return made


def task_of(about: folder.About, name: str, instruction: str | None, labels: Sequence[str]) -> EvaluationTask:
    """Raises `SentiDistillError` for a name that says nothing, and for labels that the student's task does not have."""
    if instruction:
        if name in about.tasks:
            raise SentiDistillError(f"{name!r} is a task that the student knows; give the new one another name")
        if not re.fullmatch(TASK_NAME, name) or name == "error":  # names of columns
            raise SentiDistillError(
                f"{name!r} is no name of a task: small letters, digits and _, a letter first; and not 'error'"
            )
        made = EvaluationTask(name, instruction, "Answer", tuple(sorted({label.strip() for label in labels})))
        twins = [label for label in made.labels if not label or made.find(label) != label]
        if twins:
            raise SentiDistillError(
                f"label {twins[0]!r} is empty, or {made.find(twins[0])!r} in another case or with other blanks; mend it"
            )
        return made
    if name not in about.tasks:
        raise SentiDistillError(
            f"the student does not know {name!r}; it knows {', '.join(about.tasks)}; tell a new task by --instruction"
        )
    known = about.tasks[name]
    task = EvaluationTask(name, known.instruction, known.cue, tuple(known.labels))
    if unknown := sorted({label for label in labels if task.find(label) is None}):
        raise SentiDistillError(
            f"label {unknown[0]!r} is none of {name}'s: {', '.join(task.labels)}; mend it, or tell a new task by "
            "--task NAME --instruction"
        )
    return task


def check_columns(source: Source, label_field: str) -> None:
    """Raises `SentiDistillError` where the column of the texts or of the labels is not in the file."""
    source.columns()
    rows = [row.values for row in source.rows() if row.values]
    if all(at(values, label_field) is None for values in rows):
        raise SentiDistillError(
            f"{source.path}: no column {label_field!r}; it has {names(rows[0])}; name it by --label-field"
        )


def of_several_labels(rows: Iterable[tuple[str, str]], task: EvaluationTask) -> list[str]:
    """The texts that have different labels, each once."""
    found: dict[str, dict[str | None, str]] = {}  # by text and label
    for text, label in rows:
        cleaned = corpus.clean(text)
        found.setdefault(corpus.text_id(cleaned), {}).setdefault(task.find(label), cleaned)
    return [next(iter(labels.values())) for labels in found.values() if len(labels) > 1]


def adapt(chosen: argparse.Namespace) -> tuple[list[tuple[str, dict]], str]:
    """Train, and write the folder.

    Returns (name, scores) of the student before and after, on the texts kept out, and what to make of them.
    """
    if chosen.out.absolute() in [Path("models", name).absolute() for name in OF_PIPELINE]:
        raise SentiDistillError(f"{chosen.out} is what the pipeline has made; name another folder by --out")
    about = folder.read(chosen.model)
    if about is None:
        raise SentiDistillError(f"{chosen.model} has no {folder.FILE}; it is no student of this version: train one")
    source = Source(chosen.labelled, chosen.text_field, recode="save the file in UTF-8")
    check_columns(source, chosen.label_field)
    found, _ = corpus.read_rows(source, chosen.label_field)
    rows = [(text, label) for text, label, _ in found]
    task = task_of(about, chosen.task, chosen.instruction, [label for _, label in rows])
    if len(task.labels) < 2:
        raise SentiDistillError(f"{chosen.labelled}: all texts have one label; there is nothing to learn")
    learned, kept_out = parts(rows, task)
    if differing := of_several_labels(rows, task):
        print(f"{len(differing)} texts have more than one label, such as {differing[0][:80]!r}; one of them counts")
    params = config.load()
    runtime = params.runtime.model_copy(update={"save_steps": 0})
    epochs = chosen.epochs or min(MOST_EPOCHS, max(FEWEST_EPOCHS, ROWS / len(learned)))
    section = params.train_student.model_copy(
        update={"epochs": epochs, "learning_rate": chosen.learning_rate, "seed": chosen.seed}
        | {"keep": "last", "patience": 0}
    )
    tokenizer = models.open_tokenizer(chosen.model)
    to_learn = labelled_rows(task, learned)
    data = tokenise(to_learn, tokenizer, about.prompt_format, about.max_length)
    if not data.input_ids:
        raise SentiDistillError(f"{chosen.labelled}: no text fits into the student's {about.max_length} tokens")
    model = models.open_language_model(chosen.model, dtype="float32").to(models.device(runtime))  # type: ignore[arg-type]
    learner = training.with_adapter(model, section)
    stage.show("before the first step", {**checks.rows(data), **checks.check_memory(learner, data, runtime)})
    asked = folder.asking(model, tokenizer, about, runtime.batch_tokens)

    def scored(texts: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        return folder.label_scores(*asked, task, texts)

    before, gold = scored(kept_out)
    with TemporaryDirectory() as checkpoints:
        training.train(
            learner, tokenizer, data, section, runtime, max_length=about.max_length, checkpoints=Path(checkpoints)
        )
    after, _ = scored(kept_out)
    offsets, _ = fit(*scored(folder.spread(learned)))
    after = normalised(after) - offsets
    temperature = fit_temperature(after, gold) if len(gold) >= LEAST_MEASURED else 1.0
    known = folder.known_task(task, offsets, temperature)
    student = params.student.model_copy(update={"prompt_format": about.prompt_format, "max_length": about.max_length})
    with records.whole_folder(chosen.out) as out:
        folder.save(out, model, tokenizer, about.prompt_format, chosen.model)
        folder.describe(out, student, {**about.tasks, task.name: known})
    if not len(gold):
        return [], f"trained on all texts; with {LEAST} or more, every fifth would tell what was gained"
    known_offsets = about.tasks[task.name].offsets if task.name in about.tasks else 0.0
    meant = [{"label": task.labels[place]} for place in gold]
    answers = {"before": (normalised(before) - known_offsets).argmax(axis=1), "after": after.argmax(axis=1)}
    said = {name: [task.labels[one] for one in places] for name, places in answers.items()}
    scores = [(name, score(task, meant, labels)) for name, labels in said.items()]
    right, draws = [one["label"] for one in meant], draws_of(task.name, len(gold), SAMPLES)
    first, second = (macro_f1(task.labels, right, labels, draws) for labels in said.values())
    return scores, verdict((second - first).rounded(), len(gold), chosen.model)


def verdict(gain: Mapping[str, float], texts: int, model: Path) -> str:
    """What the gain in macro-F1 (points, with its interval) says of the new folder."""
    moved = f"{gain['main']:+.1f} points ({gain['low']:+.1f} to {gain['high']:+.1f}) on {texts} texts"
    if gain["low"] > 0:
        return f"better than {model}: {moved}"
    if gain["high"] < 0:
        return f"worse than {model}, so keep that one: {moved}"
    return f"not shown to be better or worse than {model}: {moved}; more labelled texts tell more"


def main(*arguments: str) -> None:
    chosen = options().parse_args(arguments)
    found, said = adapt(chosen)
    table = Table(
        "student", "texts kept out", "macro-F1", "accuracy", title=stage.visible(f"{chosen.task}, {chosen.out}")
    )
    for name, scores in found:
        table.add_row(name, str(scores["records"]), f"{scores['macro_f1']:.1f}", f"{scores['accuracy']:.1f}")
    if found:
        stage.console().print(table)
    print(f"{chosen.out}: {said}")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
