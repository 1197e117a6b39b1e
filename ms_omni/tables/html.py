"""Self-contained HTML pages from the package's templates: no script, no request."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from ms_omni.tables import Table


def page(heading: str, tables: Iterable[Table], summary: Iterable[str] = ()) -> str:
    """A page of tables. summary: lines below the heading."""
    return str(template("comparison.html.j2").render(title=heading, summary=summary, tables=tables))


def template(name: str) -> Any:
    """A template of the package's assets, with values escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    assets = files("ms_omni") / "assets"
    loader = FunctionLoader(lambda asset: (assets / asset).read_text(encoding="utf-8"))
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
