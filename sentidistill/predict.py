"""A distilled student on texts of your own.

    from sentidistill.predict import Predictor, Task

    student = Predictor("models/student")
    student.predict("What a lovely morning!")  # Prediction(answer="positive", probabilities={"negative": ...})
    student.predict("Well.", max_error=0.2)  # answer=None if it is more likely than that to be wrong
    pride = Task("Decide whether the author of the text is proud.", cue="Pride", labels=("proud", "not proud"))
    student.predict(["We won!", "We lost."], task=pride)

Or as a command: a file with the predictions beside its columns, or a JSON object for each line of the input.

    python -m sentidistill.predict models/student reviews.csv --text-field review --out scored.csv
    python -m sentidistill.predict models/student < texts.txt
"""

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sentidistill import scored
from sentidistill.config.prompting import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS
from sentidistill.evaluation.tasks import wording
from sentidistill.inference.calibration import normalised
from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.requests import Reader, Request, Response, answer
from sentidistill.parsing.quotes import Span, spans
from sentidistill.pipeline import stage
from sentidistill.pipeline.progress import track
from sentidistill.prompts import answer_ids, end_ids, stop_strings
from sentidistill.samples import prompt
from sentidistill.sources import models
from sentidistill.sources.corpus import clean
from sentidistill.student import folder
from sentidistill.student.folder import which_label
from sentidistill.student.passages import passages

ROWS_PER_BATCH, BATCH_TOKENS = 32, 16384
LEAST_ROOM = 32  # tokens that a prompt leaves for a text; where it leaves fewer, long texts are not cut
# What is cleaned by itself: an entity, also one that was escaped several times, blanks, or a character with its marks.
UNIT = re.compile(r"&(?:amp;)*#?\w+;|\s+|.[\u0300-\u036f]*", re.DOTALL)


@dataclass(frozen=True)
class Task:
    """A question to be asked about a text.

    `cue` names the answer. With `labels`, the likeliest of them is the answer; otherwise it is written, with at most
    `max_new_tokens` tokens. `demonstrations` are (text, answer) pairs. `offsets` (nats), the
    label bias, are subtracted from the labels' log-probabilities, and the difference is divided by `temperature`.
    """

    instruction: str
    cue: str = "Answer"
    labels: tuple[str, ...] = ()
    demonstrations: tuple[tuple[str, str], ...] = ()
    max_new_tokens: int = 128
    offsets: tuple[float, ...] = ()
    temperature: float = 1.0

    def __post_init__(self):
        several = not isinstance(self.labels, str) and all(isinstance(one, str) and one.strip() for one in self.labels)
        if not several or len(set(self.labels)) < len(self.labels):
            raise SentiDistillError(f"a task's labels are different texts, like ('yes', 'no'), and not {self.labels!r}")
        if not isinstance(self.max_new_tokens, int) or self.max_new_tokens < 1:
            raise SentiDistillError(f"max_new_tokens is a whole number above 0, and not {self.max_new_tokens!r}")
        if any(not isinstance(one, tuple | list) or len(one) != 2 for one in self.demonstrations):
            raise SentiDistillError("a task's demonstrations are pairs, like (('We won!', 'yes'), ('We lost.', 'no'))")
        if len(self.offsets) not in (0, len(self.labels)) or not np.isfinite([*self.offsets, self.temperature]).all():
            raise SentiDistillError("a task has one offset for each label, or none; offsets and temperature are finite")
        if self.temperature <= 0:
            raise SentiDistillError(f"a task's temperature is above 0, and not {self.temperature}")

    def request(self, text: str, stop: tuple[str, ...]) -> Request:
        if self.labels:
            return which_label(self.instruction, self.cue, self.labels, text, self.demonstrations)
        asked = prompt(self.instruction, self.cue, text, self.demonstrations)
        return Request(asked, top_k=1, max_new_tokens=self.max_new_tokens, stop=stop)

    def probabilities(self, logprobs: Sequence[float]) -> dict[str, float]:
        """Probability of each label, from the log-probabilities that the model gives."""
        rows = (normalised(np.array([logprobs])) - np.array(self.offsets or 0.0)) / self.temperature
        return dict(zip(self.labels, np.exp(normalised(rows)[0]).tolist()))


