"""What people complain about: python -m sentidistill.commands.complaints reviews.csv --text-field review

For each text to which the student gives the label `--label`, it finds the nearest perspective of the finished run
(data/, models/embedder). Nearness is the embedder's cosine of the text and the perspective's attributes, minus the
cosine of the mean of all texts. How often a reader would name the same perspective is not measured. The interval covers
the drawing of texts alone. `--scored FILE` writes the perspective of each text. With a hundred that you read yourself,
`sentidistill.shares FILE --labelled read.csv --task perspective` gives shares whose intervals cover the mistakes, too.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from sentidistill import clustering, records, scored
from sentidistill.construct.attributes import ATTRIBUTES, read_vectors
from sentidistill.construct.perspectives import PERSPECTIVES, Perspective
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.pipeline.progress import track
from sentidistill.predict import Predictor
from sentidistill.shares import wilson
from sentidistill.sources import corpus, models
from sentidistill.sources.tables import Source, at

NONE = "none"
TYPICAL = 3  # texts that are shown of each perspective


@dataclass(frozen=True)
class Complaint:
    """A perspective, the share (0 to 1) of the chosen texts that are nearest to it, and the nearest of them."""

    perspective: str
    texts: int
    share: float
    interval: tuple[float, float]
    typical: list[str]


def centres(perspectives: Sequence[Perspective], vectors: dict[str, np.ndarray]) -> np.ndarray:
    """The mean direction of each perspective's attributes (p x d, unit length).

    Raises `SentiDistillError` where there is none, or `vectors` are not of the same run.
    """
    if not perspectives or {one.name for each in perspectives for one in each.attributes} - vectors.keys():
        raise SentiDistillError("data/ has no perspectives, or attributes of another run; run `make repro`")
    means = np.array([np.mean([vectors[one.name] for one in each.attributes], axis=0) for each in perspectives])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def nearness(vectors: np.ndarray, of: np.ndarray) -> np.ndarray:
    """That of each text to each perspective (n x p). `vectors` (n x d) and centres `of` (p x d) have unit length."""
    near = vectors @ of.T
    return near - near.mean(axis=0)


def complaints(texts: Sequence[str], chosen: np.ndarray, near: np.ndarray, names: Sequence[str]) -> list[Complaint]:
    """Shares of the perspectives `names` (p) among the `chosen` of the texts (n booleans), the commonest first.

    `near` is the `nearness` of all texts.
    """
    near = near[chosen]
    said = [text for text, is_chosen in zip(texts, chosen) if is_chosen]
    nearest = near.argmax(axis=1)
    found = []
    for place in np.unique(nearest):
        mine = np.flatnonzero(nearest == place)
        typical = [said[row] for row in mine[np.argsort(-near[mine, place], kind="stable")][:TYPICAL]]
        share = len(mine) / len(said)
        found.append(Complaint(names[place], len(mine), share, wilson(share, len(said)), typical))
    return sorted(found, key=lambda one: (-one.texts, one.perspective))


def table_of(texts: Sequence[str], chosen: np.ndarray, near: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """A row for each text with its perspective, "none" if it is not chosen, as `sentidistill.shares` reads it."""
    said = np.where(chosen, np.array(names)[near.argmax(axis=1)], NONE)
    return pd.DataFrame(
        {"text": texts, "perspective": said}
        | {f"perspective {name}": (said == name).astype(int) for name in [*names, NONE]}
    )


def read_texts(source: Source) -> tuple[list[str], int]:
    """(cleaned texts, number of rows that cannot be read or have none)"""
    found = [None if row.fault else at(row.values or {}, source.field) for row in source.rows()]
    texts = [cleaned for text in found if isinstance(text, str) and (cleaned := corpus.clean(text))]
    return texts, len(found) - len(texts)


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="complaints", description="What the texts with a label are about.")
    made.add_argument("texts", type=Path, help=".csv, .tsv, .jsonl or .parquet")
    made.add_argument("--text-field", default="text", help="column of the texts (%(default)s)")
    made.add_argument("--task", default="sentiment", help="one that the student knows (%(default)s)")
    made.add_argument("--label", default="negative", help="of the texts that are counted (%(default)s)")
    made.add_argument("--model", type=Path, default=Path("models/student"), help="(%(default)s)")
    made.add_argument("--encoding", default="utf-8-sig", help="of the file (%(default)s)")
    made.add_argument("--out", type=Path, help="the table as CSV")
    made.add_argument("--scored", type=Path, help="the perspective of each text as CSV, for sentidistill.shares")
    return made


def main(*arguments: str) -> None:
    asked = options().parse_args(arguments)
    source = Source(asked.texts, asked.text_field, asked.encoding)
    source.columns()  # faults of the file are reported before the model is loaded
    perspectives = [one for one in PERSPECTIVES.read() if one.kept]
    of = centres(perspectives, dict(zip([row.name for row in ATTRIBUTES.read()], read_vectors())))
    student = Predictor(asked.model)
    if asked.task not in student.tasks or asked.label not in student.tasks[asked.task].labels:
        known = "; ".join(f"{name}: {', '.join(task.labels)}" for name, task in student.tasks.items())
        raise SentiDistillError(f"no label {asked.label!r} of a task {asked.task!r}; {asked.model} knows {known}")
    texts, left_out = read_texts(source)
    answers: list[bool] = []
    with track(f"complaints, {asked.texts.name}", len(texts)) as progress:
        for start in range(0, len(texts), scored.CHUNK):
            some = texts[start : start + scored.CHUNK]
            found = student.try_each(some, asked.task)
            answers += [not isinstance(one, str) and one.answer == asked.label for one in found]
            progress.advance(len(some))
    chosen = np.array(answers, dtype=bool)
    if not chosen.any():
        raise SentiDistillError(
            f"{asked.texts}: the student calls none of {len(texts)} texts {asked.label}"
            + (f"; {left_out} rows cannot be read or have no text" if left_out else "")
        )
    vectors = clustering.embed(texts, models.locate(Path("models/embedder"), stage.cache_root().parent))
    near, names = nearness(vectors, of), [one.exemplar for one in perspectives]
    rows = complaints(texts, chosen, near, names)
    if asked.scored:
        records.write_text(asked.scored, table_of(texts, chosen, near, names).to_csv(index=False))
    if asked.out:
        written = [
            {"perspective": one.perspective, "texts": one.texts, "share": one.share}
            | dict(zip(("low", "high"), one.interval))
            | {f"typical {number}": text for number, text in enumerate(one.typical, 1)}
            for one in rows
        ]
        records.write_text(asked.out, pd.DataFrame(written).round(4).to_csv(index=False))
    title = f"{chosen.sum():,} of {len(texts):,} texts are {asked.label}, as the student says"
    if left_out:
        title += f"; {left_out:,} rows cannot be read or have no text"
    table = Table("perspective", "texts", "share, %", "95 %", "typical texts", title=stage.visible(title))
    for one in rows:
        low, high = (100 * end for end in one.interval)
        shown = stage.visible("\n".join(f"- {text[:160]}" for text in one.typical))
        table.add_row(
            stage.visible(one.perspective),
            f"{one.texts:,}",
            f"{100 * one.share:.1f}",
            f"{low:.1f} to {high:.1f}",
            shown,
        )
    stage.console().print(table)
    print(
        "A text counts for the perspective that is nearest to it by an embedder, which a reader may see otherwise. The "
        "intervals cover the drawing of texts, and no such mistakes."
    )


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
