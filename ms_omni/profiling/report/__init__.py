"""Reports: views of a profile document, and what changed between two."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ms_omni.errors import OmniError
from ms_omni.files import read_json

if TYPE_CHECKING:
    from ms_omni.profiling.document import Profile
    from ms_omni.profiling.report.changes import Comparison

FORMATS = ("table", "markdown", "csv", "json", "html")
# format -> how its files end
SUFFIXES = {"table": ".txt", "markdown": ".md", "csv": ".csv", "json": ".json", "html": ".html"}
_MODULES = {"table": "terminal", "markdown": "markdown", "csv": "csv_table", "html": "html"}


def render(profile: Profile, format: str) -> str:
    """The report of one profile as text that ends with a line break. format: of FORMATS."""
    if format == "json":
        return profile.model_dump_json(indent=1) + "\n"
    return str(import_module(f"ms_omni.profiling.report.{_MODULES[format]}").render(profile))


def render_comparison(comparison: Comparison, format: str) -> str:
    """The report of two profiles, in any of FORMATS."""
    from ms_omni.profiling.report.compare_views import render as run

    return run(comparison, format)


def compare(a: Profile, b: Profile) -> Comparison:
    """What changed from `a` to `b`. Raises OmniError where they did not measure the same."""
    from ms_omni.profiling.report import changes

    return changes.compare(a, b)


def read_profile(path: str | Path) -> Profile:
    """Raises OmniError naming the file for whatever is not a profile document of this version."""
    from pydantic import ValidationError

    from ms_omni.profiling.document import SCHEMA, SCHEMA_VERSION, Profile

    content = read_json(path, str(path))
    if not isinstance(content, dict) or content.get("schema_name") != SCHEMA:
        raise OmniError(f"{path}: not a profile document; expected the JSON file that ms-omni profile writes")
    if content.get("schema_version") != SCHEMA_VERSION:
        version = content.get("schema_version")
        raise OmniError(f"{path}: schema version {version}; this ms-omni reads version {SCHEMA_VERSION}")
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise OmniError(f"{path}: damaged: {place}: {first['msg']}") from error
