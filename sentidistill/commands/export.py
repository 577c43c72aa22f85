"""The student for those who do not have this package: `make export FORMAT=text-classification TASK=sentiment`

python -m sentidistill.commands.export {text-classification,dataset} [--model FOLDER] [--task NAME] [--out FOLDER]

text-classification: a folder for transformers.pipeline("text-classification", FOLDER). The tokenizer puts the prompt
around the text; the rows of the output layer for the labels' first tokens are the head. It gives the label of the
likeliest first token. `--calibrated` folds the offsets of the labels into the head, as far as a linear one can hold
them, and gives the labels of `sentidistill.predict`. parity.json and README.md say how often the labels are the
student's, and how good they are. An export whose labels are not the student's fails.

dataset: data/train.jsonl as train.parquet, in columns prompt and completion, for datasets.load_dataset.
"""

import argparse
import io
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentidistill import config, records
from sentidistill.commands.arguments import at_least
from sentidistill.config.prompting import PromptFormat
from sentidistill.errors import SentiDistillError
from sentidistill.evaluation import baselines, suite, tasks
from sentidistill.evaluation.tasks import EvaluationTask
from sentidistill.pipeline import runs, stage
from sentidistill.pipeline.progress import track
from sentidistill.predict import Prediction, Predictor, Task
from sentidistill.prompts import answer_ids, render, transcript
from sentidistill.report import cards
from sentidistill.samples import TRAIN_ROWS
from sentidistill.sources import models
from sentidistill.sources.corpus import clean

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

DATASET = {"train.parquet", "README.md", "provenance.json"}  # all that the folder of a data set has
LEAST_EQUAL = 0.995  # share of the labels that have to be those of the student
SAMPLES = ("Quite.", "A b c d", "7 of 9", "We lost, again", "#no @one", "\tIt is so.\r\n\nSo:\x1c \u2028it\xa0is\n")
BLANKS = r"[\s\x1c-\x1f]+"  # what str.split divides at, in the regular expressions of `tokenizers`


def asked(tokenizer: "PreTrainedTokenizerBase", prompt_format: PromptFormat, task: Task, text: str) -> list[int]:
    """Token ids of the prompt in which `sentidistill.predict` asks `task` about a text."""
    return render(task.request(clean(text), ()).prompt, tokenizer, prompt_format).prompt_ids


def around(rows: Sequence[list[int]]) -> tuple[list[int], list[int]]:
    """(token ids before a text, ids after it), from the prompts of a task about different texts."""
    return _beginning(rows), _beginning([row[::-1] for row in rows])[::-1]


def _beginning(rows: Sequence[list[int]]) -> list[int]:
    """What all of the rows begin with."""
    return [column[0] for column in itertools.takewhile(lambda column: len(set(column)) == 1, zip(*rows))]


def framing(tokenizer: "PreTrainedTokenizerBase", prompt_format: PromptFormat, task: Task) -> "PreTrainedTokenizerFast":
    """A tokenizer that puts the prompt of `task` around a text by itself.

    It reads a text as `clean` leaves it, but for HTML entities and control characters: line breaks become blanks, so
    that no text can end its own prompt and begin another one.
    Raises `SentiDistillError` where this kind of tokenizer does not read a text within a prompt as it reads it alone.
    """
    from tokenizers import Regex, Tokenizer, normalizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    expected = [asked(tokenizer, prompt_format, task, text) for text in SAMPLES]
    before, after = around(expected)
    fast = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    cleaned = [
        normalizers.NFC(),
        normalizers.Replace(Regex(BLANKS), " "),
        normalizers.Strip(),
        normalizers.Prepend(" "),
    ]
    fast.normalizer = normalizers.Sequence([*cleaned, *([fast.normalizer] if fast.normalizer else [])])
    parts = [("<prompt>", before), ("<answer>", after)]
    fast.post_processor = TemplateProcessing(
        single="<prompt> $A <answer>",
        special_tokens=[
            {"id": name, "ids": ids, "tokens": [fast.id_to_token(one) for one in ids]} for name, ids in parts
        ],
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token=tokenizer.pad_token,
        eos_token=tokenizer.eos_token,
        padding_side="left",
        split_special_tokens=True,
    )
    if [made(text)["input_ids"] for text in SAMPLES] != expected:
        raise SentiDistillError(
            f"this tokenizer ({type(tokenizer).__name__}) reads a text alone otherwise than within the prompt, so it "
            "cannot carry one; use sentidistill.predict"
        )
    return made


