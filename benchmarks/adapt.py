"""What a few labels of one's own are worth: python -m benchmarks.adapt [--sizes 20 100 500] [--out curves.csv]

Learning curves on the default tasks: the student after `make adapt`; a student that is trained on the labels together
with the teacher's answers, as `train_student.own_labels: 1` does (joined); the student's base, adapted in the same way;
TF-IDF and logistic regression; SetFit of the embedder if it is installed. Without labels (0), the student as it is.
Macro-F1 is a mean over tasks and seeds; its interval is over resampled texts and seeds.

The labels are those of VADER's rated texts, of which every class of every task has as many. None of them is a text of a
validation or test split, or nearly the same as one. Choose rate and epochs with `--split validation`.
Run after `make repro`; the whole takes a night on two cores. With `--out`, the rows of several runs come together in a
file, beside which a figure shows the curves.
"""

import argparse
import csv
import importlib.util
import random
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from sentidistill import config, records
from sentidistill.commands import adapt
from sentidistill.evaluation import baselines, sentibench
from sentidistill.evaluation.default_tasks import SENTIMENTS, label
from sentidistill.evaluation.metrics import confusion, confusion_cells, f1_by_class
from sentidistill.evaluation.tasks import EvaluationTask, wording
from sentidistill.inference.calibration import fit
from sentidistill.pipeline import stage
from sentidistill.predict import Predictor
from sentidistill.report import figures
from sentidistill.samples import TRAIN_ROWS, labelled_rows
from sentidistill.sources import corpus, models
from sentidistill.student import folder, training
from sentidistill.student.rows import to_learn

TASK = EvaluationTask("sentiment", **wording()["sentiment"], labels=SENTIMENTS)
BASE = Path("models/student_base")
LEARNERS = ["student", "joined", "base", "TF-IDF", *(["SetFit"] if importlib.util.find_spec("setfit") else [])]
ALL_PAIRS = 100  # texts; of more, SetFit is not trained on all pairs
DRAWS = 2000  # of the bootstrap
COLUMNS = ["labels", "learner", "macro_f1", "low", "high", "seeds"]
Labelled = list[tuple[str, str]]  # texts with their labels
Learner = Callable[[Labelled, int, Sequence[str]], list[str]]  # (labelled texts, seed, texts) -> their labels


def cells(params: config.Params) -> list[Labelled]:
    """The labelled texts that there are to learn from, by task and class, without what is held out."""
    section, found = params.prepare_benchmark, []
    held_out = [
        row["sentence"]
        for path in sorted(Path("data/benchmark").glob("*/*.jsonl"))
        if path.stem != "train"
        for row in sentibench.read(path)
    ]
    for file in section.tasks.values():
        rated = corpus.rated_sentences(params.vader, stage.cache_root() / "downloads", file)
        rows, _ = corpus.distinct(((row.text, row.rating) for row in rated), section.min_chars, section.max_chars)
        near = corpus.near_duplicates(
            [text for text, _ in rows], held_out, params.prepare_corpus.near_duplicate_similarity
        )
        usable = [
            (text, label(rating, section.negative_below, section.positive_above))
            for (text, rating), bad in zip(rows, near)
            if not bad
        ]
        found += [[row for row in usable if row[1] == name] for name in SENTIMENTS]
    return found


def drawn(pool: Sequence[Labelled], size: int, seed: int) -> Labelled:
    """`size` texts, of each part of the `pool` as many; those of a smaller size are among those of a larger one."""
    draw = random.Random(seed)
    shuffled = [draw.sample(rows, len(rows)) for rows in draw.sample(pool, len(pool))]
    return [row for row in chain.from_iterable(zip_longest(*shuffled)) if row][:size]


