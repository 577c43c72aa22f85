"""Documents from the templates beside this file. Pages open anywhere, offline: their figures stand in them."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def rendered(name: str, /, **values: Any) -> str:
    """The text of the template `name`. In a page, all that is told to it is escaped."""
    environment = Environment(
        loader=PackageLoader("sentidistill", "report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=name.endswith(".html.jinja"),
    )
    return environment.get_template(name).render(values)


def drawn(draw: Callable[..., None], *tables: Any) -> Markup:
    """A figure as SVG that stands in the page."""
    with TemporaryDirectory() as made:
        path = Path(made, "figure.svg")
        draw(*tables, path)
        text = path.read_text(encoding="utf-8")
    return Markup(text[text.index("<svg") :])  # of matplotlib, which escapes what is written in it