def first_tokens(tokenizer: "PreTrainedTokenizerBase", prompt_format: PromptFormat, labels: Sequence[str]) -> list[int]:
    """The token that each label begins with. Raises `SentiDistillError` where two share one."""
    first = {label: answer_ids(label, tokenizer, prompt_format)[0] for label in labels}
    for label, token in first.items():
        if twins := [other for other in labels if other != label and first[other] == token]:
            raise SentiDistillError(
                f"the labels {label!r} and {twins[0]!r} begin with the same token, so a classification head cannot "
                "tell them apart; give one another name, or use sentidistill.predict"
            )
    return list(first.values())


def constant(states: np.ndarray, ridge: float = 1e-3) -> np.ndarray:
    """v (d) with states (n x d) @ v near 1: what a head without a bias can carry an offset by. Ridge regression.

    The ridge was chosen on validation texts of the default run.
    """
    scale = ridge * float(np.square(states).sum(axis=1).mean())
    gram = states @ states.T + scale * np.eye(len(states))
    return states.T @ np.linalg.solve(gram, np.ones(len(states)))


def last_states(model: "PreTrainedModel", prompts: Sequence[list[int]]) -> np.ndarray:
    """What the output layer sees at the last token of each prompt (n x d)."""
    import torch

    rows = []
    with torch.inference_mode(), track("export, texts", len(prompts)) as progress:
        for ids in prompts:
            states = model.base_model(torch.tensor([ids]), use_cache=False).last_hidden_state
            rows.append(states[0, -1].float().numpy())
            progress.advance()
    return np.array(rows)


def with_head(source: Path, weights: "torch.Tensor", labels: Sequence[str], pad: int) -> "PreTrainedModel":
    """The sequence classifier with the body of the model in `source` and the head `weights` (labels x d)."""
    import torch
    from transformers import AutoModelForSequenceClassification

    names = dict(enumerate(labels))
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=len(labels), id2label=names, label2id={name: key for key, name in names.items()}
        )
        head = model.score
    except (ValueError, AttributeError) as error:
        raise SentiDistillError(f"{source}: transformers has no classifier of this architecture ({error})") from error
    with torch.no_grad():
        head.weight.copy_(weights)
    model.config.pad_token_id = pad
    return model


