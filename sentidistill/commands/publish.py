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
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.table import Table

from sentidistill import config, records
from sentidistill.commands import export
from sentidistill.config import Params
from sentidistill.config.benchmark import SENTIBENCH
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import runs, stage
from sentidistill.prompts import stop_strings
from sentidistill.report import cards, scores, trust
from sentidistill.samples import TRAIN_ROWS
from sentidistill.sources import models
from sentidistill.student import folder

OUT, DATASET, STUDENT = Path("exports/student"), Path("exports/dataset"), Path("models/student")
LIBRARIES = ("torch", "transformers", "trl", "xllamacpp", "dvc")


def provenance() -> dict[str, Any]:
    """Versions, the machine of the last training in this clone, commit, and DVC's hashes of what each stage wrote."""
    trained = runs.here(stage.cache_root()).get("train_student")
    lock = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True).stdout.strip()
    return {
        "commit": commit + (" and changes that are in no commit" if changed else ""),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "processor": trained.processor if trained else "a machine that is not noted in this clone",
        "weights": records.read_json(STUDENT / models.ORIGIN)["weights"],
        "outputs": {out["path"]: out["md5"] for one in lock.values() for out in one.get("outs", []) if "md5" in out},
    }


def card(params: Params, about: folder.About, made: dict[str, Any], origins: dict[str, dict[str, Any]]) -> str:
    """The model card. Every figure is of this run."""
    tested = {name: scores.read(name, params.evaluate.split) for name in params.evaluate.tasks}
    tested = {name: one for name, one in tested.items() if name not in SENTIBENCH}
    stages = ("prepare_corpus", "build_instructions", "collect_responses", "select_samples", "train_student")
    return cards.rendered(
        "card",
        params,
        origins,
        about=about,
        stops=stop_strings(about.prompt_format),
        made=made,
        figures={name: records.read_json(f"metrics/{name}.json") for name in stages},
        families=Counter(row.family for row in TRAIN_ROWS.read()).most_common(),
        own=[task.path for task in params.prepare_benchmark.own if params.train_student.own_labels],
        calibration=calibration(tested, about),
        **scores.of_models(tested, params.evaluate),
    )


def calibration(tested: Mapping[str, scores.Tested], about: folder.About) -> dict[str, Any] | None:
    """How often the student is right by the probability that it states; None where no test text asks for sentiment."""
    answers = trust.answers(tested, about.tasks["sentiment"]) if "sentiment" in about.tasks else pd.DataFrame()
    if answers.empty:
        return None
    bins = trust.reliability(answers["sure"].to_numpy(), (answers["gold"] == answers["said"]).to_numpy())
    return {"texts": len(answers), "error": trust.calibration_error(bins), "bins": bins.to_dict("records")}


def dataset_card(params: Params, made: dict[str, Any], origins: dict[str, dict[str, Any]]) -> str:
    return cards.rendered(
        "dataset",
        params,
        {"teacher": origins["teacher"]},
        made=made,
        selected=records.read_json("metrics/select_samples.json"),
        families=Counter(row.family for row in TRAIN_ROWS.read()).most_common(),
    )


def check_student() -> None:
    """Raises `SentiDistillError` for a student that is not the run's, as the run's figures are not its own."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            outs = [out for one in repo.stage.collect("train_student") for out in one.outs]
            changed = {path: how for out in outs for path, how in out.workspace_status().items()}
    except DvcException as error:
        raise SentiDistillError(f"DVC does not know the run here ({error}); run `make repro`") from error
    if changed.get(str(STUDENT)) == "modified":
        raise SentiDistillError(
            f"{STUDENT} is not the student that the run has trained (dvc.lock), and the run's figures are not its own; "
            f"`dvc checkout {STUDENT}` brings that one back, `make repro` trains it"
        )


def assemble() -> None:
    """Write both folders. Raises `SentiDistillError` where the run is not finished."""
    about = folder.read(STUDENT)
    if about is None or not Path("metrics/report.json").exists():
        raise SentiDistillError(
            f"{STUDENT} or metrics/report.json is not there, or of an older version; run `make repro`"
        )
    check_student()
    made, params = provenance(), config.load()
    origins = {role: models.origin(Path("models", role)) for role in ("teacher", "student_base")}
    texts = {OUT: card(params, about, made, origins), DATASET: dataset_card(params, made, origins)}
    export.check_out(OUT, "provenance.json")
    export.dataset(DATASET)
    with records.whole_folder(OUT) as student:
        shutil.copytree(STUDENT, student, ignore=shutil.ignore_patterns(models.ORIGIN), dirs_exist_ok=True)
        for out, text in ((student, texts[OUT]), (DATASET, texts[DATASET])):
            records.write_json(out / "provenance.json", made)
            records.write_text(out / "README.md", text)


def push(out: Path, target: str, kind: str) -> str:
    """Upload the folder `out` to a hub's repository of this kind, "model" or "dataset", or copy it to a folder."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    try:
        if Path(target).is_absolute():
            if Path(target).is_file() or Path(target).resolve() == out.resolve():
                raise SentiDistillError(f"{target} is a file, or the folder {out} itself; name another folder")
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
    folders = [Path(one) for one in (chosen.push, chosen.push_dataset) if one and Path(one).is_absolute()]
    if len(folders) > len(set(folders)):
        raise SentiDistillError("--push and --push-dataset name one place, where one README.md would replace the other")
    assemble()
    for out, target, kind in ((OUT, chosen.push, "model"), (DATASET, chosen.push_dataset, "dataset")):
        table = Table("file", "MB", title=str(out))
        for file in sorted(file for file in out.rglob("*") if file.is_file()):
            table.add_row(str(file.relative_to(out)), f"{file.stat().st_size / 1e6:.2f}")
        stage.console().print(table)
        print(push(out, target, kind) if target else f"{out}: nothing was uploaded; see --help")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
