"""Fixtures that several modules share: tiny models, made once per session."""

import importlib.util
import os

import pytest

# Before any test imports torch or transformers: nothing may look for a hub or a GPU.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # two tests at a time, and tiny matrices gain nothing from a second thread
    os.environ["OMP_NUM_THREADS"] = "1"


# These have an environment and a target of their own: `make test-vllm`.
collect_ignore = [] if importlib.util.find_spec("vllm") else ["vllm_cpu"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that share the pipeline's folder run in one worker of pytest-xdist, those that share a Ray cluster too."""
    for item in items:
        if "project" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("project"))
        elif "actor" in item.name:
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """Folder with teacher/, student/ and embedder/; see tests/tiny_models.py."""
    from tests import tiny_models

    folder = tmp_path_factory.mktemp("models")
    loss = tiny_models.build(folder)
    assert loss < 0.1, f"the tiny teacher has not learned its formats (loss {loss:.2f})"
    return folder


@pytest.fixture(scope="session")
def tiny_student(tiny_models):
    """(random two-layer Llama, tokenizer)"""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_models / "student"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def embedder(tmp_path_factory):
    """Folder of the default embedder, fetched if it is not there yet."""
    from pathlib import Path

    from sentidistill import config, models

    root = Path(__file__).resolve().parent.parent
    folder = tmp_path_factory.mktemp("embedder") / "model"
    models.prepare(config.load(root / "params.yaml").prepare_models.embedder, folder, root / ".cache/downloads", root)
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory, tiny_models):
    """The pipeline after one `dvc repro`; a test that changes something puts it back."""
    from tests.project import Project

    made = Project(tmp_path_factory.mktemp("project"), tiny_models)
    made.ran = made.repro()
    made.commit()
    return made