def text_classification(source: Path, name: str, out: Path, calibrated: bool, limit: int) -> dict[str, Any]:
    """Write the folder `out`, and return its parity with the student in `source`, on `limit` test texts at most.

    Raises `SentiDistillError` where its labels are not those of the student's likeliest first token or, if it is
    calibrated, those of `sentidistill.predict`; then the folder is as it was.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # the head is new, as it has to be
    check_out(out, "parity.json")
    student = Predictor(source)
    train, validation, test = (labelled(name, split, limit) for split in ("train", "validation", "test"))
    if name not in student.tasks or not test:
        known = [task for task in student.tasks if labelled(task, "test", 1)]
        raise SentiDistillError(
            f"unknown task {name!r}; {source} and data/benchmark both have {', '.join(known) or 'none'}"
        )
    task, prompt_format = student.tasks[name], student.prompt_format
    if calibrated and not task.offsets:
        raise SentiDistillError(f"{source} does not say how its labels lean; leave out --calibrated")
    tokenizer = AutoTokenizer.from_pretrained(source)
    framed = framing(tokenizer, prompt_format, task)
    model = AutoModelForCausalLM.from_pretrained(source).eval()
    rows = model.get_output_embeddings().weight[first_tokens(tokenizer, prompt_format, task.labels)].detach().float()

    def states(texts: Sequence[tuple[str, str]]) -> np.ndarray:
        return last_states(model, [asked(tokenizer, prompt_format, task, text) for text, _ in texts])

    head = rows
    if calibrated:
        carried = np.outer(task.offsets, constant(states([*train, *validation])))
        head = (rows - torch.from_numpy(carried).float()) / task.temperature
    first = [task.labels[place] for place in (states(test) @ rows.numpy().T).argmax(axis=1)]
    framed.model_max_length = getattr(model.config.get_text_config(), "max_position_embeddings", 10**6)
    with records.whole_folder(out) as new:
        with_head(source, head, task.labels, framed.pad_token_id).save_pretrained(new)
        framed.save_pretrained(new)
        found = {"task": name, "calibrated": calibrated, **parity(student, name, new, first, test)}
        equal = found["same_as_predict" if calibrated else "same_as_first_token"]
        if equal < LEAST_EQUAL:
            raise SentiDistillError(
                f"{name}: {equal:.1%} of the exported labels are the student's, at least {LEAST_EQUAL:.1%} have to be; "
                "use sentidistill.predict"
            )
        records.write_json(new / "parity.json", found)
    return found


def labelled(name: str, split: str, limit: int) -> list[tuple[str, str]]:
    """`limit` (text, label) pairs at most of a task in data/benchmark, spread over the split; none of another task."""
    _, texts = tasks.for_use(Path("data/benchmark"), split).get(name, (None, []))
    number = min(limit, len(texts))
    return [texts[place * len(texts) // number] for place in range(number)]


def parity(
    student: Predictor, name: str, out: Path, first: Sequence[str], test: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """How often the labels of the folder `out` are those of the student's first tokens (n), and of its predictions.

    And how good they are (macro-F1 in percent, 95 % of resampled texts), texts a second, and the size of the folder.
    """
    import torch

    task = EvaluationTask(name, student.tasks[name].instruction, student.tasks[name].cue, student.tasks[name].labels)
    rows = [{"sentence": text, "label": label} for text, label in test]
    exported = baselines.classifier(out, torch.device("cpu"))
    started = time.monotonic()
    outcomes = baselines.outcomes(exported, task, rows, [], suite.Settings())
    seconds = time.monotonic() - started
    answers = student.try_each([text for text, _ in test], name)
    given = [one.output for one in outcomes]
    return {
        "texts": len(test),
        "same_as_first_token": round(float(np.mean([a == b for a, b in zip(given, first)])), 4),
        "same_as_predict": round(
            float(np.mean([isinstance(one, Prediction) and a == one.answer for a, one in zip(given, answers)])), 4
        ),
        "macro_f1": suite.estimate(task, rows, outcomes, 2000, "output").rounded(),
        "texts_per_second": round(len(test) / seconds, 1),
        "megabytes": round(sum(file.stat().st_size for file in out.iterdir()) / 1e6, 1),
    }


def check_out(out: Path, marker: str) -> None:
    """Raises `SentiDistillError` for a folder that is not empty and has no file `marker`, and for a file."""
    if out.is_dir() and any(out.iterdir()) and not (out / marker).exists():
        raise SentiDistillError(f"{out}: no export has written what is in it; move it away, or name another folder")
    if out.is_file():
        raise SentiDistillError(f"{out} is a file; name a folder")


def dataset(out: Path) -> int:
    """data/train.jsonl in `out`, as a hub and `datasets.load_dataset` take it. Returns the number of rows."""
    import pyarrow
    import pyarrow.parquet

    rows = TRAIN_ROWS.read()
    check_out(out, "train.parquet")
    if out.is_dir() and (others := {file.name for file in out.iterdir()} - DATASET):
        raise SentiDistillError(f"{out}: no export has written {min(others)}; move it away, or name another folder")
    columns = [
        {"id": row.id, "family": row.family, "prompt": transcript(row.prompt()), "completion": row.answer}
        for row in rows
    ]
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(columns), content)
    records.write_bytes(out / "train.parquet", content.getvalue())
    return len(rows)


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="export", description="The student for those who do not have this package.")
    parser.add_argument("format", choices=["text-classification", "dataset"])
    parser.add_argument("--model", type=Path, default=Path("models/student"), help="folder of a student (%(default)s)")
    parser.add_argument("--task", default="sentiment", help="of those that the student knows (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder to write (exports/TASK, exports/dataset)")
    parser.add_argument("--calibrated", action="store_true", help="with the offsets of the labels in the head")
    parser.add_argument("--texts", type=at_least(1), default=1000, help="test texts for parity.json (%(default)s)")
    chosen = parser.parse_args(arguments)
    if chosen.format == "dataset":
        out = chosen.out or Path("exports/dataset")
        print(f"{out}: {dataset(out)} rows")
        return
    out = chosen.out or Path("exports", chosen.task)
    params = config.load()
    origins = {role: models.origin(Path("models", role)) for role in ("teacher", "student_base")}
    found = text_classification(chosen.model, chosen.task, out, chosen.calibrated, chosen.texts)
    task = Predictor(chosen.model).tasks[chosen.task]
    card = cards.rendered("classifier", params, origins, found=found, task=task, processor=runs.processor())
    records.write_text(out / "README.md", card)
    for key, value in found.items():
        print(f"{key}: {value}")
    print(f'{out}: transformers.pipeline("text-classification", "{out}")')


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
