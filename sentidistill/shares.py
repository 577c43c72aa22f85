"""How common each label is in your texts: the student's labels on all texts, corrected by some texts that you read.

python -m sentidistill.shares scored.csv --labelled read.csv [--text-field text] [--label-field label]
                              [--task sentiment] [--by COLUMN | --month COLUMN] [--width 5]

scored.csv is what `sentidistill.predict` writes, or the same as JSON Lines or Parquet. read.csv holds a hundred or two
of its texts, drawn at random, with the label that you gave each. The student's mean error on the texts that you read
corrects its labels on all others (prediction-powered inference: Angelopoulos et al., 2023; its weight: Angelopoulos,
Duchi and Zrnic, 2023). So the 95 % intervals hold however bad the student is. The better it is, the narrower they are
than those of the read texts alone. A label that fewer than ten of the read texts have gets the interval of these alone.
With `--by` or `--month`, texts are drawn at random within each group, and the groups count by their number of texts.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.sources.tables import Source, at

LEAST_READ = 20  # texts; a t interval of fewer says too little
LEAST_OF_LABEL = 10  # of the read texts; with fewer, intervals by variance hold too seldom (tests/test_shares.py)
CONFIDENCE = 0.95
MONTH = r"^(\d{4}-(?:0[1-9]|1[0-2]))(?:-\d\d(?!\d)|$)"


@dataclass(frozen=True)
class Share:
    """A share (0 to 1) and its interval; `alone`: half the width of the interval by the read texts alone."""

    share: float
    interval: tuple[float, float]
    alone: float
    read: int
    texts: int

    @property
    def half_width(self) -> float:
        return (self.interval[1] - self.interval[0]) / 2


def wilson(share: float, n: int) -> tuple[float, float]:
    """The central 95 % of a share (0 to 1) that was found in `n` draws: Wilson's interval (1927)."""
    from scipy.stats import binomtest

    found = binomtest(round(share * n), n).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def share(read: np.ndarray, predicted: np.ndarray, others: np.ndarray) -> Share:
    """The share of a label: `read` (n, 0 or 1) and `predicted` (n, 0 to 1) of the read texts, `others` (N) predicted.

    With weight w on the predictions: mean(w others) + mean(read - w predicted). Its variance is least at
    w = cov(read, predicted) / ((1 + n / N) var(predicted)), which is taken from the read texts, between 0 and 1.
    Where fewer than `LEAST_OF_LABEL` of the read texts have the label, or have another one, a variance says too little:
    then the share and its interval (Wilson's) are those of the read texts alone.
    """
    from scipy.stats import t

    n, N = len(read), len(others)
    if min(read.sum(), n - read.sum()) < LEAST_OF_LABEL:
        low, high = wilson(float(read.mean()), n)
        return Share(float(read.mean()), (low, high), (high - low) / 2, n, n + N)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, n - 1))
    alone = quantile * float(np.sqrt(read.var(ddof=1) / n))
    spread = np.concatenate([predicted, others]).var(ddof=1)
    weight = 0.0
    if N > 1 and spread > 0:
        weight = float(np.clip(np.cov(read, predicted)[0, 1] / ((1 + n / N) * spread), 0, 1))
    centre = float(read.mean()) + weight * float((others.mean() if N else 0.0) - predicted.mean()) * (N > 1)
    centre = float(np.clip(centre, 0, 1))
    variance = (read - weight * predicted).var(ddof=1) / n + (weight**2 * others.var(ddof=1) / N if N > 1 else 0.0)
    half_width = quantile * float(np.sqrt(variance))
    interval = max(0.0, centre - half_width), min(1.0, centre + half_width)
    return Share(centre, interval, alone, n, n + N)


def weighted(groups: Sequence[Share]) -> Share:
    """The share over disjoint groups of texts; each counts by its number of texts, however many of it were read.

    The interval's ends are apart from the share by the root of the groups' squares (MOVER: Zou and Donner, 2008).
    """
    texts = sum(one.texts for one in groups)
    weights = np.array([one.texts / texts for one in groups])
    low, high = np.array([one.interval for one in groups]).T
    shares = np.array([one.share for one in groups])

    def apart(widths: np.ndarray) -> float:
        return float(np.sqrt(np.square(weights * widths).sum()))

    centre = float(weights @ shares)
    interval = centre - apart(shares - low), centre + apart(high - shares)
    return Share(
        centre, interval, apart(np.array([one.alone for one in groups])), sum(one.read for one in groups), texts
    )


