"""A folder with what the first asking stage reads, and a teacher whose weights and tokenizer are nowhere."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from sentidistill import records
from sentidistill.inference import opening
from sentidistill.inference.requests import Job, Reader, Request, Response
from sentidistill.sources.corpus import Text

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ("What a day!", "The queue was long.", "Never again.", "Thanks to all of you.")
OUTPUTS = ("data/mentions.jsonl", "data/calls/enumerate_attributes.jsonl", "metrics/enumerate_attributes.json")
NOWHERE = {"source": "gguf", "sha256": "0" * 64, "places": [{"path": "nowhere.gguf"}]}


def make_folder(folder: Path, change: Callable[[dict], None] = lambda values: None) -> Path:
    """The default run's dvc.yaml, params and prompts, four texts, and a teacher of which there is no file."""
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copytree(ROOT / "prompts", folder / "prompts")
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["prepare_models"]["teacher"] = NOWHERE
    values["runtime"]["engine"]["teacher"] = "llamacpp"
    change(values)
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    records.write_json(folder / "models/teacher/origin.json", NOWHERE)
    write_texts(folder, TEXTS)
    return folder


def write_texts(folder: Path, texts: tuple[str, ...]) -> None:
    rows = [Text(id=records.content_id(text), domain="tweet", text=text, pool="enumeration") for text in texts]
    records.write_jsonl(folder / "data/corpus.jsonl", rows)


class Scripted:
    """Finds one attribute in every text; counts what it is asked. `words` are what the value of the attribute is."""

    def __init__(self, words: Callable[[Request], str] = lambda request: "high"):
        self.words, self.asked = words, []

    def stream(self, jobs):
        for place, job in enumerate(jobs):
            self.asked.append(job.request.prompt.input)
            words = self.words(job.request)
            text = f"1. **Candour** Attribute Description: How open the author is. Attribute Value: {words}"
            yield [(place, Response(text if words else "", "stop", 10, 20))]


@contextmanager
def answering(engine: Scripted) -> Iterator[Scripted]:
    """The teacher can be asked meanwhile: `engine` answers, and needs no token ids."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "make_engine", lambda *_: engine)
        patch.setattr(Reader, "job", lambda self, request: Job(request, [], [], []))
        yield engine


def outputs() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in OUTPUTS}


def asked_of(run: dict) -> tuple[int, int, int]:
    return run["recorded"], run["cached"], run["asked"]


def note(name: str = "enumerate_attributes") -> dict:
    return json.loads(Path(".cache/runs", f"{name}.json").read_text(encoding="utf-8"))
