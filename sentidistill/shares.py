"""How common each label is in your texts: the student's labels on all texts, corrected by some texts that you read.

python -m sentidistill.shares scored.csv --labelled read.csv [--text-field text] [--label-field label]
                              [--task sentiment] [--by COLUMN | --month COLUMN] [--width 5]

scored.csv is what `sentidistill.predict` writes. read.csv holds a hundred or two of its texts, drawn at random, with
the label that you gave each. The student's mean error on the texts that you read corrects its labels on all others
(prediction-powered inference: Angelopoulos et al., 2023; its weight: Angelopoulos, Duchi and Zrnic, 2023). So the 95 %
intervals hold however bad the student is. The better it is, the narrower they are than those of the read texts alone.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage

LEAST_READ = 20  # texts; a t interval of fewer says too little
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """A share (0 to 1) and half the width of its interval; `alone`: that half width by the read texts alone."""

    share: float
    half_width: float
    alone: float
    read: int
    texts: int

    @property
    def interval(self) -> tuple[float, float]:
        return max(0.0, self.share - self.half_width), min(1.0, self.share + self.half_width)


def share(read: np.ndarray, predicted: np.ndarray, others: np.ndarray) -> Share:
    """The share of a label: `read` (n, 0 or 1) and `predicted` (n, 0 to 1) of the read texts, `others` (N) predicted.

    With weight w on the predictions: mean(w others) + mean(read - w predicted). Its variance is least at
    w = cov(read, predicted) / ((1 + n / N) var(predicted)), which is taken from the read texts, between 0 and 1.
    """
    from scipy.stats import t

    n, N = len(read), len(others)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, n - 1))
    alone = quantile * float(np.sqrt(read.var(ddof=1) / n))
    spread = np.concatenate([predicted, others]).var(ddof=1)
    weight = 0.0
    if N > 1 and spread > 0:
        weight = float(np.clip(np.cov(read, predicted)[0, 1] / ((1 + n / N) * spread), 0, 1))
    centre = float(read.mean()) + weight * float((others.mean() if N else 0.0) - predicted.mean()) * (N > 1)
    variance = (read - weight * predicted).var(ddof=1) / n + (weight**2 * others.var(ddof=1) / N if N > 1 else 0.0)
    return Share(float(np.clip(centre, 0, 1)), quantile * float(np.sqrt(variance)), alone, n, n + N)


def more_to_read(found: Share, half_width: float) -> int:
    """About how many more texts have to be read for the wished width, if they are like those read so far."""
    return max(0, int(np.ceil(found.read * ((found.half_width / half_width) ** 2 - 1))))


def shares(scored: pd.DataFrame, labels: Sequence[str], task: str) -> dict[str, Share]:
    """By label, from rows with the column `read` (a label, or missing) and one of probabilities for each label."""
    done = scored["read"].notna().to_numpy()
    return {
        label: share(
            (scored["read"][done] == label).to_numpy(dtype=float),
            scored[f"{task} {label}"].to_numpy(dtype=float)[done],
            scored[f"{task} {label}"].to_numpy(dtype=float)[~done],
        )
        for label in labels
    }


def joined(
    scored: pd.DataFrame, read: pd.DataFrame, text: str, label: str, task: str
) -> tuple[pd.DataFrame, list[str]]:
    """(scored texts that have a prediction, with what was `read` beside, the labels).

    Raises `SentiDistillError` where a column is missing, a label or text is unknown, or too few were read.
    """
    labels = [name.removeprefix(f"{task} ") for name in scored.columns if name.startswith(f"{task} ")]
    if not labels:
        raise SentiDistillError(f"no columns of the task {task!r}; the file has to be one of `sentidistill.predict`")
    for table, column, what in ((scored, text, "scored"), (read, text, "labelled"), (read, label, "labelled")):
        if column not in table.columns:
            raise SentiDistillError(f"the {what} file has no column {column!r}; it has {', '.join(table.columns)}")
    read = read[read[label].str.strip() != ""].drop_duplicates(text)
    given = dict(zip(read[text], read[label].str.strip()))
    if unknown := sorted(set(given.values()) - set(labels)):
        raise SentiDistillError(f"the labelled file has the label {unknown[0]!r}; known are {', '.join(labels)}")
    usable = scored[scored[task].isin(labels)].drop_duplicates(text)
    if missing := [one for one in given if one not in set(usable[text])]:
        raise SentiDistillError(
            f"{len(missing)} labelled texts are not among the scored ones, such as {missing[0][:80]!r}"
        )
    if len(given) < LEAST_READ:
        raise SentiDistillError(f"{len(given)} labelled texts; at least {LEAST_READ}, drawn at random, are needed")
    return usable.assign(read=usable[text].map(given)), labels


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="shares", description="How common each label is, with valid intervals.")
    parser.add_argument("scored", type=Path, help="what `sentidistill.predict` wrote (.csv)")
    parser.add_argument("--labelled", type=Path, required=True, help="some of its texts with your labels (.csv)")
    parser.add_argument("--text-field", default="text", help="column of the texts in both files (%(default)s)")
    parser.add_argument("--label-field", default="label", help="column of your labels (%(default)s)")
    parser.add_argument("--task", default="sentiment", help="of those that were predicted (%(default)s)")
    groups = parser.add_mutually_exclusive_group()
    groups.add_argument("--by", metavar="COLUMN", help="shares for each value of this column of the scored file")
    groups.add_argument("--month", metavar="COLUMN", help="shares for each month of the dates in this column")
    parser.add_argument("--width", type=float, default=5.0, help="points either side that you wish for (%(default)s)")
    chosen = parser.parse_args(arguments)
    scored, read = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (chosen.scored, chosen.labelled))
    rows, labels = joined(scored, read, chosen.text_field, chosen.label_field, chosen.task)
    group = pd.Series("all texts", rows.index)
    if column := chosen.by or chosen.month:
        if column not in rows.columns:
            raise SentiDistillError(f"{chosen.scored} has no column {column!r}; it has {', '.join(rows.columns)}")
        group = rows[column]
        if chosen.month:
            group = pd.to_datetime(group, errors="coerce").dt.strftime("%Y-%m").fillna("no date")
    headings = (
        "",
        "label",
        "share, %",
        "95 %",
        "read alone: ±",
        "with the student: ±",
        f"to read for ± {chosen.width:g}",
    )
    table = Table(*headings, title=f"{chosen.task}, {len(rows):,} texts")
    for name, of_group in rows.groupby(group):
        if of_group["read"].notna().sum() < LEAST_READ:
            table.add_row(str(name), f"fewer than {LEAST_READ} of its texts were read", *[""] * 5)
            continue
        for label, one in shares(of_group, labels, chosen.task).items():
            low, high = (100 * value for value in one.interval)
            widths = (f"{100 * one.alone:.1f}", f"{100 * one.half_width:.1f}")
            more = f"{more_to_read(one, chosen.width / 100):,} more"
            table.add_row(str(name), label, f"{100 * one.share:.1f}", f"{low:.1f} to {high:.1f}", *widths, more)
    stage.console().print(table)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
