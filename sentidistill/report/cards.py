"""Cards: README.md of a model or of a training set that others get."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from sentidistill.config import Params
from sentidistill.report import licences


def _template(name: str) -> str:
    return files("sentidistill.report").joinpath(name).read_text("utf-8")


def rendered(name: str, params: Params, origins: Mapping[str, dict[str, Any]], **values: Any) -> str:
    """The card of the template `name`, with the names of the models by role, and the licences of these and the texts.

    `origins` say where the model of each role comes from.
    """
    environment = Environment(
        loader=FunctionLoader(_template), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(f"{name}.md.jinja").render(
        names={role: licences.called(origin) for role, origin in origins.items()},
        licences=licences.table(params, list(origins.values())),
        **values,
    )