@dataclass(frozen=True)
class Prediction:
    """An answer, None if no label is likely enough; for a task with labels also the probability of each label.

    `spans` are the places in the text of the words that a written answer quotes; those of a JSON answer say in which of
    its objects, and under which key.
    """

    answer: str | None
    probabilities: dict[str, float]
    spans: tuple[Span, ...] = ()


def _of_folder(task: folder.KnownTask) -> Task:
    labels, offsets = tuple(task.labels), tuple(task.offsets)
    return Task(task.instruction, task.cue, labels, offsets=offsets, temperature=task.temperature)


@cache
def sentiment() -> Task:
    """The task for a folder that names no tasks.

    The default tasks of the evaluation are asked in the same words, so their scores hold for this task.
    """
    asked = wording()["sentiment"]
    return Task(asked["instruction"], asked["cue"], SENTIMENTS)


class Predictor:
    """The model in the folder `path`.

    The folder says how the model is asked and which tasks it knows. A model that is no student of this project says
    nothing of it, and needs a `prompt_format`. The weights are read when they are first needed.
    Raises `SentiDistillError` if there is no model, if nothing says how to ask it, or if it was trained with another
    `prompt_format`.
    """

    def __init__(self, path: str | Path, *, prompt_format: PromptFormat | None = None, device: str | None = None):
        about = folder.read(Path(path))
        if about and prompt_format not in (None, about.prompt_format):
            raise SentiDistillError(f"{path} was trained on prompts of the format {about.prompt_format}; ask it so")
        known = {} if about is None else about.tasks
        self.tasks = {name: _of_folder(one) for name, one in known.items()} or {"sentiment": sentiment()}
        self._path, self._device = Path(path), device
        self._tokenizer = models.open_tokenizer(self._path)
        prompt_format = about.prompt_format if about else prompt_format
        if prompt_format is None:
            raise SentiDistillError(
                f"{path} is no student of this project, as it has no {folder.FILE}; "
                'Predictor(path, prompt_format="transcript"), or "chat", asks such a model all the same'
            )
        if prompt_format == "chat" and self._tokenizer.chat_template is not None:
            models.check_template(self._path, self._tokenizer)
        self.prompt_format: PromptFormat = prompt_format
        self._reader = Reader(str(path), prompt_format, sys.maxsize, lambda: self._tokenizer)
        self._limit = about.max_length if about else sys.maxsize
        self._stop = tuple(about.stop) if about else stop_strings(prompt_format)

    @cached_property
    def _engine(self) -> TransformersEngine:
        import torch

        model = models.open_language_model(self._path, dtype="auto")
        model.to(torch.device(self._device or ("cuda" if torch.cuda.is_available() else "cpu")))  # type: ignore[arg-type]  # as in models.py
        return TransformersEngine(model, self._tokenizer, rows_per_batch=ROWS_PER_BATCH, batch_tokens=BATCH_TOKENS)

    def predict(
        self, texts: str | Sequence[str], task: str | Task = "sentiment", *, max_error: float = 1.0
    ) -> Prediction | list[Prediction]:
        """The answer to `task`, a name in `tasks` or a task of your own, for one text or for each of several.

        If the likeliest label is wrong with a probability above `max_error`, the answer is None.
        Raises `SentiDistillError` for an unknown task, and for a text that is empty or too long for the model.
        """
        found = []
        each = self.try_each([texts] if isinstance(texts, str) else texts, task, max_error=max_error)
        for number, one in enumerate(each, 1):
            if isinstance(one, str):
                raise SentiDistillError(f"text {number}: {one}")
            found.append(one)
        return found[0] if isinstance(texts, str) else found

    def try_each(
        self, texts: Sequence[str], task: str | Task = "sentiment", *, max_error: float = 1.0
    ) -> list[Prediction | str]:
        """As `predict`, with a word on what is wrong in the place of a prediction that cannot be made.

        Texts are cleaned as those of the corpus are. Equal ones are asked once.
        """
        _check(max_error)
        task, texts = self._task(task), list(texts)
        cleaned = [clean(text) if isinstance(text, str) else "" for text in texts]
        different = list(dict.fromkeys(cleaned))
        pieces = dict(zip(different, self._pieces(different, task)))
        requests = [task.request(piece, self._stop) for of_text in pieces.values() for piece in of_text]
        answers = iter(answer(self._engine, self._reader, requests))
        answered = {text: [next(answers) for _ in of_text] for text, of_text in pieces.items()}
        return [
            self._read(task, text, pieces[one], answered[one], max_error)
            if pieces[one]
            else f"empty, or no text: {text!r}"
            for text, one in zip(texts, cleaned)
        ]

    def prompts(self, texts: Sequence[str], task: str | Task = "sentiment") -> list[list[int]]:
        """Token ids of the prompts of `predict`, for a server that completes them. Long texts are not cut."""
        requests = [self._task(task).request(clean(text), self._stop) for text in texts]
        return [self._reader.job(request).prompt_ids for request in requests]

    def answered(self, texts: Sequence[str], task: str | Task = "sentiment") -> list[list[int]]:
        """Token ids of each prompt with each label and each token that may end it.

        A server that returns the log-probabilities of prompts can score the labels so; `read` takes the sums.
        """
        of_labels = [answer_ids(label, self._tokenizer, self.prompt_format) for label in self._task(task).labels]
        ends = end_ids(self._tokenizer, self.prompt_format)
        return [ids + label + [end] for ids in self.prompts(texts, task) for label in of_labels for end in ends]

    def read(
        self, sums: Sequence[float], task: str | Task = "sentiment", *, max_error: float = 1.0
    ) -> list[Prediction]:
        """The prediction for each text, from the summed log-probabilities of the sequences of `answered`."""
        _check(max_error)
        task = self._task(task)
        ends = end_ids(self._tokenizer, self.prompt_format)
        rows = np.logaddexp.reduce(np.reshape(sums, (-1, len(task.labels), len(ends))), axis=2)
        return [_chosen(task.probabilities(row), max_error) for row in rows]

    def _task(self, task: str | Task) -> Task:
        if isinstance(task, Task):
            return task
        if task not in self.tasks:
            raise SentiDistillError(f"unknown task {task!r}; known are {', '.join(self.tasks)}, or give a Task")
        return self.tasks[task]

    def _pieces(self, texts: Sequence[str], task: Task) -> list[list[str]]:
        """The pieces of each text: several if it is too long and long texts are pooled, none if it is empty."""

        def tokens(text: str) -> int:
            job = self._reader.job(task.request(text, self._stop))
            return len(job.prompt_ids) + job.new_tokens() + 1  # with its end

        frame = tokens("")
        room = self._limit - frame if task.labels and self._limit - frame >= LEAST_ROOM else sys.maxsize

        def pieces(text: str) -> list[str]:
            if len(text.encode()) <= room:  # a text has no more tokens than bytes
                return [text] if text else []
            return passages(text, lambda piece: tokens(piece) - frame, room)

        return [pieces(text) for text in texts]

    def _read(
        self, task: Task, text: str, pieces: Sequence[str], responses: Sequence[Response], max_error: float
    ) -> Prediction | str:
        if failed := [response for response in responses if response.error]:
            asked = "" if task.labels else f", and up to {task.max_new_tokens} for the answer"
            return f"too long for the model ({failed[0].prompt_tokens} tokens{asked})"
        if not task.labels:
            written = responses[0].text.strip()
            return Prediction(written, {}, quoted(written, text))
        rows = [list(task.probabilities(response.choice_logprobs).values()) for response in responses]
        if not np.isfinite(rows).all():
            return "the model's scores are no numbers; its weights are damaged"
        means = np.average(rows, axis=0, weights=[len(piece) for piece in pieces])
        return _chosen(dict(zip(task.labels, means.tolist())), max_error)


