"""Params, texts and model folders that are damaged or hostile: refused by name, and never a traceback."""

import copy
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentidistill import config
from sentidistill.config.models import PathModel
from sentidistill.sources import corpus, models
from tests.faults.tally import Tally, limited
from tests.project import ROOT, SMOKE

PART = "hostile params, texts and model folders"
SEED = 14
SECONDS = 60
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 1e308, float("inf"), float("nan"), "", "x" * 10_000, "../../x", "-r x", "a; touch b"),
    *("\ud83d", "\x00", "\x1b[31m", [], [None], {}, {"": 1}, [[[[]]]], "2024-13-45"),
)


def caught(call, *arguments) -> BaseException | None:
    try:
        with limited(SECONDS):
            call(*arguments)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return error
    return None


def leaves(values: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in pairs:
        yield from leaves(value, (*path, key))


def with_value(values: dict, path: tuple, value: Any) -> Any:
    changed = copy.deepcopy(values)
    *above, last = path
    place = changed
    for key in above:
        place = place[key]
    place[last] = value
    return changed


def damaged(content: bytes, moments: random.Random) -> bytes:
    """`content` cut, doubled, without a part, with foreign bytes, or in another encoding."""
    place, other = sorted(moments.randrange(len(content) + 1) for _ in range(2))
    return moments.choice(
        (
            content[:place],
            content[:place] + content[other:],
            content[:other] + content[place:],
            content[:place]
            + moments.choice((b"\xff", b"\x00", b"\t", b'"', b"[" * 3000, b"\r", b": &a *a"))
            + content[place:],
            content.decode("utf-8", "replace").encode("utf-16"),
        )
    )


def test_every_value_of_the_params_replaced(tally: Tally):
    for path in leaves(SMOKE):
        for value in VALUES if path else ():
            error = caught(config.checked, with_value(SMOKE, path, value), Path("params.yaml"))
            tally.raised(f"{'.'.join(map(str, path))} = {value!r:.60}", error)
    tally.check()


def test_damaged_files_of_params(tmp_path, tally: Tally):
    moments = random.Random(SEED)
    content = (ROOT / "params.yaml").read_bytes()
    path = tmp_path / "params.yaml"
    for number in range(150):
        path.write_bytes(damaged(content, moments))
        tally.raised(f"params file {number}", caught(config.load, path))
    tally.check()


TEXTS = {
    ".csv": 'text,stars\n"A fine day, and a ""long"" one",5\nNever again.,1\nSo-so,3\n',
    ".jsonl": '{"text": "A fine day", "stars": 5}\n{"text": "Never again."}\n',
}


@pytest.mark.parametrize("kind", TEXTS)
def test_damaged_files_of_texts(tmp_path, kind, tally: Tally):
    moments = random.Random(SEED)
    path = tmp_path / f"texts{kind}"
    for number in range(500):
        path.write_bytes(damaged(TEXTS[kind].encode(), moments))
        tally.raised(f"{path.name} {number}", caught(corpus.read_rows, corpus.of_params(path, "text")))
    tally.check()


def test_texts_of_any_characters_are_cleaned(tally: Tally):
    moments = random.Random(SEED)
    for number in range(2000):
        text = "".join(chr(moments.choice((moments.randrange(0x80), moments.randrange(0x110000)))) for _ in range(50))
        tally.raised(f"text {number}: {text!r}", caught(lambda one: corpus.fold(corpus.clean(one)), text))
    tally.check()


def test_damaged_model_folders(tiny_models, tmp_path, tally: Tally):
    """Refused when they are prepared, or at the latest when they are opened."""
    moments = random.Random(SEED)
    runtime = config.load(ROOT / "params.yaml").runtime
    names = sorted(path.name for path in (tiny_models / "student").iterdir())

    def opened() -> None:
        out = tmp_path / "out"
        models.prepare(PathModel(source="path", path="mine"), out, tmp_path / "downloads", tmp_path)
        models.load_tokenizer(out, tmp_path)
        models.load_causal_lm(out, tmp_path, runtime)

    for name in names:
        for number in range(4):
            shutil.rmtree(tmp_path / "mine", ignore_errors=True)
            shutil.copytree(tiny_models / "student", tmp_path / "mine")
            path = tmp_path / "mine" / name
            if number:
                path.write_bytes(damaged(path.read_bytes(), moments))
            else:
                path.unlink()
            tally.raised(f"model folder, {name}, {number}", caught(opened))
    tally.check()


def test_a_damaged_origin(tiny_models, tmp_path, tally: Tally):
    models.prepare(PathModel(source="path", path=str(tiny_models / "student")), tmp_path / "m", tmp_path, tmp_path)
    whole = yaml.safe_load((tmp_path / "m" / models.ORIGIN).read_text())
    for value in ({}, [], None, 3, "x", {"source": "x"}, {"source": "gguf"}, {"source": "path"}, {**whole, "path": 3}):
        (tmp_path / "m" / models.ORIGIN).write_text(yaml.safe_dump(value))
        tally.raised(f"origin.json {value!r:.60}", caught(models.load_tokenizer, tmp_path / "m", tmp_path))
    tally.check()
