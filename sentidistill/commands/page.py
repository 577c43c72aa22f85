"""The run as one page, report.html: `make page`, or python -m sentidistill.commands.page [--text ID]

It opens anywhere, offline: tables to sort and search, curves, wrong predictions, and one text followed through all
stages. It is no output of a stage, as outputs may not hold the commit, seconds, and the origin of answers.
"""

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sentidistill import config, records
from sentidistill.config import Params
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.construct.attributes import MENTIONS, texts_having
from sentidistill.construct.demonstrations import DEMONSTRATIONS
from sentidistill.construct.instructions import INSTRUCTIONS
from sentidistill.construct.perspectives import PERSPECTIVES, Perspective
from sentidistill.errors import SentiDistillError
from sentidistill.inference.requests import Request, answer
from sentidistill.pipeline import graph, runs, stage
from sentidistill.prompts import stop_strings
from sentidistill.report import figures, funnel, scores, story, trust
from sentidistill.report.licences import called
from sentidistill.report.templates import drawn, rendered
from sentidistill.samples import SAMPLES, TRAIN_ROWS, Sample
from sentidistill.sources import models
from sentidistill.sources.corpus import TEXTS, Text
from sentidistill.student import folder

OUT, STUDENT, BASE = Path("report.html"), Path("models/student"), Path("models/student_base")
MOST_TOKENS = 96


def agreement() -> dict[str, float]:
    """For each closed task, the share of its written texts that have the label that they were written for."""
    written = pd.DataFrame(
        [(row.task, row.written_for == row.output) for row in DEMONSTRATIONS.read() if row.written_for]
    )
    return written.groupby(0)[1].mean().to_dict() if len(written) else {}


def of_trust(tested: Mapping[str, scores.Tested]) -> dict[str, Any]:
    """Curves, and wrong predictions, of the student on the texts of the sentiment tasks."""
    about = folder.read(STUDENT)
    if about is None or "sentiment" not in about.tasks:
        return {}
    table = trust.answers(tested, about.tasks["sentiment"])
    if table.empty:
        return {}
    sure, right = table["sure"].to_numpy(), (table["gold"] == table["said"]).to_numpy()
    bins = trust.reliability(sure, right)
    wrong = table[~right].sort_values("sure", ascending=False)
    return {
        "texts": len(table),
        "error": trust.calibration_error(bins),
        "reliability": drawn(figures.reliability, bins),
        "risk": drawn(figures.risk_coverage, trust.risk_coverage(sure, right)),
        "wrong": wrong.to_dict("records"),
    }


def followed(text_id: str | None, params: Params) -> dict[str, Any]:
    """One text through the run: by its id or, without one, a text with a kept label and answers of many families."""
    samples, mentions, kept = SAMPLES.read(), MENTIONS.read(), {row.id for row in TRAIN_ROWS.read()}
    chosen = text_id or story.richest(samples, kept)
    asked = [row for row in samples if row.text_id == chosen]
    texts = {row.id: row for row in TEXTS.read()}
    for row in asked:  # released answers are about other texts than those of the corpus
        texts.setdefault(row.text_id, Text(id=row.text_id, domain="released", text=row.text, pool="distillation"))
    about = texts.get(chosen or "")
    if about is None:
        raise SentiDistillError(f"data/corpus.jsonl has no text {chosen!r}; take an `id` of that file")
    difficulty = pd.read_csv("data/difficulty.csv", index_col="id")
    said, tokens = students_answers(asked, params), ranked(asked, params)
    values = difficulty[params.select_samples.metric]
    steps = [
        story.Step(row, *tokens[row.id], float(values.loc[row.id]), row.id in kept, one)
        for row, one in zip(asked, said)
        if row.id in difficulty.index
    ]
    return {"text": about, "mentions": [row for row in mentions if row.text_id == chosen], "steps": steps}


def ranked(asked: list[Sample], params: Params) -> dict[str, tuple[str, list[story.Token]]]:
    """(the student's prompt, the tokens of the teacher's answer with their rank scores), by sample."""
    root, student = stage.cache_root().parent, params.student
    model, tokenizer = models.load_causal_lm(BASE, root, params.runtime), models.load_tokenizer(BASE, root)
    settings = (student.prompt_format, student.max_length, params.score_difficulty.top_p)
    return {row.id: story.tokens(row, model, tokenizer, *settings) for row in asked}


