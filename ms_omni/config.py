"""Frozen settings: what the user may set, YAML into dataclass, and how unset sampling values get their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.errors import OmniError, did_you_mean
from ms_omni.files import read_yaml
from ms_omni.inputs.access import UNRESTRICTED, MediaAccess

# auto is fused, and mindone for decoder layers that the compiled runtime does not know.
ENGINES = ("auto", "fused", "mindone")
# auto picks by memory and by projected speed, for the cards that share one model
PARALLEL_MODES = ("none", "auto", "zero3", "ep", "tp")
# The decoder whose launches MindSpore captures on a card: it can capture one graph a process
LAUNCH_CAPTURES = ("none", "thinker", "talker")
# Ways to share the model that work with captured launches
CAPTURED_WAYS = ("none", "ep", "tp")
DEVICES = ("auto", "CPU", "Ascend")
DTYPES = ("auto", "float32", "float16", "bfloat16")
# Weights of the decoder layers: int8 in memory, used with hidden states as they are, or with these rounded to 8 bits
# too. auto: as the checkpoint has them.
QUANTIZATIONS = ("auto", "none", "int8", "int8-dynamic")
# mindone 0.5.0 has no scaled-dot-product attention: it falls back to eager with a warning.
ATTN_IMPLEMENTATIONS = ("auto", "eager", "flash_attention_2")
# auto is our own, without torch; the package of that name needs torch and torchvision.
MEDIA_READERS = ("auto", "ms_omni", "qwen_omni_utils")

# Defaults of transformers 4.57.1 `Qwen3OmniMoeForConditionalGeneration.generate`; top_k of the Thinker is
# GenerationConfig's own default and only matters when its temperature is above 0.
TRANSFORMERS_DEFAULTS: dict[str, Any] = {
    "thinker_max_new_tokens": 1024,
    "thinker_temperature": 0.0,
    "thinker_top_p": 1.0,
    "thinker_top_k": 50,
    "thinker_repetition_penalty": 1.0,
    "talker_max_new_tokens": 4096,
    "talker_temperature": 0.9,
    "talker_top_p": 1.0,
    "talker_top_k": 50,
    "talker_repetition_penalty": 1.05,
}


@dataclass(frozen=True)
class SamplingParams:
    """How to decode. None means: the checkpoint's generation_config.json, then transformers' default.

    A temperature of 0 is greedy; `talker_temperature` 0 makes the code predictor greedy too. `ignore_eos` makes both
    stages run to their maximum (measurements). `seed` None draws a fresh one. A repetition penalty above 1 makes
    earlier tokens less likely; for the Thinker this includes the prompt.
    """

    thinker_max_new_tokens: int | None = None
    thinker_temperature: float | None = None
    thinker_top_p: float | None = None
    thinker_top_k: int | None = None
    thinker_repetition_penalty: float | None = None
    talker_max_new_tokens: int | None = None
    talker_temperature: float | None = None
    talker_top_p: float | None = None
    talker_top_k: int | None = None
    talker_repetition_penalty: float | None = None
    seed: int | None = None
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                flag = "--" + name.replace("_", "-")
                raise OmniError(f"{flag} {value}: expected a value from {low} to {high}")

    def resolved(self, generation_config: Mapping[str, Any]) -> SamplingParams:
        """Every None replaced. `generation_config` is the content of generation_config.json: `thinker_*` and
        `talker_*` keys as in transformers' generate; plain temperature/top_p/top_k/repetition_penalty count for the
        Thinker when the file says do_sample."""
        defaults = dict(TRANSFORMERS_DEFAULTS)
        if generation_config.get("do_sample"):
            defaults["thinker_temperature"] = generation_config.get("temperature", 1.0)
            defaults["thinker_top_p"] = generation_config.get("top_p", 1.0)
            defaults["thinker_top_k"] = generation_config.get("top_k", 50)
            defaults["thinker_repetition_penalty"] = generation_config.get("repetition_penalty", 1.0)
        defaults.update({k: generation_config[k] for k in defaults if generation_config.get(k) is not None})
        for stage in ("thinker", "talker"):
            if generation_config.get(f"{stage}_do_sample") is False:
                defaults[f"{stage}_temperature"] = 0.0
        unset = {k: v for k, v in defaults.items() if getattr(self, k) is None}
        return replace(self, **unset)


_RANGES = (
    ("thinker_max_new_tokens", 1, 1 << 20),
    ("thinker_temperature", 0, 100),
    ("thinker_top_p", 0, 1),
    ("thinker_top_k", 0, 1 << 20),
    ("thinker_repetition_penalty", 0.01, 100),
    ("talker_max_new_tokens", 2, 1 << 20),
    ("talker_temperature", 0, 100),
    ("talker_top_p", 0, 1),
    ("talker_top_k", 0, 1 << 20),
    ("talker_repetition_penalty", 0.01, 100),
    ("seed", 0, 2**31 - 1),
)


@dataclass(frozen=True)
class EngineConfig:
    """Settings of OmniEngine.from_pretrained. `auto` picks what the device can do.

    `engine`: fused is the compiled runtime, mindone is mindone's own generate. `parallel`: how the processes of an
    msrun job share the model. `with_talker` False: no speech. `compile_cache`: a directory for compiled graphs.
    `max_num_seqs`: conversations that run at a time; None: as many as fit. `max_model_len`: most tokens of a prompt and
    its answer together; None: the model's positions. `warm_up`: compile all graphs while loading, not when they are
    first needed. `launch_capture`: the decoder whose launches are captured on a card and replayed with one call a step.
    `quantize`: how the decoder layers' weights are stored. `media_access`: where the media of conversations may come
    from."""

    model: str = built_in.NAME
    engine: str = "auto"
    parallel: str = "none"
    device: str = "auto"
    dtype: str = "auto"
    attn_implementation: str = "auto"
    with_talker: bool = True
    min_pixels: int | None = None
    max_pixels: int | None = None
    media_reader: str = "auto"
    media_access: MediaAccess = UNRESTRICTED
    compile_cache: str | None = None
    max_num_seqs: int | None = None
    max_model_len: int | None = None
    warm_up: bool = False
    launch_capture: str = "none"
    quantize: str = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("engine", ENGINES),
            ("parallel", PARALLEL_MODES),
            ("device", DEVICES),
            ("dtype", DTYPES),
            ("attn_implementation", ATTN_IMPLEMENTATIONS),
            ("media_reader", MEDIA_READERS),
            ("launch_capture", LAUNCH_CAPTURES),
            ("quantize", QUANTIZATIONS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                flag = "--" + name.replace("_", "-")
                raise OmniError(f"{flag} {value}: expected one of {', '.join(allowed)}")
        if self.launch_capture != "none" and (self.engine == "mindone" or self.device == "CPU"):
            other = "--engine mindone" if self.engine == "mindone" else "--device CPU"
            raise OmniError(f"--launch-capture {self.launch_capture}: {other} has no captured launches; use none")
        if self.launch_capture == "talker" and not self.with_talker:
            raise OmniError("--launch-capture talker: the Talker is not loaded; use thinker")
        check_reader(self.media_reader, self.media_access)
        if self.compile_cache is not None and self.engine == "mindone":
            raise OmniError(f"--compile-cache {self.compile_cache}: --engine mindone compiles no graphs; use fused")
        if self.quantize not in ("auto", "none") and self.engine == "mindone":
            raise OmniError(f"--quantize {self.quantize}: --engine mindone has no 8-bit weights; use fused")
        if self.max_num_seqs is not None and self.max_num_seqs < 1:
            raise OmniError(f"--max-num-seqs {self.max_num_seqs}: expected a whole number above 0")
        if self.max_model_len is not None and self.max_model_len < 1:
            raise OmniError(f"--max-model-len {self.max_model_len}: expected a whole number above 0")
        if self.max_num_seqs not in (None, 1) and self.engine == "mindone":
            raise OmniError(
                f"--max-num-seqs {self.max_num_seqs}: --engine mindone answers one conversation at a time; use fused"
            )


def check_reader(reader: str, access: MediaAccess) -> None:
    """Raises OmniError for a reader that cannot keep the limits of `access`, or is not installed."""
    if reader != "qwen_omni_utils":
        return
    if access.restricted:
        raise OmniError(
            "--media-reader qwen_omni_utils: opens whatever it is given; use auto where media are restricted"
        )
    if find_spec(reader) is None:
        raise OmniError(
            "--media-reader qwen_omni_utils: this package is not installed; pip install 'ms-omni[qwen-omni-utils]', or "
            "use auto"
        )


def load_yaml(path: str | Path, allowed_keys: set[str]) -> dict[str, Any]:
    """Settings of a YAML file: a mapping whose keys are flag names with underscores.

    Raises OmniError naming the file for: no file, no YAML, no mapping, an unknown key (with the closest, and all that
    are allowed)."""
    data = read_yaml(path, f"--config {path}")
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise OmniError(f"--config {path}: expected a mapping of settings, got {type(data).__name__}")
    unknown = sorted(str(key) for key in data if key not in allowed_keys)
    if unknown:
        guess, allowed = did_you_mean(unknown[0], sorted(allowed_keys)), ", ".join(sorted(allowed_keys))
        raise OmniError(f"--config {path}: unknown key {unknown[0]!r}{guess}; allowed: {allowed}")
    return data


SAMPLING_KEYS = tuple(f.name for f in fields(SamplingParams))
