"""What a student's folder says about itself: all that its answers depend on besides weights and tokenizer.

It lies in the folder as sentidistill.json, so that `Predictor` needs nothing else. It holds no text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import ValidationError

from sentidistill import records
from sentidistill.config.prompting import PromptFormat, Student
from sentidistill.errors import SentiDistillError
from sentidistill.inference.calibration import fit, normalised
from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.requests import Engine, Reader, Request, stream
from sentidistill.pipeline.progress import track
from sentidistill.prompts import stop_strings
from sentidistill.records import Record
from sentidistill.samples import LabelTask, prompt, with_labels
from sentidistill.sources.corpus import clean
from sentidistill.sources.models import ORIGIN
from sentidistill.sources.packages import sha256

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILE = "sentidistill.json"
ROWS_PER_BATCH = 16
MOST_TEXTS = 240  # validation texts of a task: 80 of each of three labels give an offset to about a tenth of a nat


class KnownTask(Record):
    """A task in the words in which the student is asked, with its calibration, measured on validation texts.

    `offsets` (nats), the label bias, are subtracted from the log-probabilities among the labels, and the difference is
    divided by `temperature`.
    """

    instruction: str
    cue: str
    labels: list[str]
    offsets: list[float]
    temperature: float


class About(Record):
    """`prompt_format` and `max_length` (tokens of a prompt and its answer) are those of training.

    `cleaning` is what `sources.corpus.clean` does to a text before it is asked about, `stop` are the texts that end a
    written answer besides the end token. `long_texts` says how a longer text is read: it is cut at sentences, and the
    labels' probabilities of the pieces are averaged, weighted by their lengths.
    """

    version: Literal[2]
    prompt_format: PromptFormat
    cleaning: Literal["HTML entities resolved, NFC, no control characters, every run of blanks one blank"]
    stop: list[str]
    max_length: int
    long_texts: Literal["pooled"]
    tasks: dict[str, KnownTask]


def which_label(
    instruction: str, cue: str, labels: Sequence[str], text: str, demonstrations: Sequence[tuple[str, str]] = ()
) -> Request:
    """Which of the labels a text gets, asked as in training and in the evaluation."""
    return Request(prompt(with_labels(instruction, labels), cue, text, demonstrations), choices=tuple(labels))


def label_scores(
    engine: Engine, reader: Reader, task: LabelTask, texts: Sequence[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray]:
    """(log-probabilities of the labels, n x labels; places of the right labels, n) of (text, label) pairs.

    Texts that are too long are left out.
    """
    scores, gold = [], []
    with track(f"{task.name}, labelled texts", len(texts)) as progress:
        requests = [which_label(task.instruction, task.cue, task.labels, clean(text)) for text, _ in texts]
        for finished in stream(engine, reader, requests):
            good = [(place, response) for place, response in finished if not response.error]
            scores += [response.choice_logprobs for _, response in good]
            gold += [task.labels.index(texts[place][1]) for place, _ in good]
            progress.advance(len(finished), failures=len(finished) - len(good))
    return np.reshape(scores, (-1, len(task.labels))), np.array(gold, dtype=int)


def asking(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", form: Student | About, batch_tokens: int
) -> tuple[Engine, Reader]:
    """A loaded student, ready to be asked in the `form` of its training."""
    engine = TransformersEngine(model, tokenizer, rows_per_batch=ROWS_PER_BATCH, batch_tokens=batch_tokens)
    return engine, Reader("", form.prompt_format, form.max_length, lambda: tokenizer)


def spread(texts: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """`MOST_TEXTS` of validation texts at most, spread evenly."""
    return texts[:: max(1, -(-len(texts) // MOST_TEXTS))]


def macro_f1(scores: np.ndarray, gold: np.ndarray) -> float:
    """In percent, with the label bias over the same texts subtracted."""
    from sklearn.metrics import f1_score

    offsets, _ = fit(scores, gold)
    found, labels = (normalised(scores) - offsets).argmax(axis=1), range(scores.shape[1])
    return 100 * float(f1_score(gold, found, labels=labels, average="macro", zero_division=0))


def known_task(task: LabelTask, offsets: np.ndarray, temperature: float) -> KnownTask:
    return KnownTask(
        instruction=task.instruction,
        cue=task.cue,
        labels=list(task.labels),
        offsets=[round(float(value), 4) for value in offsets],
        temperature=round(temperature, 4),
    )


def save(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompt_format: PromptFormat,
    base: Path,
) -> None:
    """Weights, their hashes, and the tokenizer, without a chat template if the student was trained on transcripts.

    From the folder `base` come the settings of what reads images, which vLLM asks for where the model can read them.
    """
    model.save_pretrained(folder)
    for file in base.glob("*processor_config.json"):
        (folder / file.name).write_bytes(file.read_bytes())  # `folder` may be `base` itself
    if prompt_format == "transcript":
        tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    weights = {file.name: sha256(file) for file in sorted(folder.glob("*.safetensors"))}
    records.write_json(folder / ORIGIN, {"source": "trained", "weights": weights})


def describe(folder: Path, student: Student, tasks: dict[str, KnownTask]) -> None:
    about = About(
        version=2,
        prompt_format=student.prompt_format,
        cleaning="HTML entities resolved, NFC, no control characters, every run of blanks one blank",
        stop=list(stop_strings(student.prompt_format)),
        max_length=student.max_length,
        long_texts="pooled",
        tasks=tasks,
    )
    records.write_json(folder / FILE, about.model_dump())


def read(folder: Path) -> About | None:
    """None if the folder has no such file. Raises `SentiDistillError` for a file that this version cannot read."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return About.model_validate(records.read_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise SentiDistillError(
            f"{path}: {place}: {problem['msg']}; it is of another version of sentidistill, or damaged: train the "
            "student again, or fetch its folder again"
        ) from error
