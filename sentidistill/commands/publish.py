"""A finished student, ready for others: `make publish`, or python -m sentidistill.commands.publish [--push OWNER/NAME]

exports/student gets the student's folder, a model card made from this run (README.md) and provenance.json. What would
be uploaded is printed; with `--push` it is, to a hub's repository, by the login that `hf auth login` has stored.
"""

import argparse
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, StrictUndefined
from rich.table import Table

from sentidistill import config, records
from sentidistill.config import Params
from sentidistill.config.corpus import FileTexts
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import runs, stage
from sentidistill.sources import models
from sentidistill.student import folder

OUT, STUDENT = Path("exports/student"), Path("models/student")
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


def card(params: Params, about: folder.About, report: dict[str, Any], made: dict[str, Any]) -> str:
    """The model card. Every figure is of this run's metrics."""
    origins = {role: records.read_json(Path("models", role, models.ORIGIN)) for role in ("teacher", "student_base")}
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("sentidistill.report").joinpath("card.md.jinja").read_text("utf-8"))
    return template.render(
        about=about,
        report=report,
        made=made,
        split=params.evaluate.split,
        tasks=params.evaluate.tasks,
        training=records.read_json("metrics/train_student.json"),
        names={role: called(origin) for role, origin in origins.items()},
        licences={called(origin): licence_of(origin) for origin in origins.values()},
        texts=text_sources(params),
    )


def assemble(out: Path) -> list[Path]:
    """Write the folder `out`, and return its files. Raises `SentiDistillError` where the run is not finished."""
    about = folder.read(STUDENT)
    if about is None or not Path("metrics/report.json").exists():
        raise SentiDistillError(
            f"{STUDENT} or metrics/report.json is not there, or of an older version; run `make repro`"
        )
    made = provenance()
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(STUDENT, out, ignore=shutil.ignore_patterns(models.ORIGIN))
    records.write_json(out / "provenance.json", made)
    records.write_text(out / "README.md", card(config.load(), about, records.read_json("metrics/report.json"), made))
    return sorted(file for file in out.rglob("*") if file.is_file())


def push(out: Path, repository: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        HfApi().create_repo(repository, exist_ok=True)
        return str(HfApi().upload_folder(repo_id=repository, folder_path=out))
    except (HfHubHTTPError, LocalTokenNotFoundError, ValueError, OSError) as error:
        raise SentiDistillError(
            f"{repository}: {error}; the folder {out} is complete, log in by `hf auth login`"
        ) from error


def main(*arguments: str) -> None:
    parser = argparse.ArgumentParser(prog="publish", description="A finished student, ready for others.")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to this repository of a hub")
    chosen = parser.parse_args(arguments)
    table = Table("file", "MB", title=str(OUT))
    for file in assemble(OUT):
        table.add_row(str(file.relative_to(OUT)), f"{file.stat().st_size / 1e6:.2f}")
    stage.console().print(table)
    print(push(OUT, chosen.push) if chosen.push else "nothing was uploaded; `--push OWNER/NAME` does it")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
