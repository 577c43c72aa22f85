"""Model folders from every kind of source; the default student for real."""

import json
import shutil
from pathlib import Path

import pytest

from sentidistill import config
from sentidistill.commands.evaluate import known_folder
from sentidistill.config import HubModel, PathModel
from sentidistill.errors import SentiDistillError
from sentidistill.sources import models

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = config.load(ROOT / "params.yaml").runtime


def test_a_local_folder_is_pointed_at_and_told_apart_by_its_files(tiny_models, tmp_path):
    shutil.copytree(tiny_models / "student", tmp_path / "mine")
    source = PathModel(source="path", path="mine")
    models.prepare(source, tmp_path / "out", tmp_path / "downloads", tmp_path)
    assert models.locate(tmp_path / "out", tmp_path) == tmp_path / "mine"
    assert models.load_causal_lm(tmp_path / "out", tmp_path, RUNTIME).config.hidden_size == 16
    before = models.identity(tmp_path / "out")
    (tmp_path / "mine" / "config.json").write_text((tmp_path / "mine" / "config.json").read_text() + "\n")
    models.prepare(source, tmp_path / "out", tmp_path / "downloads", tmp_path)
    assert models.identity(tmp_path / "out") != before


def test_a_hub_repository_is_pinned_to_its_commit(tiny_models, tmp_path, monkeypatch):
    """From a local cache of the hub's layout, offline."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "hub"
    repo = cache / "models--someone--tiny"
    shutil.copytree(tiny_models / "student", repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    origin = models.prepare(HubModel(source="hub", repo="someone/tiny"), tmp_path / "out", tmp_path, tmp_path)
    assert origin == {"source": "hub", "repo": "someone/tiny", "revision": commit}
    assert [path.name for path in (tmp_path / "out").iterdir()] == [models.ORIGIN]
    assert models.load_tokenizer(tmp_path / "out", tmp_path).eos_token == "</s>"


def test_a_model_that_is_not_there_is_named_and_leaves_nothing(tmp_path):
    with pytest.raises(SentiDistillError, match="nowhere: no model folder"):
        models.prepare(PathModel(source="path", path="nowhere"), tmp_path / "out", tmp_path, tmp_path)
    with pytest.raises(SentiDistillError, match="someone/missing"):
        models.prepare(HubModel(source="hub", repo="someone/missing"), tmp_path / "out", tmp_path, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_pads_with_its_end_token_gets_another(tiny_models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models / "student", folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["pad_token"] = settings["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = models.load_tokenizer(folder, tmp_path)
    assert tokenizer.pad_token_id not in {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id}


def test_the_default_student_from_its_package(default_student, tmp_path):
    """Fetched, checked, turned from GGUF into float32 safetensors, and able to read."""
    import torch
    from safetensors import safe_open

    with safe_open(default_student / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in list(file.keys())[:5]} == {torch.float32}
    tokenizer = models.load_tokenizer(default_student, tmp_path)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.chat_template
    model = models.load_causal_lm(default_student, tmp_path, RUNTIME)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    ids = torch.tensor([tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        best = int(model(ids).logits[0, -1].argmax())
    assert tokenizer.decode([best]).strip() == "Paris"


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(SentiDistillError, match=r"runtime\.device is cuda:99, but this machine has \d+ of"):
        models.device(RUNTIME.model_copy(update={"device": "cuda:99"}))
    assert models.device(RUNTIME.model_copy(update={"device": "cpu"})).type == "cpu"


def test_a_model_that_can_be_no_folder_and_no_repository_is_named(tmp_path):
    with pytest.raises(SentiDistillError, match="no/such/folder: no such folder, and no repository of the hub"):
        known_folder("no/such/folder", tmp_path)
