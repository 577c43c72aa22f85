"""Fixtures that several modules share: tiny models, made once per session."""

import os

import pytest

# Before any test imports torch or transformers: nothing may look for a hub or a GPU.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


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
