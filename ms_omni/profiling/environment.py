"""What figures depend on: versions, commit, machine and model, and the caveats that a title must name."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.checkpoint.config import read_json
from ms_omni.checkpoint.int8 import weight_of
from ms_omni.checkpoint.stored_reader import open_checkpoint
from ms_omni.hardware.machine import installed_version
from ms_omni.hardware.memory import meminfo_bytes
from ms_omni.profiling.document import Machine, Model

PACKAGES = ("mindspore", "mindone", "transformers", "numpy")
EMULATED = "emulated operators, no card"
# What `ms-omni tiny` writes beside the random weights.
RANDOM_MARK = "ms_omni_tiny.json"
_SIZES = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "num_experts",
    "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size", "intermediate_size",
    "vocab_size", "num_code_groups", "num_quantizers", "decoder_dim", "d_model", "encoder_layers", "depth",
    "max_position_embeddings",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python, this package and the packages that it computes with."""
    from ms_omni import __version__

    found = {"ms_omni": __version__, "python": platform.python_version()}
    return found | {name: version for name in PACKAGES if (version := installed_version(name))}


def commit(directory: Path = Path(__file__).parents[2]) -> str | None:
    """The git commit of a checkout, with "-dirty" where tracked files differ from it; None outside of one."""
    if not (directory / ".git").exists():
        return None
    head = _git(directory, "rev-parse", "--short=12", "HEAD")
    if not head:
        return None
    return head + ("-dirty" if _git(directory, "status", "--porcelain", "--untracked-files=no") else "")


def _git(directory: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(directory), *words], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def is_emulated() -> bool:
    """Whether the card is emulated (launch/emulated.sh): its figures must not pass for a card's."""
    return bool(os.environ.get("EMULATED"))


def device_name(device: str) -> str:
    """The card's name from CANN; "CPU" for a CPU. device: "CPU", or "Ascend", which must have been set up."""
    if device == "CPU":
        return device
    from ms_omni.runtime.card import card_name

    return card_name()


def machine(device: str, cards: int, root: Path = Path("/")) -> Machine:
    """device: "CPU" or the card's name. Reads /proc below `root`."""
    return Machine(
        device=device,
        cards=cards,
        cpu=_processor(root),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=meminfo_bytes("MemTotal", root) or 0,
        load_average=[round(value, 2) for value in os.getloadavg()],
        system=platform.platform(terse=True),
    )


def _processor(root: Path) -> str:
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = values.get("model name") or values.get("CPU part") or platform.machine()
    numbers = [f"{key} {values[key]}" for key in ("cpu family", "model") if key in values]
    return " ".join([name, *numbers])


def model(directory: Path) -> Model:
    """From a checkpoint's config.json and the headers of its weights. Scales of 8-bit weights do not count as
    parameters."""
    reader = open_checkpoint(directory)
    weights = "checkpoint"
    if (directory / RANDOM_MARK).exists():
        weights = "random"
    elif directory.resolve() == built_in.DIRECTORY.resolve():
        weights = "built in"
    return Model(
        name="built-in tiny model" if weights == "built in" else directory.resolve().name,
        weights=weights,  # type: ignore[arg-type]
        parameters=sum(math.prod(reader.shape(name)) for name in reader.names() if weight_of(name) is None),
        config=_sizes(read_json(directory / "config.json")),
    )


def _sizes(config: dict[str, Any]) -> dict[str, Any]:
    """For each part of the model, the sizes that decide how much there is to compute."""
    thinker, talker = config.get("thinker_config", {}), config.get("talker_config") or {}
    parts = {
        "thinker": thinker.get("text_config"),
        "audio_encoder": thinker.get("audio_config"),
        "vision_encoder": thinker.get("vision_config"),
        "talker": talker.get("text_config"),
        "code_predictor": talker.get("code_predictor_config"),
        "code2wav": config.get("code2wav_config"),
    }
    return {part: {key: values[key] for key in _SIZES if key in values} for part, values in parts.items() if values}


def caveats(device: str, model: Model) -> list[str]:
    """What a title must say about figures of this device and model."""
    said = []
    if device == "CPU":
        said.append("CPU")
    elif is_emulated():
        said.append(EMULATED)
    if model.weights == "random":
        said.append("random weights")
    if model.weights == "built in":
        said.append("built-in tiny model")
    return said
