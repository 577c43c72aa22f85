"""What stages will ask once what they read is made anew: sizes by params.yaml alone."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sentidistill.config import Params
from sentidistill.inference.store import Rate
from sentidistill.pipeline.graph import Stage


def requests(one: Stage, params: Params) -> int | None:
    """About how many requests a stage makes; None where no setting says so."""
    tasks = params.define_tasks.max_tasks
    if one.template == "evaluate":
        task = one.arguments[1]
        if task in params.prepare_benchmark.tasks:
            return 3 * params.prepare_benchmark.per_label.test + params.evaluate.calibration_texts
        return None
    return {
        "enumerate_attributes": params.prepare_corpus.pool_sizes.enumeration,
        "define_tasks": sum(tasks.values()),
        "collect_responses": sum(params.compose_prompts.prompts.values()),
    }.get(one.name)


def hours(one: Stage, requests: int, rates: Mapping[str, Rate]) -> float | None:
    """Those of `requests` at the pace of the stage's last ones, of whatever kind; None where there were none.

    `rates` are by the labels under which stages ask: "collect_responses, labels", "evaluate teacher, movie".
    """
    own = f"{one.template} {', '.join(one.arguments)}" if one.arguments else one.name
    found = [rate for label, rate in rates.items() if label == own or label.startswith(f"{own}, ")]
    known = sum(rate.requests for rate in found)
    return requests * sum(rate.seconds for rate in found) / known / 3600 if known else None


def changed(stages: list[Stage], values: Mapping[str, Any], lock: Path = Path("dvc.lock")) -> set[str]:
    """Stages whose params, `values`, or whose files that no stage writes, are not those of their last run.

    A stage that never ran is none of them, and a change of code alone is not looked at.
    """
    if not lock.exists():
        return set()
    last = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
    written = {path for one in stages for path in (*one.outs, *one.metrics)}
    found = set()
    for one in stages:
        noted = last.get(one.name, {})
        settings = noted.get("params", {}).get("params.yaml", {})
        files = {dep["path"]: dep["md5"] for dep in noted.get("deps", [])}
        own = [path for path in one.inputs if not one.reads(written & {path}) and path in files]
        if any(_at(values, key) != value for key, value in settings.items()) or any(
            _md5(Path(path)) != files[path] for path in own
        ):
            found.add(one.name)
    return found


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _md5(path: Path) -> str:
    """As DVC has it: of a folder, that of the list of its files."""
    if not path.is_dir():
        return hashlib.md5(path.read_bytes()).hexdigest() if path.exists() else ""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"
