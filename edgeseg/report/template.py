"""Pages from templates beside this file: everything escaped, nothing undefined, nothing from outside."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from edgeseg.errors import needs_extra
from edgeseg.report import numbers


def render_page(template: str, /, **values: Any) -> str:
    """The page that a template makes.

    Args:
        template: file name of a template of this package; it may extend and import its siblings.
        values: what it shows.

    Raises:
        EnvironmentMissingError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise needs_extra("jinja2", "train", "an HTML page") from error

    loader = FunctionLoader(lambda sibling: files("edgeseg.report").joinpath(sibling).read_text("utf-8"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for form in (numbers.number, numbers.overlap, numbers.megabytes):
        environment.filters[form.__name__] = form
    return environment.get_template(template).render(**values)
