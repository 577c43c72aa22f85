"""Pages that open anywhere, offline: one style and one script (base.html.jinja), and figures that stand in the page."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def _template(name: str) -> str:
    return files("sentidistill.report").joinpath(name).read_text("utf-8")


def render(name: str, values: Mapping[str, Any]) -> str:
    """The page of the template `name`, with all that is told to it escaped."""
    environment = Environment(
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    return environment.get_template(name).render(values)


def drawn(draw: Callable[..., None], *tables: Any) -> Markup:
    """A figure as SVG that stands in the page."""
    with TemporaryDirectory() as made:
        path = Path(made, "figure.svg")
        draw(*tables, path)
        text = path.read_text(encoding="utf-8")
    return Markup(text[text.index("<svg") :])  # of matplotlib, which escapes what is written in it
