"""A distilled student on texts of your own.

    from sentidistill.predict import Predictor, Task

    student = Predictor("models/student")
    student.predict("What a lovely morning!")  # Prediction(answer="positive", probabilities={"negative": ...})
    pride = Task("Decide whether the author of the text is proud.", cue="Pride", labels=("proud", "not proud"))
    student.predict(["We won!", "We lost."], task=pride)

Or, with a JSON object for each line of the input: python -m sentidistill.predict models/student < texts.txt
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sentidistill.config import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation.default_tasks import SENTIMENTS
from sentidistill.evaluation.tasks import WORDING
from sentidistill.inference.engines.transformers import TransformersEngine
from sentidistill.inference.requests import Reader, Request, answer
from sentidistill.pipeline import stage
from sentidistill.prompts import stop_strings
from sentidistill.samples import prompt, with_labels

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
TASKS = {"sentiment": Task(**WORDING["sentiment"], labels=SENTIMENTS)}


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
        if isinstance(texts, str):
            return self.predict([texts], task)[0]
        if isinstance(task, str):
            if task not in TASKS:
                raise SentiDistillError(f"unknown task {task!r}; known are {', '.join(TASKS)}, or give a Task")
            task = TASKS[task]
        for number, text in enumerate(texts, 1):
            if not isinstance(text, str) or not text.strip():
                raise SentiDistillError(f"text {number} is empty or no text: {text!r}")
        found = answer(self._engine, self._reader, [task.request(text, self._stop) for text in texts])
        for number, one in enumerate(found, 1):
            if one.error:
                raise SentiDistillError(f"text {number} is too long for the model ({one.prompt_tokens} tokens)")
        return [Prediction(one.text.strip(), _probabilities(task.labels, one.choice_logprobs)) for one in found]


def _probabilities(labels: Sequence[str], logprobs: Sequence[float]) -> dict[str, float]:
    shares = np.exp(np.array(logprobs) - np.logaddexp.reduce(logprobs)) if labels else []
    return {label: round(float(share), 4) for label, share in zip(labels, shares)}


def main(folder: str = "", task: str = "sentiment") -> None:
    if not folder:
        raise SentiDistillError("name the folder of a model: python -m sentidistill.predict models/student < texts.txt")
    texts = [line.strip() for line in sys.stdin if line.strip()]
    for text, found in zip(texts, Predictor(folder).predict(texts, task)):
        print(json.dumps({"text": text, **asdict(found)}, ensure_ascii=False))


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
