"""The recordings and pictures of a reference as links of a report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class Link:
    """kind: "audio", "image" or "video". target: a URL, relative to the report for a file; None where no such file
    is."""

    kind: str
    name: str
    target: str | None


def linked(kind: str, name: str, reference: str, report: Path) -> Link:
    """name: an http(s) URL, or a path from the current directory or, where nothing is there, from the reference's, as
    in a manifest. reference: its path. report: the file that links."""
    if name.startswith(("http://", "https://")):
        return Link(kind, name, name)
    for start in (Path(), Path(reference).parent):
        path = start / name
        if path.is_file():
            relative = os.path.relpath(path.resolve(), report.resolve().parent)
            # `./`: a name such as `a:b.wav` must not be read as a scheme
            return Link(kind, name, "./" + quote(Path(relative).as_posix()))
    return Link(kind, name, None)
