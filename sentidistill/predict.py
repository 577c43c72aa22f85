"""A distilled student on texts of your own.

    from sentidistill.predict import Predictor, Task

    student = Predictor("models/student")
    student.predict("What a lovely morning!")  # Prediction(answer="positive", probabilities={"negative": ...})
    pride = Task("Decide whether the author of the text is proud.", cue="Pride", labels=("proud", "not proud"))
    student.predict(["We won!", "We lost."], task=pride)

Or as a command: a file with the predictions beside its columns, or a JSON object for each line of the input.

    python -m sentidistill.predict models/student reviews.csv --text-field review --out scored.csv
    python -m sentidistill.predict models/student < texts.txt
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sentidistill import scored
from sentidistill.config import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS
from sentidistill.evaluation.tasks import WORDING
from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.requests import Reader, Request, Response, answer
from sentidistill.pipeline import stage
from sentidistill.pipeline.progress import track
from sentidistill.prompts import stop_strings
from sentidistill.samples import prompt, with_labels
from sentidistill.sources.corpus import clean

ROWS_PER_BATCH, BATCH_TOKENS = 32, 16384


@dataclass(frozen=True)
class Task:
    """What is asked of a text.

    `cue` names the answer. With `labels`, the likeliest of them is the answer; otherwise it is written, with at most
    `max_new_tokens` tokens. `demonstrations` are (text, answer) pairs.
    """

    instruction: str
    cue: str = "Answer"
    labels: tuple[str, ...] = ()
    demonstrations: tuple[tuple[str, str], ...] = ()
    max_new_tokens: int = 128

    def request(self, text: str, stop: tuple[str, ...]) -> Request:
        instruction = with_labels(self.instruction, self.labels) if self.labels else self.instruction
        asked = prompt(instruction, self.cue, text, self.demonstrations)
        if self.labels:
            return Request(asked, choices=self.labels)
        return Request(asked, top_k=1, max_new_tokens=self.max_new_tokens, stop=stop)


@dataclass(frozen=True)
class Prediction:
    """An answer; of a task with labels also how likely each is among them."""

    answer: str
    probabilities: dict[str, float]


# The default tasks of the evaluation are asked in the same words, so their scores are those of this.
TASKS = {"sentiment": Task(WORDING["sentiment"]["instruction"], WORDING["sentiment"]["cue"], SENTIMENTS)}


class Predictor:
    """The model in the folder `path`, which was trained on prompts of `prompt_format` (student.prompt_format).

    Raises `SentiDistillError` where there is no model.
    """

    def __init__(self, path: str | Path, *, prompt_format: PromptFormat = "transcript", device: str | None = None):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if not Path(path, "config.json").is_file():
            raise SentiDistillError(f"{path}: no model folder there (config.json is missing)")
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype="auto").eval()
        model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._engine = TransformersEngine(model, tokenizer, rows_per_batch=ROWS_PER_BATCH, batch_tokens=BATCH_TOKENS)
        self._reader = Reader(str(path), prompt_format, model.config.max_position_embeddings, lambda: tokenizer)
        self._stop = stop_strings(prompt_format)

    def predict(self, texts: str | Sequence[str], task: str | Task = "sentiment") -> Prediction | list[Prediction]:
        """The answer to `task`, a name in `TASKS` or a task of your own, for one text or for each of several.

        Raises `SentiDistillError` for an unknown task, and for a text that is empty or too long for the model.
        """
        found = []
        for number, one in enumerate(self.try_each([texts] if isinstance(texts, str) else texts, task), 1):
            if isinstance(one, str):
                raise SentiDistillError(f"text {number}: {one}")
            found.append(one)
        return found[0] if isinstance(texts, str) else found

    def try_each(self, texts: Sequence[str], task: str | Task = "sentiment") -> list[Prediction | str]:
        """As `predict`, with a word on what is wrong in the place of a prediction that cannot be made.

        Texts are cleaned as those of the corpus are.
        """
        if isinstance(task, str):
            if task not in TASKS:
                raise SentiDistillError(f"unknown task {task!r}; known are {', '.join(TASKS)}, or give a Task")
            task = TASKS[task]
        cleaned = [clean(text) if isinstance(text, str) else "" for text in texts]
        requests = [task.request(text, self._stop) for text in cleaned if text]
        answers = iter(answer(self._engine, self._reader, requests))
        return [
            self._read(next(answers), task) if clean_text else f"empty, or no text: {text!r}"
            for text, clean_text in zip(texts, cleaned)
        ]

    def _read(self, response: Response, task: Task) -> Prediction | str:
        if response.error:
            return f"too long for the model ({response.prompt_tokens} tokens)"
        return Prediction(response.text.strip(), _probabilities(task.labels, response.choice_logprobs))


def _probabilities(labels: Sequence[str], logprobs: Sequence[float]) -> dict[str, float]:
    shares = np.exp(np.array(logprobs) - np.logaddexp.reduce(logprobs)) if labels else []
    return {label: round(float(share), 4) for label, share in zip(labels, shares)}


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m sentidistill.predict",
        description="A distilled student on texts of your own.",
        epilog="Killed, and run again with the same arguments, it goes on where it stopped.",
    )
    made.add_argument("model", type=Path, help="folder of a model, such as models/student")
    made.add_argument(
        "texts", type=Path, nargs="?", help="file of texts: .csv, .tsv, .jsonl, .parquet; else standard input"
    )
    made.add_argument("--text-field", default="text", help="column or key of the texts (%(default)s)")
    made.add_argument("--task", action="append", choices=sorted(TASKS), help="may be given several times (sentiment)")
    made.add_argument("--out", type=Path, help="file to write: .csv or .jsonl (NAME.scored.csv)")
    made.add_argument("--encoding", default="utf-8-sig", help="of the file of texts (%(default)s)")
    return made


def columns(tasks: Sequence[str]) -> list[str]:
    """Names of the columns that predictions are written in: each task's answer, and how likely each label is."""
    return [name for task in tasks for name in (task, *(f"{task} {label}" for label in TASKS[task].labels))]