def more_to_read(found: Share, half_width: float) -> int:
    """About how many more texts have to be read for the wished width, if they are like those read so far."""
    ratio = found.half_width / half_width
    return max(0, int(np.ceil(min(found.read * (ratio * ratio - 1), 1e15))))


def shares(scored: pd.DataFrame, read: pd.Series, labels: Sequence[str], task: str) -> dict[str, Share]:
    """By label, from rows with a column of probabilities for each label, and the label that was `read`, or None."""
    done = read.notna().to_numpy()
    return {
        label: share(
            (read[done] == label).to_numpy(dtype=float),
            scored[f"{task} {label}"].to_numpy(dtype=float)[done],
            scored[f"{task} {label}"].to_numpy(dtype=float)[~done],
        )
        for label in labels
    }


def table_of(path: Path, text: str) -> pd.DataFrame:
    """A file as a table of texts. Raises `SentiDistillError` with the place of a row that cannot be read."""
    source = Source(path, text, recode="save it in UTF-8")
    columns, rows = source.columns(), []
    columns += [text] if text not in columns else []  # the name of one within an object
    for row in source.rows():
        if row.fault or row.values is None:
            raise SentiDistillError(f"{path}, {row.place}: {row.fault}")
        cells = (at(row.values, name) for name in columns)
        rows.append(["" if cell is None else str(cell) for cell in cells])
    return pd.DataFrame(rows, columns=columns, dtype=str)


def joined(
    scored: pd.DataFrame, read: pd.DataFrame, text: str, label: str, task: str
) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """(rows of `scored` that have probabilities, the label that was read of each or None, the labels).

    Of equal texts, as many count as read as were read. Raises `SentiDistillError` where a column is missing, a label
    or text is unknown, or too few were read.
    """
    after = itertools.dropwhile(lambda name: name != task, scored.columns)
    of_task = itertools.takewhile(lambda name: name.startswith(f"{task} "), itertools.islice(after, 1, None))
    labels = [name.removeprefix(f"{task} ") for name in of_task]
    if not labels:
        raise SentiDistillError(f"no columns of the task {task!r}; the file has to be one of `sentidistill.predict`")
    if label not in read.columns:
        raise SentiDistillError(
            f"the labelled file has no column {label!r}; it has {', '.join(read.columns)}; name it by --label-field"
        )
    read = read[read[label].str.strip() != ""]
    given = dict(zip(_numbered(read[text]), read[label].str.strip()))
    if unknown := sorted(set(given.values()) - set(labels)):
        raise SentiDistillError(f"the labelled file has the label {unknown[0]!r}; known are {', '.join(labels)}")
    likely = [f"{task} {name}" for name in labels]
    numbers = scored[likely].apply(pd.to_numeric, errors="coerce")
    wrong = (scored[likely].apply(lambda cells: cells.str.strip()) != "") & ~numbers.apply(lambda of: of.between(0, 1))
    if wrong.any(axis=None):
        place, name = next((place, name) for name in likely for place in np.flatnonzero(wrong[name]))
        raise SentiDistillError(
            f"row {place + 1} of the scored file: {scored[name].iloc[place]!r} under {name!r} is no probability; leave "
            "these columns as `sentidistill.predict` wrote them"
        )
    scored = scored.assign(**numbers)
    usable = scored[numbers.notna().all(axis=1)]
    places = _numbered(usable[text])
    if missing := sorted(given.keys() - set(places)):
        raise SentiDistillError(
            f"{len(missing)} labelled texts are not in the scored file, or more often, such as {missing[0][0][:80]!r}"
        )
    if len(given) < LEAST_READ:
        raise SentiDistillError(f"{len(given)} labelled texts; at least {LEAST_READ}, drawn at random, are needed")
    return usable, pd.Series([given.get(place) for place in places], usable.index, dtype=object), labels


def _numbered(texts: pd.Series) -> list[tuple[str, int]]:
    """Each text with how many equal ones stand before it."""
    return list(zip(texts, texts.groupby(texts).cumcount()))