def students_answers(asked: list[Sample], params: Params) -> list[str]:
    root, student, runtime = stage.cache_root().parent, params.student, params.runtime
    model, tokenizer = models.load_causal_lm(STUDENT, root, runtime), models.load_tokenizer(STUDENT, root)
    stop = stop_strings(student.prompt_format)
    requests = [
        Request(row.student_prompt(), choices=tuple(row.labels))
        if row.labels
        else Request(row.student_prompt(), top_k=1, max_new_tokens=MOST_TOKENS, stop=stop)
        for row in asked
    ]
    return [
        one.text.strip() for one in answer(*folder.asking(model, tokenizer, student, runtime.batch_tokens), requests)
    ]


def lock_is_committed() -> bool:
    return not subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "dvc.lock"], capture_output=True).returncode


def commit() -> str:
    """The commit of the run, which is the last one that changed dvc.lock; "" where this is no repository."""
    command = ["git", "log", "-1", "--format=%h", "--abbrev=10", "--", "dvc.lock"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return found if lock_is_committed() or not found else f"{found} with changes"


def times() -> tuple[str, dict[str, runs.Run]]:
    """(whose they are, the time of each stage): those in git if dvc.lock is, too, and else those of this clone."""
    if lock_is_committed() and (recorded := runs.recorded()):
        return f"in the recorded run ({runs.RECORDED.as_posix()})", recorded
    return "when it last ran here", runs.last(stage.cache_root())


def texts_of(perspectives: Sequence[Perspective]) -> tuple[dict[int, int], dict[str, int]]:
    """The number of texts that mention each perspective, by its id, and each attribute, by its name."""
    having = texts_having([one for row in perspectives for one in row.attributes], MENTIONS.read())
    every = {row.id: set().union(*(having[one.name] for one in row.attributes)) for row in perspectives}
    return {key: len(texts) for key, texts in every.items()}, {name: len(texts) for name, texts in having.items()}


def gathered(text_id: str | None) -> dict[str, Any]:
    """The values for the page's template."""
    params = config.load()
    tested = {name: scores.read(name, params.evaluate.split) for name in params.evaluate.tasks}
    default = {name: one for name, one in tested.items() if name not in SENTIBENCH}
    whose, last = times()
    instructions, perspectives = INSTRUCTIONS.read(), PERSPECTIVES.read()
    texts, texts_of_attribute = texts_of(perspectives)
    plots, own = Path("plots"), params.build_instructions.source == "attributes"
    clusters = pd.read_csv(plots / "clusters.csv")
    named = clusters if own and not params.collect_responses.released else clusters[:0]
    return {
        **scores.of_models(tested, params.evaluate),
        "headline": records.read_json("metrics/report.json"),
        "split": params.evaluate.split,
        "models": {role: called(models.origin(Path("models", role))) for role in ("teacher", "student_base")},
        "commit": commit(),
        "whose_runs": whose,
        "runs": [(one.name, last[one.name]) for one in graph.load() if one.name in last],
        "funnel": funnel.steps(),
        "perspectives": perspectives,
        "texts": texts,
        "texts_of_attribute": texts_of_attribute,
        "made": Counter(row.cluster for row in instructions),
        "names": {row.id: row.exemplar for row in perspectives if own},
        "instructions": instructions,
        "agreement": agreement(),
        "selection": records.read_json("metrics/select_samples.json"),
        "training": records.read_json("metrics/train_student.json"),
        "difficulty": drawn(figures.difficulty, pd.read_csv(plots / "difficulty.csv"), params.select_samples.metric),
        "kept": drawn(figures.kept_shares, pd.read_csv(plots / "kept.csv"), named),
        "clusters": drawn(figures.cluster_map, clusters),
        "loss": drawn(figures.training_loss, pd.read_csv(plots / "training_loss.csv")),
        "trust": of_trust(default),
        "story": followed(text_id, params),
    }


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="page", description="The run as one page, report.html.")
    parser.add_argument("--text", metavar="ID", help="of data/corpus.jsonl: the text that is followed through the run")
    chosen = parser.parse_args(arguments)
    text = rendered("report.html.jinja", **gathered(chosen.text))
    records.write_text(OUT, text)
    print(f"{OUT}: {len(text.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