def quoted(answer: str, text: str) -> tuple[Span, ...]:
    """The `spans` of an answer in a text as it was given. What answers has seen the text as `clean` leaves it."""
    cleaned, made = clean(text), ""
    if cleaned == text:
        return spans(answer, text)
    places: list[tuple[int, int]] = []  # by character of `made`, those of `text` that it came from
    for unit in UNIT.finditer(text):
        piece = clean(f".{unit[0]}.")[1:-1]  # the points keep blanks
        if piece != " " or made[-1:] not in ("", " "):
            made += piece
            places += [unit.span()] * len(piece)
    if made.rstrip() != cleaned:  # characters that only together become others
        return spans(answer, text)
    found = spans(answer, cleaned)
    return tuple(one._replace(start=places[one.start][0], end=places[one.end - 1][1]) for one in found)


def _check(max_error: float) -> None:
    if not 0 <= max_error <= 1:
        raise SentiDistillError(f"max_error is a probability, from 0 to 1, and not {max_error}")


def _chosen(likely: dict[str, float], max_error: float) -> Prediction:
    answer = max(likely, key=lambda label: likely[label])
    shown = {label: round(probability, 4) for label, probability in likely.items()}
    return Prediction(answer if 1 - likely[answer] <= max_error else None, shown)


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
    made.add_argument("--task", action="append", metavar="NAME", help="may be given several times (sentiment)")
    made.add_argument(
        "--max-error", type=float, default=1.0, help="no answer where it is wrong with a greater probability (1)"
    )
    made.add_argument("--out", type=Path, help="file to write: .csv, .jsonl, .parquet (NAME.scored.csv)")
    made.add_argument("--encoding", default="utf-8-sig", help="of the file of texts (%(default)s)")
    return made


