"""What the flags of all commands that answer say about the engine, the sampling and the media."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ms_omni.checkpoint.compressed import resolve_quantize
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.checkpoint.stored_reader import open_checkpoint
from ms_omni.config import SAMPLING_KEYS, EngineConfig, SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.access import MediaAccess


def sampling_params(settings: dict[str, Any]) -> SamplingParams:
    """What is not set stays None. Raises OmniError for a value out of range."""
    return SamplingParams(**{key: settings[key] for key in SAMPLING_KEYS if key in settings})


def engine_config(settings: dict[str, Any], with_talker: bool, restricted: bool = False) -> EngineConfig:
    """For a checkpoint that is there, with every shard. restricted: as `media_access`. Raises OmniError."""
    given = {f.name: settings[f.name] for f in fields(EngineConfig) if f.name in settings}
    given["model"] = str(resolve_checkpoint(settings["model"]))
    config = EngineConfig(**given, media_access=media_access(settings, restricted), with_talker=with_talker)
    resolve_quantize(config.quantize, config.engine, config.model)
    open_checkpoint(config.model)  # reads every shard's header: none is missing or truncated
    return config


def check_pixels(settings: dict[str, Any]) -> None:
    """Raises OmniError where --min-pixels is above --max-pixels."""
    low, high = settings.get("min_pixels"), settings.get("max_pixels")
    if low is not None and high is not None and low > high:
        raise OmniError(f"--min-pixels {low} is above --max-pixels {high}; expected at most that")


def media_access(settings: dict[str, Any], restricted: bool = False) -> MediaAccess:
    """What the --allowed- flags say. restricted: the run is restricted even where none of them is given."""
    directory = settings.get("allowed_local_media_path")
    domains, networks = (tuple(settings.get(f"allowed_media_{key}", ())) for key in ("domain", "network"))
    if not restricted and directory is None and not domains and not networks:
        return MediaAccess()
    return MediaAccess(restricted=True, local_directory=directory, domains=domains, networks=networks)
