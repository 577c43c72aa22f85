"""dvc.yaml with `foreach` and `matrix` written out: every single stage with its own paths."""

import itertools
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sentidistill import config
from sentidistill.yaml_files import read_yaml


@dataclass(frozen=True)
class Stage:
    """One stage as DVC runs it. `template` is its name in dvc.yaml; `name` has the item behind an @.

    `arguments` are those of the stage's `main`: the values of the item. `outs` has the plots too.
    """

    name: str
    template: str
    arguments: list[str]
    desc: str
    cmd: str
    deps: list[str]
    outs: list[str]
    metrics: list[str]
    params: list[str]

    @property
    def inputs(self) -> list[str]:
        """Its dependencies besides code."""
        return [dep for dep in self.deps if not dep.endswith(".py")]

    def reads(self, written: Iterable[str]) -> bool:
        """Whether a dependency is one of the paths `written`, or lies in one, or one lies in it."""
        pairs = [(f"{dep}/", f"{path}/") for dep in self.deps for path in written]
        return any(dep.startswith(path) or path.startswith(dep) for dep, path in pairs)


def load() -> list[Stage]:
    """The stages of ./dvc.yaml with the lists of ./params.yaml, in an order in which they can run."""
    return stages(read_yaml("dvc.yaml"), config.load().model_dump())


def dependents(all_stages: list[Stage], name: str) -> list[Stage]:
    """The stages that read what the stage `name` writes, or what one of these writes, in their order."""
    written: set[str] = set()
    found = []
    for one in all_stages:
        if one.name != name and not one.reads(written):
            continue
        written |= {*one.outs, *one.metrics}
        found += [one] if one.name != name else []
    return found


def stages(dvc_yaml: dict[str, Any], params: dict[str, Any]) -> list[Stage]:
    """The stages of `dvc_yaml`, in its order. Lists of a matrix may be taken from `params`: ${evaluate.tasks}."""
    found = []
    for template, content in dvc_yaml["stages"].items():
        body = content.get("do", content)
        for arguments, values in _items(content, params):
            name = "@".join([template, *(["-".join(arguments)] if arguments else [])])
            desc, cmd = (_filled(body[kind], values) for kind in ("desc", "cmd"))
            paths = (
                [_filled(path_of(entry), values) for entry in entries]
                for entries in (body.get("deps", []), outs(body), body.get("metrics", []), body.get("params", []))
            )
            found.append(Stage(name, template, arguments, desc, cmd, *paths))
    return found


def outs(body: dict[str, Any]) -> list[Any]:
    """The entries of what a stage writes besides metrics."""
    return [*body["outs"], *body.get("plots", [])]


def path_of(entry: Any) -> str:
    """The path, or name, of an entry that may carry options."""
    return entry if isinstance(entry, str) else next(iter(entry))


def _items(content: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The values of each item, and what stands for ${item} and its kind; as DVC does, a whole item is options."""
    if "foreach" in content:
        yield from (([item], {"item": item}) for item in content["foreach"])
    elif "matrix" in content:
        lists = [_list(values, params) for values in content["matrix"].values()]
        for chosen in itertools.product(*lists):
            item = dict(zip(content["matrix"], chosen))
            options = " ".join(f"--{key} {shlex.quote(value)}" for key, value in item.items())
            yield list(chosen), {"item": options, **{f"item.{key}": value for key, value in item.items()}}
    else:
        yield [], {}


def _list(values: Any, params: dict[str, Any]) -> list[str]:
    if isinstance(values, str):
        key = values.removeprefix("${").removesuffix("}")
        values = params
        for part in key.split("."):
            values = values[part]
    return values


def _filled(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(f"${{{key}}}", value)
    return text