def adapted(model: Path, options: Sequence[str]) -> Learner:
    """What `make adapt` makes of the student in `model`."""

    def learn(labelled: Labelled, seed: int, texts: Sequence[str]) -> list[str]:
        with TemporaryDirectory() as place:
            file, out = Path(place, "few.csv"), Path(place, "adapted")
            with file.open("w", newline="", encoding="utf-8") as opened:
                csv.writer(opened).writerows([("text", "label"), *labelled])
            arguments = [str(file), "--model", str(model), "--out", str(out), "--seed", str(seed), *options]
            adapt.adapt(adapt.options().parse_args(arguments))
            return answers(out, texts)

    return learn


def joined(params: config.Params) -> Learner:
    """What a whole training makes of the labels and the teacher's answers; the label bias is that of `make adapt`."""

    def learn(labelled: Labelled, seed: int, texts: Sequence[str]) -> list[str]:
        form, length = params.student.prompt_format, params.student.max_length
        model = models.load_causal_lm(BASE, Path(), params.runtime.model_copy(update={"dtype": "float32"}))
        tokenizer = models.load_tokenizer(BASE, Path())
        own = labelled_rows(TASK, labelled)
        data, _ = to_learn(TRAIN_ROWS.read(), own, [], 1.0, tokenizer, form, length)
        section = params.train_student.model_copy(update={"seed": seed})
        with TemporaryDirectory() as place:
            checkpoints, out = Path(place, "checkpoints"), Path(place, "student")
            training.train(model, tokenizer, data, section, params.runtime, max_length=length, checkpoints=checkpoints)
            folder.save(out, model, tokenizer, form, BASE)
            asked = folder.asking(model, tokenizer, params.student, params.runtime.batch_tokens)
            offsets, _ = fit(*folder.label_scores(*asked, TASK, folder.spread(labelled)))
            folder.describe(out, params.student, {"sentiment": folder.known_task(TASK, offsets, 1.0)})
            return answers(out, texts)

    return learn


def answers(model: Path, texts: Sequence[str]) -> list[str]:
    return [str(one.answer) for one in Predictor(model).predict(list(texts))]  # type: ignore[union-attr]  # of several


def tfidf(labelled: Labelled, seed: int, texts: Sequence[str]) -> list[str]:
    return baselines.tfidf(TASK, texts, [{"sentence": text, "label": label} for text, label in labelled])


def setfit(labelled: Labelled, seed: int, texts: Sequence[str]) -> list[str]:
    """Tunstall et al. (2022), with the library's own settings; of many texts with their 20 pairs a text of each kind.

    The library trains on all pairs, which are 25 times as many of five times as many texts.
    """
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    rows = {"text": [text for text, _ in labelled], "label": [SENTIMENTS.index(label) for _, label in labelled]}
    model = SetFitModel.from_pretrained("models/embedder", labels=list(SENTIMENTS))
    with TemporaryDirectory() as place:
        iterations = 20 if len(labelled) > ALL_PAIRS else None
        arguments = TrainingArguments(output_dir=place, seed=seed, report_to="none", num_iterations=iterations)
        Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(rows)).train()
    return [str(one) for one in model.predict(list(texts))]


def as_student(base: Path, out: Path, params: config.Params) -> Path:
    """The base model in a folder that has it asked like a student, without a label bias to subtract."""
    model = models.load_causal_lm(base, Path(), params.runtime.model_copy(update={"dtype": "float32"}))
    folder.save(out, model, models.load_tokenizer(base, Path()), params.student.prompt_format, base)
    known = folder.known_task(TASK, np.zeros(3), 1.0)
    folder.describe(out, params.student, {"sentiment": known})
    return out


def interval(
    gold: Sequence[str], tasks: Sequence[np.ndarray], found: Sequence[Sequence[str]]
) -> tuple[float, float, float]:
    """(macro-F1 in percent, lower end, upper end) of labels `found` with each seed; `tasks`: places of their texts."""
    cells = np.array([confusion_cells(SENTIMENTS, gold, labels) for labels in found])
    draws, seeds = np.random.default_rng(0), len(found)

    def macro(chosen: Sequence[int], places: Sequence[np.ndarray]) -> float:
        counts = [confusion(cells[seed, of_task], len(SENTIMENTS) + 1) for seed in chosen for of_task in places]
        return 100 * float(f1_by_class(np.array(counts))[:, :-1].mean())

    resampled = [
        macro(draws.integers(seeds, size=seeds).tolist(), [draws.choice(one, len(one)) for one in tasks])
        for _ in range(DRAWS)
    ]
    return macro(range(seeds), tasks), *np.percentile(resampled, [2.5, 97.5]).tolist()


