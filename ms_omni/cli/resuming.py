"""Whether a run may go on with the answers of an earlier one, and what a user is told when a run is interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ms_omni.config import EngineConfig
from ms_omni.options import Options

# Settings that may change between two runs: they decide how fast answers come and which media are refused, not what an
# answer says.
_FREE_SETTINGS = {
    "parallel",
    "compile_cache",
    "max_num_seqs",
    "max_model_len",
    "warm_up",
    "launch_capture",
    "with_talker",
    "media_access",
}
# What answers were made with that are older than the setting
_LATER_SETTINGS = {"quantize": "auto"}


def common_settings(engine: EngineConfig, options: Options) -> dict[str, Any]:
    """What two runs must have in common for their answers to belong together."""
    known = {key: value for key, value in asdict(engine).items() if key not in _FREE_SETTINGS}
    known["model"] = str(Path(engine.model).resolve())
    sampling = options.get("sampling")
    assert sampling is not None
    return {**known, **asdict(sampling), "fps": options.get("fps")}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting that differs between two runs, with both values; "" where all are the same."""
    for key in sorted({*before, *now}):
        then = before.get(key, _LATER_SETTINGS.get(key))
        if then != now.get(key):
            return f"{key} {_shown(then)}, now it is {_shown(now.get(key))}"
    return ""


def goes_on(restarted: bool = False) -> str:
    """What to do after an interrupt. restarted: the command had --restart, which would begin anew."""
    return f"the same command{' without --restart' if restarted else ''} goes on where this one stopped"


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)
