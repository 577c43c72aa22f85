"""Cards: README.md of a model or of a training set that others get."""

from collections.abc import Mapping
from typing import Any

from sentidistill.config import Params
from sentidistill.report import licences, templates


def rendered(name: str, params: Params, origins: Mapping[str, dict[str, Any]], **values: Any) -> str:
    """The card of the template `name`, with the names of the models by role, and the licences of these and the texts.

    `origins` say where the model of each role comes from.
    """
    return templates.rendered(
        f"{name}.md.jinja",
        names={role: licences.called(origin) for role, origin in origins.items()},
        licences=licences.table(params, list(origins.values())),
        **values,
    )