def columns(tasks: Mapping[str, Task]) -> dict[str, type]:
    """The columns of predictions: for each task, its answer and the probability of each label."""
    found = [column for key, task in tasks.items() for column in (key, *(f"{key} {label}" for label in task.labels))]
    if twice := [name for name in found if found.count(name) > 1 or name == "error"]:
        raise SentiDistillError(f"two columns would be called {twice[0]!r}; ask the tasks one by one, or rename one")
    return {name: str if name in tasks else float for name in found}


def cells(
    student: Predictor, texts: Sequence[str], tasks: Sequence[str], max_error: float
) -> list[dict[str, str | float]]:
    """For each text, its predictions by the names of `columns`, or "error" if they cannot be made."""
    found: list[dict[str, str | float]] = [{} for _ in texts]
    for task in tasks:
        for row, one in zip(found, student.try_each(texts, task, max_error=max_error)):
            if isinstance(one, str):
                row["error"] = one
            else:
                row |= {task: one.answer or "", **{f"{task} {label}": p for label, p in one.probabilities.items()}}
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


def answer_lines(student: Predictor, task: str, max_error: float) -> None:
    lines = lines_of_input()
    while chunk := list(itertools.islice(lines, scored.CHUNK)):
        found = iter(student.try_each([text for text, _ in chunk if text], task, max_error=max_error))
        for text, fault in chunk:
            one = next(found) if text else fault
            row: dict[str, Any] = {"error": one}
            if isinstance(one, Prediction):
                row = {"answer": one.answer, "probabilities": one.probabilities}
            line = json.dumps({"text": text, **row}, ensure_ascii=False)
            sys.stdout.buffer.write(f"{line}\n".encode())  # JSON is in UTF-8, whatever the terminal's encoding
            sys.stdout.buffer.flush()


def main(*arguments: str) -> None:
    chosen = options().parse_args(arguments)
    _check(chosen.max_error)
    tasks = list(dict.fromkeys(chosen.task or ["sentiment"]))
    if chosen.texts is None:
        if len(tasks) > 1 or chosen.out or chosen.encoding != "utf-8-sig":
            raise SentiDistillError("several tasks, --out and --encoding need a file of texts")
        return answer_lines(Predictor(chosen.model), tasks[0], chosen.max_error)
    source = scored.Source(chosen.texts, chosen.text_field, chosen.encoding)
    source.columns()  # faults of the file are reported before the model is loaded
    student = Predictor(chosen.model)
    if unknown := [task for task in tasks if task not in student.tasks]:
        raise SentiDistillError(f"unknown task {unknown[0]!r}; {chosen.model} knows {', '.join(student.tasks)}")
    out = chosen.out or chosen.texts.with_name(f"{chosen.texts.name.removesuffix('.csv')}.scored.csv")
    files = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in chosen.model.iterdir())
    with track(f"predict, {chosen.texts.name}", sum(1 for _ in source.rows())) as progress:
        names = columns({task: student.tasks[task] for task in tasks})
        key = [*files, chosen.max_error]
        number, errors = scored.write(
            source, out, names, lambda texts: cells(student, texts, tasks, chosen.max_error), key, progress.advance
        )
    print(f"{out}: {number} rows" + (f", {errors} of them with an error (column error)" if errors else ""))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