def keep(new: pd.DataFrame, path: Path) -> None:
    """Put the rows `new` into the table at `path`, in place of those with the same labels and learner."""
    table = pd.concat([pd.read_csv(path), new]) if path.exists() else new
    table = table.drop_duplicates(COLUMNS[:2], keep="last").sort_values(COLUMNS[:2])
    records.write_text(path, table.to_csv(index=False))
    figures.learning_curves(table, path.with_suffix(".png"))


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.adapt", description="What a few labels are worth.")
    made.add_argument("--sizes", type=int, nargs="+", default=[20, 100, 500], help="labels (%(default)s)")
    made.add_argument("--learners", nargs="+", choices=LEARNERS, default=LEARNERS, help="(%(default)s)")
    made.add_argument("--seeds", type=int, default=5, help="draws of labels (%(default)s)")
    made.add_argument("--split", default="test", choices=["validation", "test"], help="(%(default)s)")
    made.add_argument("--limit", type=int, help="texts of each task that are tested (all)")
    made.add_argument("--epochs", help="of `make adapt` (its own)")
    made.add_argument("--learning-rate", help="of `make adapt` (its own)")
    made.add_argument(
        "--out", type=Path, help="CSV file that keeps the rows of earlier runs; a figure is put beside it"
    )
    made.add_argument("--model", type=Path, default=Path("models/student"), help="(%(default)s)")
    return made


def main() -> None:
    chosen, params = options().parse_args(), config.load()
    given = {"--epochs": chosen.epochs, "--learning-rate": chosen.learning_rate}
    settings = [part for name, value in given.items() if value for part in (name, value)]
    pool = cells(params)
    tested = {
        task: random.Random(0).sample(rows, min(chosen.limit or len(rows), len(rows)))
        for task in params.prepare_benchmark.tasks
        for rows in [sentibench.read(Path("data/benchmark", task, f"{chosen.split}.jsonl"))]
    }
    rows = [row for of_task in tested.values() for row in of_task]
    texts, gold = ([row[name] for row in rows] for name in ("sentence", "label"))
    ends = np.cumsum([len(of_task) for of_task in tested.values()])
    tasks = np.split(np.arange(len(rows)), ends[:-1])
    print(f"{sum(map(len, pool))} labelled texts to draw from, {len(texts)} {chosen.split} texts, {chosen.seeds} seeds")
    print("\n| labels | learner | macro-F1 | 95 % |\n|---|---|---|---|")

    def show(size: int, name: str, found: list[list[str]]) -> None:
        value, low, high = interval(gold, tasks, found)
        print(f"| {size} | {name} | {value:.1f} | {low:.1f} to {high:.1f} |", flush=True)
        if chosen.out:
            row = (size, name, *(round(one, 1) for one in (value, low, high)), len(found))
            keep(pd.DataFrame([row], columns=COLUMNS), chosen.out)

    with TemporaryDirectory() as place:
        base = as_student(BASE, Path(place, "base"), params)
        learners = {
            "student": adapted(chosen.model, settings),
            "joined": joined(params),
            "base": adapted(base, settings),
            "TF-IDF": tfidf,
            "SetFit": setfit,
        }
        show(0, "student", [answers(chosen.model, texts)])
        for size in chosen.sizes:
            for name in chosen.learners:
                show(size, name, [learners[name](drawn(pool, size, seed), seed, texts) for seed in range(chosen.seeds)])


if __name__ == "__main__":
    stage.run(main)
