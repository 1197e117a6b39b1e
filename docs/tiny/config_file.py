"""config.json as attributes, without transformers: any version may be installed where the model is trained."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def read_config(directory: Path) -> Any:
    """Nested namespaces; lists and rope_scaling stay as they are."""
    return _namespace(json.loads((directory / "config.json").read_text(encoding="utf-8")))


def _namespace(data: dict[str, Any]) -> SimpleNamespace:
    keep = ("rope_scaling", "speaker_id")
    return SimpleNamespace(
        **{
            key: _namespace(value) if isinstance(value, dict) and key not in keep else value
            for key, value in data.items()
        }
    )
