"""What changed between two runs, and is the difference real? `make compare A=HEAD~1 B=HEAD`

python -m sentidistill.commands.compare A [B] [--out FILE] [--fail]

A and B are commits, branches, tags or DVC experiments; without B, A is compared with the work tree. All of it is read
from git: params, the lock, metrics, plots, and what each model said of each test record, so that scores are compared on
the same records (paired). The first line says whether B is worse than A beyond the interval; `--fail` makes that the
exit status. A FILE that ends in .html is a page, with the plots side by side; any other is Markdown.
"""

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from sentidistill import records
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.metrics import Estimate, draws_of, macro_f1, mean
from sentidistill.pipeline import stage
from sentidistill.report import figures
from sentidistill.report.page import cell
from sentidistill.report.templates import drawn, rendered

NOTHING_SHARED = "have no record of a model in common, so no score can be compared; were they tested on the same split?"
PREDICTIONS, INSTRUCTIONS = "metrics/predictions.csv", "data/instructions.jsonl"
SAMPLES = 2000
MOST = 10  # records that are listed
COLUMNS = {"output": "plain", "calibrated": "calibrated"}
PLOTS: dict[str, tuple[list[str], Callable[..., None]]] = {
    "Training loss": (["plots/training_loss.csv"], figures.training_loss),
    "Difficulty of the teacher's answers": (["plots/difficulty.csv"], figures.difficulty),
    "Share of the answers that is kept": (["plots/kept.csv", "plots/clusters.csv"], figures.kept_shares),
    "Attributes by meaning": (["plots/clusters.csv"], figures.cluster_map),
}