def months(dates: pd.Series) -> pd.Series:
    """The month of each date; "no date" for an empty one. Raises `SentiDistillError` for one that is no ISO 8601."""
    found = dates.str.strip().str.extract(MONTH, expand=False)
    wrong = dates[found.isna() & (dates.str.strip() != "")]
    if len(wrong):
        raise SentiDistillError(
            f"{len(wrong)} dates are not written as 2026-01-31, such as {wrong.iloc[0][:80]!r}; rewrite them, as "
            "others do not always say which number is the month"
        )
    return found.fillna("no date")


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="shares", description="How common each label is, with valid intervals.")
    parser.add_argument("scored", type=Path, help="what `sentidistill.predict` wrote")
    parser.add_argument("--labelled", type=Path, required=True, help="some of its texts with your labels")
    parser.add_argument("--text-field", default="text", help="column of the texts in both files (%(default)s)")
    parser.add_argument("--label-field", default="label", help="column of your labels (%(default)s)")
    parser.add_argument("--task", default="sentiment", help="of those that were predicted (%(default)s)")
    by = parser.add_mutually_exclusive_group()
    by.add_argument("--by", metavar="COLUMN", help="shares for each value of this column of the scored file")
    by.add_argument("--month", metavar="COLUMN", help="shares for each month of the dates in this column")
    parser.add_argument("--width", type=float, default=5.0, help="points either side that you wish for (%(default)s)")
    chosen = parser.parse_args(arguments)
    if not 0 < chosen.width < 100:
        raise SentiDistillError(f"--width is a number of points between 0 and 100, and not {chosen.width}")
    text = chosen.text_field
    scored, labelled = (table_of(path, text) for path in (chosen.scored, chosen.labelled))
    rows, read, labels = joined(scored, labelled, text, chosen.label_field, chosen.task)
    groups: dict[str, pd.DataFrame] = {}
    if column := chosen.by or chosen.month:
        if column not in rows.columns:
            raise SentiDistillError(f"{chosen.scored} has no column {column!r}; it has {', '.join(rows.columns)}")
        groups = {str(name): of for name, of in rows.groupby(months(rows[column]) if chosen.month else rows[column])}
    headings = (
        "",
        "label",
        "share, %",
        "95 %",
        "read alone: ±",
        "with the student: ±",
        f"to read for ± {chosen.width:g}",
    )
    table = Table(*headings, title=stage.visible(f"{chosen.task}, {len(rows):,} texts"))
    missing = {name: LEAST_READ - read[of.index].notna().sum() for name, of in groups.items()}
    enough = [name for name, number in missing.items() if number <= 0]
    by_group = {name: shares(groups[name], read[groups[name].index], labels, chosen.task) for name in enough}
    if not groups:
        by_group["all texts"] = shares(rows, read, labels, chosen.task)
    elif len(enough) == len(groups):
        by_group["all texts"] = {label: weighted([one[label] for one in by_group.values()]) for label in labels}
    for name in dict.fromkeys([*groups, *by_group]):
        if name not in by_group:
            table.add_row(stage.visible(name), "", f"read {missing[name]} more of its texts", *[""] * 4)
        for label, one in by_group.get(name, {}).items():
            low, high = (100 * value for value in one.interval)
            widths = (f"{100 * one.alone:.1f}", f"{100 * one.half_width:.1f}")
            more = more_to_read(one, chosen.width / 100)
            left = one.texts - one.read
            wished = f"{more:,} more" if more <= left else f"more than the {left:,} left"
            table.add_row(
                *map(stage.visible, (name, label)),
                f"{100 * one.share:.1f}",
                f"{low:.1f} to {high:.1f}",
                *widths,
                wished,
            )
    stage.console().print(table)
    equal, done = (rows[chosen.task] == read).sum(), read.notna().sum()
    print(
        f"The student gives your label to {equal:,} of the {done:,} texts that you read. "
        "±: half of the 95 % interval, in points, by the texts that you read alone, and with the student's labels on "
        f"the others, where {LEAST_OF_LABEL} or more of the read texts have the label and as many have not. Shares are "
        "estimated one by one, so their sum may differ a little from 100."
        + (f" Shares of all texts need {LEAST_READ} read texts of each group." if len(enough) < len(groups) else "")
    )


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
