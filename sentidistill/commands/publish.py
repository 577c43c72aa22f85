"""A finished student and what it was trained on, ready for others: `make publish`

python -m sentidistill.commands.publish [--push OWNER/NAME] [--push-dataset OWNER/NAME]

exports/student gets the student's folder, exports/dataset the training set, both a card made from this run (README.md)
and provenance.json. What would be uploaded is printed; with `--push` it is, to a hub's repository, by the login that
`hf auth login` has stored, or to a folder, given by its absolute path.
"""

import argparse
import platform
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, StrictUndefined
from rich.table import Table

from sentidistill import config, records
from sentidistill.commands import export
from sentidistill.config import Params
from sentidistill.config.corpus import FileTexts
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import runs, stage
from sentidistill.samples import TRAIN_ROWS
from sentidistill.sources import models
from sentidistill.student import folder

OUT, DATASET, STUDENT = Path("exports/student"), Path("exports/dataset"), Path("models/student")
LIBRARIES = ("torch", "transformers", "trl", "xllamacpp", "dvc")


class Licence(NamedTuple):
    """Of a model whose name or source holds `name`: what it is called, and what follows for a student of it."""

    name: str
    licence: str
    follows: str


# By the publishers' own pages; the first that fits counts.
LICENCES = (
    Licence("qwen3", "Apache-2.0", "keep its notice"),
    Licence("qwen2.5-3b", "Qwen Research License", "no commercial use"),
    Licence("qwen2.5-72b", "Qwen License", "ask above 100 million users a month; say that it was built with Qwen"),
    Licence("qwen2.5", "Apache-2.0", "keep its notice"),
    Licence("smollm", "Apache-2.0", "keep its notice"),
    Licence("gemma", "Gemma Terms of Use", "a student is a model derivative: pass on the terms and the use policy"),
    Licence(
        "llama",
        "Llama Community License",
        "a model trained on its output begins its name with Llama; say *Built with Llama*; pass the licence on",
    ),
)
UNKNOWN = Licence("", "not known here", "look at its source before you pass the student on")


def licence_of(origin: dict[str, Any]) -> Licence:
    told = str(origin).lower()
    return next((one for one in LICENCES if one.name in told), UNKNOWN)


def called(origin: dict[str, Any]) -> str:
    """What people know a model by: its repository, server's name or folder, or else the packages that it comes in."""
    places = [origin, *origin.get("places", [])]
    for key in ("repo", "model", "path"):
        if named := [place[key] for place in places if place.get(key)]:
            return str(named[0])
    return ", ".join(origin.get("packages", {})) or "no model"


def text_sources(params: Params) -> list[dict[str, str]]:
    """(name, licence, what follows) of the user texts."""
    found = []
    for source in params.prepare_corpus.sources:
        if isinstance(source, FileTexts):
            found.append({"name": source.path, "licence": UNKNOWN.licence, "follows": "they are yours to answer for"})
        else:
            found.append(
                {
                    "name": f"{source.vader} of vaderSentiment (Hutto and Gilbert, 2014)",
                    "licence": "MIT; the texts belong to their authors",
                    "follows": "name the source",
                }
            )
    return found


def provenance() -> dict[str, Any]:
    """Versions, machine, commit, and DVC's hashes of what each stage wrote."""
    lock = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    return {
        "commit": commit + (" and changes that are in no commit" if changed else ""),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "processor": runs.processor(),
        "weights": records.read_json(STUDENT / models.ORIGIN)["weights"],
        "outputs": {out["path"]: out["md5"] for one in lock.values() for out in one.get("outs", []) if "md5" in out},
    }


def rendered(name: str, **values: Any) -> str:
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("sentidistill.report").joinpath(f"{name}.md.jinja").read_text("utf-8")
    return environment.from_string(template).render(**values)


def origin(role: str) -> dict[str, Any]:
    return records.read_json(Path("models", role, models.ORIGIN))


def licences(params: Params, *roles: str) -> str:
    """The table of what the models in these roles, and the texts, are under."""
    of_models = {called(origin(role)): licence_of(origin(role)) for role in roles}
    return rendered("licences", licences=of_models, texts=text_sources(params))


def card(params: Params, about: folder.About, report: dict[str, Any], made: dict[str, Any]) -> str:
    """The model card. Every figure is of this run's metrics."""
    return rendered(
        "card",
        about=about,
        report=report,
        made=made,
        split=params.evaluate.split,
        tasks=params.evaluate.tasks,
        training=records.read_json("metrics/train_student.json"),
        names={role: called(origin(role)) for role in ("teacher", "student_base")},
        licences=licences(params, "teacher", "student_base"),
    )


def dataset_card(params: Params, made: dict[str, Any]) -> str:
    return rendered(
        "dataset",
        made=made,
        teacher=called(origin("teacher")),
        selected=records.read_json("metrics/select_samples.json"),
        families=Counter(row.family for row in TRAIN_ROWS.read()).most_common(),
        licences=licences(params, "teacher"),
    )


def assemble() -> None:
    """Write both folders. Raises `SentiDistillError` where the run is not finished."""
    about = folder.read(STUDENT)
    if about is None or not Path("metrics/report.json").exists():
        raise SentiDistillError(
            f"{STUDENT} or metrics/report.json is not there, or of an older version; run `make repro`"
        )
    made, params = provenance(), config.load()
    cards = {
        OUT: card(params, about, records.read_json("metrics/report.json"), made),
        DATASET: dataset_card(params, made),
    }
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree(STUDENT, OUT, ignore=shutil.ignore_patterns(models.ORIGIN))
    export.dataset(DATASET)
    for out, text in cards.items():
        records.write_json(out / "provenance.json", made)
        records.write_text(out / "README.md", text)


def push(out: Path, target: str, kind: str) -> str:
    """Upload the folder `out` to a hub's repository of this kind, "model" or "dataset", or copy it to a folder."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        if Path(target).is_absolute():
            return str(shutil.copytree(out, target, dirs_exist_ok=True))
        HfApi().create_repo(target, repo_type=kind, exist_ok=True)
        return str(HfApi().upload_folder(repo_id=target, repo_type=kind, folder_path=out))
    except (HfHubHTTPError, LocalTokenNotFoundError, ValueError, OSError) as error:
        raise SentiDistillError(
            f"{target}: {error}; the folder {out} is complete, log in by `hf auth login`"
        ) from error


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="publish", description="A finished student and its training set, for others.")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the student to this repository, or to /a/folder")
    parser.add_argument("--push-dataset", metavar="OWNER/NAME", help="upload the training set, likewise")
    chosen = parser.parse_args(arguments)
    assemble()
    for out, target, kind in ((OUT, chosen.push, "model"), (DATASET, chosen.push_dataset, "dataset")):
        table = Table("file", "MB", title=str(out))
        for file in sorted(file for file in out.rglob("*") if file.is_file()):
            table.add_row(str(file.relative_to(out)), f"{file.stat().st_size / 1e6:.2f}")
        stage.console().print(table)
        print(push(out, target, kind) if target else f"{out}: nothing was uploaded; see --help")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
