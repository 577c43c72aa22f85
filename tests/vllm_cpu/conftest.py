"""The default student's weights and a corpus of real prompts for engines that need an environment of their own."""

from pathlib import Path

import pytest

from sentidistill import config
from sentidistill.evaluation.default_tasks import SENTIMENTS
from sentidistill.inference.requests import Reader, Request
from sentidistill.samples import prompt
from sentidistill.sources import models

ROOT = Path(__file__).resolve().parent.parent.parent
OPTIONS = {"max_model_len": 1024, "enforce_eager": True, "kv_cache_memory_bytes": 2**29, "max_num_seqs": 16}
INSTRUCTION = "Say how the author of the text feels about it. Answer with one of: negative, neutral, positive."
SHOWN = (("What a waste of money.", "negative"), ("It is made of steel.", "neutral"), ("I love it!", "positive"))
SUBJECTS = (
    "The hotel",
    "This phone",
    "Her speech",
    "The film",
    "My new bike",
    "Their service",
    "The bread",
    "His essay",
)
VERDICTS = (
    "was a delight from start to finish.",
    "broke after two days, and nobody cared.",
    "is about four years old.",
    "made me smile, though it was late.",
    "costs too much for what it is.",
    "will be discussed on Monday.",
    "could have been worse, I suppose.",
    "left us cold and hungry.",
    "is simply the best in town.",
    "has a blue cover.",
    "was not bad at all.",
    "let everybody down again.",
    "is what I had hoped for.",
)
TEXTS = [f"{subject} {verdict}" for verdict in VERDICTS for subject in SUBJECTS]


def label_requests(number: int) -> list[Request]:
    return [Request(prompt(INSTRUCTION, "Feeling", text, SHOWN), choices=SENTIMENTS) for text in TEXTS[:number]]


@pytest.fixture(scope="session")
def student(tmp_path_factory) -> Path:
    """The model folder of the default student, fetched and converted if `make repro` has not done so."""
    made = ROOT / "models/student_base"
    if (made / "config.json").exists():
        return made
    folder = tmp_path_factory.mktemp("models") / "student_base"
    source = config.load(ROOT / "params.yaml").prepare_models.student_base
    models.prepare(source, folder, ROOT / ".cache/downloads", ROOT)
    return folder


@pytest.fixture(scope="session")
def tokenizer(student):
    return models.load_tokenizer(student, ROOT)


@pytest.fixture(scope="session")
def transformers_engine(student, tokenizer):
    from sentidistill.inference.engines.transformers import TransformersEngine

    runtime = config.load(ROOT / "params.yaml").runtime
    model = models.load_causal_lm(student, ROOT, runtime)
    return TransformersEngine(model, tokenizer, rows_per_batch=32, batch_tokens=20_000)


def reader(tokenizer, prompt_format="transcript", limit=1000) -> Reader:
    return Reader("student", prompt_format, limit, lambda: tokenizer)
