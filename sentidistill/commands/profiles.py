"""A profile laid over params.yaml: `make profile NAME=quick`, or python -m sentidistill.commands.profiles NAME

params/NAME.yaml holds what differs from the default run. Sections are merged key by key, all else is replaced, a model
as a whole. params.yaml keeps its comments; `git checkout params.yaml` brings the default run back.
"""

import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import yaml

from sentidistill import config
from sentidistill.errors import SentiDistillError
from sentidistill.pipeline import stage

FOLDER, PARAMS = Path("params"), Path("params.yaml")


def laid_over(values: MutableMapping[str, Any], changes: dict[str, Any]) -> None:
    """Change `values` in place. Raises `KeyError` with the path of a key that is not there."""
    for key, change in changes.items():
        if key not in values:
            raise KeyError(key)
        old = values[key]
        if isinstance(change, dict) and isinstance(old, MutableMapping) and "source" not in change and old:
            try:
                laid_over(old, change)
            except KeyError as error:
                raise KeyError(f"{key}.{error.args[0]}") from error
        else:
            values[key] = change


def lay_over(values: MutableMapping[str, Any], name: str) -> None:
    """Lay a profile over the `values` of params.yaml. Raises `SentiDistillError` if they are then not valid."""
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if name not in known:
        raise SentiDistillError(f"no profile {name!r}; NAME is one of {', '.join(known)}")
    path = FOLDER / f"{name}.yaml"
    try:
        laid_over(values, yaml.safe_load(path.read_text(encoding="utf-8")))
    except KeyError as error:
        raise SentiDistillError(f"{path}: params.yaml has no key {error.args[0]}") from error
    config.checked(values, PARAMS)


def with_profile(name: str) -> dict[str, Any]:
    """The values of params.yaml with the profile `name` laid over them; the file stays as it is."""
    values = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    lay_over(values, name)
    return values


def main(name: str = "") -> None:
    # DVC's own writer, so that `dvc exp run -S` changes no other line.
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(PARAMS) as values:
        lay_over(values, name)  # an error leaves the file as it is
    print(f"params.yaml holds the profile {name}. `git checkout params.yaml` brings the default run back.")


if __name__ == "__main__":
    stage.run(main, *sys.argv[1:])