class Revision:
    """The files of a commit or an experiment; of the work tree where `name` is empty, or what DVC calls it."""

    def __init__(self, name: str):
        self.name = "" if name == "workspace" else name
        self._commit = _commit(self.name) if self.name else ""

    def __str__(self) -> str:
        return self.name or "the work tree"

    def text(self, path: str) -> str:
        """A tracked file. Raises `SentiDistillError` where it is not there."""
        if not self.name:
            try:
                return Path(path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise SentiDistillError(f"{path}: cannot be read ({error}); run `make repro`") from error
        found = subprocess.run(["git", "show", f"{self._commit}:{path}"], capture_output=True)
        if found.returncode:
            raise SentiDistillError(
                f"{path} is not in {self.name}; compare runs that have it: `git log -- {path}` lists them"
            )
        return found.stdout.decode("utf-8", "replace")

    def lock(self) -> dict[str, Any]:
        """What each stage last ran with, by its name."""
        return yaml.safe_load(self.text("dvc.lock"))["stages"]

    def metrics(self) -> dict[str, Any]:
        """Figures of the stages by file and key."""
        if self.name:
            command = ["git", "ls-tree", "--name-only", self._commit, "metrics/"]
            paths = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        else:
            paths = [str(path) for path in Path("metrics").glob("*.json")]
        found = {Path(path).stem: json.loads(self.text(path)) for path in sorted(paths) if path.endswith(".json")}
        return dict(stage.leaves(found))

    def instructions(self) -> set[str] | None:
        """Texts of the instructions; None where DVC has not got them here."""
        from dvc.api import read
        from dvc.exceptions import DvcException

        try:
            raw = read(INSTRUCTIONS, rev=self._commit or None, mode="r", encoding="utf-8")
        except (DvcException, OSError):
            return None
        return {json.loads(line)["text"] for line in raw.split("\n") if line}


def _commit(name: str) -> str:
    """The commit that `name` stands for; names of experiments count, too."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from scmrepo.exceptions import RevError, SCMError

    try:
        with Repo(".") as repo:
            found = repo.experiments.ls(all_commits=True)
            known = {one[0]: one[1] for of in found.values() for one in of if one[1]}
            return known.get(name) or repo.scm.resolve_rev(name)
    except (DvcException, RevError, SCMError) as error:
        raise SentiDistillError(f"{name!r} is no commit, branch, tag or experiment here ({error})") from error


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, before, after) of each difference; None for a missing value."""
    keys = sorted({*before, *after})
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def reran(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(stage, what differs of it) from two locks: its command, params, code, inputs or outputs."""

    def parts(one: Mapping[str, Any]) -> dict[str, Any]:
        deps = {dep["path"]: dep.get("md5") for dep in one.get("deps", [])}
        return {
            "command": one.get("cmd"),
            "params": one.get("params"),
            "code": {path: md5 for path, md5 in deps.items() if path.endswith(".py")},
            "inputs": {path: md5 for path, md5 in deps.items() if not path.endswith(".py")},
            "outputs": {out["path"]: out.get("md5") for out in one.get("outs", [])},
        }

    found = []
    for name in sorted({*before, *after}):
        differing = changed(parts(before.get(name, {})), parts(after.get(name, {})))
        if differing:
            found.append((name, ", ".join(key for key, _, _ in differing)))
    return found


def predictions(revision: Revision) -> pd.DataFrame:
    """The answer of each model to each record, by task, id and model; empty cells are empty texts."""
    table = pd.read_csv(io.StringIO(revision.text(PREDICTIONS)), dtype=str, keep_default_na=False)
    return table.set_index(["task", "id", "model"]).sort_index()


@dataclass(frozen=True)
class Difference:
    """Macro-F1 in percent of a model on a task, or the mean of all, in both runs; `gain` is after - before."""

    model: str
    task: str
    kind: str
    records: int
    before: float
    after: float
    gain: dict[str, float]

    @property
    def worse(self) -> bool:
        """Only a mean counts, as one of twenty unchanged scores lies outside its interval by chance."""
        return self.task == "mean" and self.gain["high"] < 0

    @property
    def better(self) -> bool:
        return self.task == "mean" and self.gain["low"] > 0


def differences(before: pd.DataFrame, after: pd.DataFrame) -> list[Difference]:
    """Of every model and task that both runs tested, on the records that both have, resampled in pairs.

    Without those whose answers are the same, and with the mean of the others.
    """
    found = []
    for model in sorted(set(before.index.get_level_values("model")) & set(after.index.get_level_values("model"))):
        for column, kind in COLUMNS.items():
            pairs: dict[str, tuple[Estimate, Estimate]] = {}
            sizes: dict[str, int] = {}
            for task in sorted(set(before.index.get_level_values("task")) & set(after.index.get_level_values("task"))):
                old, new = (table.loc[task].xs(model, level="model") for table in (before, after))
                shared = old.index.intersection(new.index).sort_values()
                old, new = old.loc[shared], new.loc[shared]
                same = old[[*COLUMNS]].equals(new[[*COLUMNS]])
                if not len(shared) or (old[column] == "").all() or (new[column] == "").all() or same:
                    continue
                gold, draws = old["gold"].tolist(), draws_of(task, len(shared), SAMPLES)
                first, second = (macro_f1(sorted(set(gold)), gold, rows[column].tolist(), draws) for rows in (old, new))
                pairs[task], sizes[task] = (first, second), len(shared)
            if pairs:
                sizes["mean"] = sum(sizes.values())
                pairs["mean"] = (mean([old for old, _ in pairs.values()]), mean([new for _, new in pairs.values()]))
            found += [
                Difference(model, task, kind, sizes[task], old.value, new.value, (new - old).rounded())
                for task, (old, new) in pairs.items()
            ]
    return found


def moved(before: pd.DataFrame, after: pd.DataFrame) -> list[tuple[str, str, str, str, str]]:
    """(task, id, gold, student's label before, after): the records on which the student's labels moved most.

    The label is the calibrated one or, where only that differs, the plain one.
    By how far the log-probability of the right label moved among the labels, where both runs have scores.
    """
    found = []
    both = before.index.intersection(after.index)
    for task, record, model in both[both.get_level_values("model") == "student"]:
        old, new = before.loc[(task, record, model)], after.loc[(task, record, model)]
        labels = sorted(set(before.loc[task]["gold"]))
        far = abs(_right(old, labels) - _right(new, labels))
        columns = ("calibrated", "output") if old["calibrated"] and new["calibrated"] else ("output",)
        differing = [of for of in columns if old[of] != new[of]]
        if differing:
            found.append((far, task, record, old["gold"], old[differing[0]], new[differing[0]]))
    return [row[1:] for row in sorted(found, key=lambda row: -row[0])[:MOST]]


def _right(row: pd.Series, labels: Sequence[str]) -> float:
    """Probability of the right label among the labels; 0 without scores. Labels are scored in alphabetical order."""
    scores = np.array(row["scores"].split(), dtype=float)
    if len(scores) != len(labels):
        return 0.0
    return float(np.exp(scores - np.logaddexp.reduce(scores))[labels.index(row["gold"])])


def texts_here() -> dict[str, str]:
    """Texts of the test records by id, as far as the benchmark lies here."""
    rows = (records.lines_of(path.read_text(encoding="utf-8")) for path in Path("data/benchmark").glob("*/*.jsonl"))
    return {row["id"]: row["sentence"] for lines in rows for row in map(json.loads, lines) if "id" in row}


def verdict(found: Sequence[Difference], a: str, b: str) -> str:
    """Which mean score of `b` is worse than that of `a` beyond its interval, else which is better."""

    def told(some: list[Difference]) -> str:
        return "; ".join(
            f"{one.model}, {one.kind} mean macro-F1, {one.gain['main']:+.1f} points "
            f"({one.gain['low']:+.1f} to {one.gain['high']:+.1f})"
            for one in some
        )

    if not found:
        return f"Every model gives the same answers in {b} as in {a}, so no score differs."
    if worse := [one for one in found if one.worse]:
        return f"{b} is worse than {a}: {told(worse)}."
    if better := [one for one in found if one.better]:
        return f"{b} is better than {a}: {told(better)}. Nothing is worse beyond its interval."
    return f"No mean score of {b} differs from that of {a} beyond its interval."


def outdated(lock: Mapping[str, Any]) -> list[str]:
    """Stages of a lock that read something else than what the stage that writes it has written."""
    written = {out["path"]: out.get("md5") for one in lock.values() for out in one.get("outs", [])}
    return [
        name
        for name, one in lock.items()
        if any(written.get(dep["path"], dep.get("md5")) != dep.get("md5") for dep in one.get("deps", []))
    ]


def settings(revision: Revision, lock: Mapping[str, Any]) -> dict[str, Any]:
    """Params by key: those that the stages ran with and, where no stage reads them, those of params.yaml."""
    found = dict(stage.leaves(yaml.safe_load(revision.text("params.yaml"))))
    for one in lock.values():
        found |= dict(stage.leaves(one.get("params", {}).get("params.yaml", {})))
    return found


def signed(gain: Mapping[str, float]) -> tuple[str, str]:
    return f"{gain['main']:+.1f}", f"{gain['low']:+.1f} to {gain['high']:+.1f}"


@dataclass(frozen=True)
class Section:
    """A part of the comparison: a table with a word on it. Without `rows`, which may be none, nothing is known."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[Sequence[Any]] | None
    note: str = ""
    numbers: tuple[str, ...] = ()  # of the headings, those by whose number a reader sorts

    @property
    def key(self) -> str:
        return self.title.split()[0].lower()

    def cells(self, row: Sequence[Any]) -> list[tuple[str, Any]]:
        return list(zip(self.headings, row, strict=True))


def sections(a: Revision, b: Revision, found: Sequence[Difference], moves: Sequence[Sequence[str]]) -> list[Section]:
    old, new = str(a), str(b)
    locks = [one.lock() for one in (a, b)]
    params = [settings(one, lock) for one, lock in zip((a, b), locks)]
    scores = [
        (one.model, one.kind, one.task, one.records, f"{one.before:.1f}", f"{one.after:.1f}", *signed(one.gain))
        for one in found
    ]
    figures_of_stages = [row for row in changed(a.metrics(), b.metrics()) if not row[0].startswith("report.")]
    lost, gained = a.instructions(), b.instructions()
    instructions, missing = None, f"{INSTRUCTIONS} of one of them is not here: `dvc pull` or `dvc repro` brings it."
    if lost is not None and gained is not None:
        instructions = [("lost", one) for one in sorted(lost - gained)]
        instructions += [("gained", one) for one in sorted(gained - lost)]
        missing = ""
    texts = texts_here()
    return [
        Section(
            "Scores",
            ("model", "scores", "task", "records", old, new, "difference", "95 %"),
            scores,
            "Macro-F1 in percent on the records that both have, with the central 95 % over resampled ones. A training "
            "by another seed moves it too, which the intervals do not hold; `make experiment` compares over seeds. "
            "Tasks on which a model answers the same in both are left out, also of its mean.",
            ("records", old, new, "difference"),
        ),
        Section("Params", ("key", old, new), changed(*params)),
        Section("Stages that ran anew", ("stage", "what differs"), reran(*locks)),
        Section("Figures of the stages", ("figure", old, new), figures_of_stages),
        Section("Instructions", ("", "instruction"), instructions, missing),
        Section(
            f"Records on which the student moved most, {MOST} at most",
            ("task", "id", "right", old, new, "text"),
            [(*row, texts.get(row[1], "")) for row in moves],
        ),
    ]


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of Markdown."""
    if not rows:
        return ["None.", ""]
    lines = [headings, ["---"] * len(headings), *rows]
    return [*(f"| {' | '.join(cell('-' if one is None else str(one)) for one in line)} |" for line in lines), ""]


def markdown(a: Revision, b: Revision, said: str, parts: Sequence[Section]) -> str:
    lines = [f"**{said}**", "", f"# {a} and {b}", ""]
    for part in parts:
        lines += [f"## {part.title}", "", *([part.note, ""] if part.note else [])]
        lines += table(part.headings, part.rows) if part.rows is not None else []
    return "\n".join(lines)


def charts(a: Revision, b: Revision) -> dict[str, list[tuple[str, Any]]]:
    """By title the figures that there are, side by side: (revision, SVG). Both losses have one axis."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for title, (paths, draw) in PLOTS.items():
        told: list[tuple[Revision, list[Any]]] = []
        for one in (a, b):
            with suppress(SentiDistillError):  # not there in runs of old
                told.append((one, [pd.read_csv(io.StringIO(one.text(path))) for path in paths]))
        for one, values in told:
            with suppress(KeyError):  # of other columns in runs of old
                if draw is figures.difficulty:
                    values.append(_params(one).get("select_samples", {}).get("metric", "difficulty"))
                if draw is figures.kept_shares and not _of_attributes(one):
                    values[1] = values[1][:0]
                if draw is figures.training_loss:
                    highest = max(table["loss"].max() for _, (table,) in told)
                    chart = drawn(partial(figures.training_loss, highest=highest), *values)
                else:
                    chart = drawn(draw, *values)
                found.setdefault(title, []).append((str(one), chart))
    return found


def _params(one: Revision) -> dict[str, Any]:
    return yaml.safe_load(one.text("params.yaml"))


def _of_attributes(one: Revision) -> bool:
    """Whether the clusters of the run's answers are those of its attributes."""
    params = _params(one)
    source = params.get("build_instructions", {}).get("source", "attributes")
    return source == "attributes" and not params.get("collect_responses", {}).get("released")


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="compare", description="What changed between two runs.")
    parser.add_argument("a", help="commit, branch, tag or experiment")
    parser.add_argument("b", nargs="?", default="", help="another; else the work tree")
    parser.add_argument("--out", type=Path, help="write it to this file, too: Markdown, or a page (.html)")
    parser.add_argument(
        "--fail", action="store_true", help="exit status 1 if a score got worse, or none can be compared"
    )
    chosen = parser.parse_args(arguments)
    if chosen.out and chosen.out.is_dir():
        raise SentiDistillError(f"{chosen.out} is a folder; name a file")
    a, b = Revision(chosen.a), Revision(chosen.b)
    before, after = predictions(a), predictions(b)
    found = differences(before, after)
    comparable = len(before.index.intersection(after.index)) > 0
    said = verdict(found, str(a), str(b)) if comparable else f"{a} and {b} {NOTHING_SHARED}"
    for one in (a, b):
        if names := outdated(one.lock()):
            said += f" {one} is unfinished: {', '.join(names)} did not run after a change of their inputs."
    parts = sections(a, b, found, moved(before, after))
    text = markdown(a, b, said, parts)
    print(text)
    if chosen.out and chosen.out.suffix == ".html":
        values = {"a": a, "b": b, "verdict": said, "sections": parts, "charts": charts(a, b)}
        records.write_text(chosen.out, rendered("compare.html.jinja", **values))
    elif chosen.out:
        records.write_text(chosen.out, text)
    if chosen.fail and (not comparable or any(one.worse for one in found)):
        sys.exit(1)


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