def cells(student: Predictor, texts: Sequence[str], tasks: Sequence[str]) -> list[dict[str, str | float]]:
    """The predictions for each text by the names of `columns`, or "error" for what cannot be predicted."""
    found: list[dict[str, str | float]] = [{} for _ in texts]
    for task in tasks:
        for row, one in zip(found, student.try_each(texts, task)):
            if isinstance(one, str):
                row["error"] = one
            else:
                row |= {task: one.answer, **{f"{task} {label}": p for label, p in one.probabilities.items()}}
    return found


def lines_of_input() -> Iterator[tuple[str | None, str | None]]:
    """(text, None) or (None, fault) of each line of the standard input that is not blank."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            yield None, f"line {number} is not UTF-8 ({error.reason})"
            continue
        if text:
            yield text, None


def answer_lines(student: Predictor, task: str) -> None:
    lines = lines_of_input()
    while chunk := list(itertools.islice(lines, scored.CHUNK)):
        found = iter(student.try_each([text for text, _ in chunk if text], task))
        for text, fault in chunk:
            one = next(found) if text else fault
            row = asdict(one) if isinstance(one, Prediction) else {"error": one}
            print(json.dumps({"text": text, **row}, ensure_ascii=False), flush=True)


def main(*arguments: str) -> None:
    chosen = options().parse_args(arguments)
    tasks = list(dict.fromkeys(chosen.task or ["sentiment"]))
    if chosen.texts is None:
        if len(tasks) > 1 or chosen.out:
            raise SentiDistillError("several tasks, and --out, need a file of texts")
        return answer_lines(Predictor(chosen.model), tasks[0])
    source = scored.Source(chosen.texts, chosen.text_field, chosen.encoding)
    source.columns()  # what is wrong with the file is said before the model is loaded
    student = Predictor(chosen.model)
    out = chosen.out or chosen.texts.with_suffix(".scored.csv")
    files = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in chosen.model.iterdir())
    with track(f"predict, {chosen.texts.name}", sum(1 for _ in source.rows())) as progress:
        number = scored.write(
            source, out, columns(tasks), lambda texts: cells(student, texts, tasks), files, progress.advance
        )
    print(f"{out}: {number} rows")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
