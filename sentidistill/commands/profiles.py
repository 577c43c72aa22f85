"""A profile laid over params.yaml: `make profile NAME=quick`, or python -m sentidistill.commands.profiles NAME

params/NAME.yaml holds what differs from the default run, or with `like: OTHER` from the profile OTHER. Sections are
merged key by key, all else is replaced, a model as a whole. params.yaml keeps its comments; `git checkout params.yaml`
brings the default run back.
"""

import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import yaml

from sentidistill import config
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage
from sentidistill.yaml_files import read_yaml, shown

FOLDER, PARAMS = Path("params"), Path("params.yaml")


def laid_over(values: MutableMapping[str, Any], changes: dict[str, Any]) -> None:
    """Change `values` in place."""
    for key, change in changes.items():
        old = values.get(key)
        if isinstance(change, dict) and change and isinstance(old, MutableMapping) and "source" not in change and old:
            laid_over(old, change)
        else:
            values[key] = change


def read(name: str) -> dict[str, Any]:
    """What the profile `name` changes. Raises `SentiDistillError` where there is no such profile."""
    changes = _read(name)
    if (other := changes.pop("like", None)) is None:
        return changes
    values = _read(other)
    if "like" in values:
        raise SentiDistillError(f"{FOLDER / name}.yaml: like: {other}, which is itself like another; name that one")
    laid_over(values, changes)
    return values


def _read(name: str) -> dict[str, Any]:
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if name not in known:
        raise SentiDistillError(f"no profile {name!r}; NAME is one of {', '.join(known)}")
    path = FOLDER / f"{name}.yaml"
    changes = read_yaml(path)
    if not isinstance(changes, dict):
        raise SentiDistillError(f"{path}: expected sections such as 'teacher:', found {shown(changes)}")
    return changes


def with_profile(name: str) -> dict[str, Any]:
    """The values of params.yaml with the profile `name` laid over them; the file stays as it is.

    Raises `SentiDistillError` where they are not valid.
    """
    changes, values = read(name), read_yaml(PARAMS)
    if isinstance(values, dict):
        laid_over(values, changes)
    config.checked(values, f"{PARAMS} with {FOLDER / name}.yaml")
    return values


def edited() -> list[str]:
    """Keys of params.yaml that are not as in the last commit; none where git does not know."""
    committed = subprocess.run(["git", "show", f"HEAD:./{PARAMS}"], capture_output=True)
    if committed.returncode:
        return []
    before, now = (dict(stage.leaves(values)) for values in (yaml.safe_load(committed.stdout), read_yaml(PARAMS)))
    return sorted(key for key in before.keys() | now.keys() if before.get(key, ...) != now.get(key, ...))


def main(*names: str) -> None:
    # DVC's own writer, so that `dvc exp run -S` changes no other line.
    from dvc.utils.serialize import modify_yaml

    name = " ".join(names)
    with_profile(name)  # an error leaves the file as it is
    changes = read(name)
    own = dict(stage.leaves(changes))
    stays = [key for key in edited() if not any(key == one or key.startswith(f"{one}.") for one in own)]
    with modify_yaml(PARAMS) as values:
        laid_over(values, changes)
    print(f"params.yaml holds the profile {name}. `git checkout params.yaml` brings back what is committed.")
    if stays:
        print(f"What differed before and stays: {', '.join(stays)}. For the profile alone, do that, and lay it again.")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
