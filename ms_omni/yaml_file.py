"""Reads a YAML file; what is wrong with it is one line with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError


def read_yaml(path: str | Path, origin: str) -> Any:
    """The content. Raises OmniError, after `origin`, which names the file: cannot be read, or no YAML, with the line
    and column (from 1) where reading ended."""
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OmniError(f"{origin}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OmniError(f"{origin}: not valid YAML (byte {error.start} is not UTF-8 text)") from error
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, error.problem or error.context
        where = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        raise OmniError(f"{origin}: not valid YAML ({where}{problem})") from error
    except (yaml.YAMLError, ValueError) as error:  # a character that YAML has not; a date such as 2026-99-99
        raise OmniError(f"{origin}: not valid YAML ({' '.join(str(error).split())})") from error
    except RecursionError as error:
        raise OmniError(f"{origin}: nested too deeply") from error
