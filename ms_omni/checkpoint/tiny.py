"""Writes small random-weight Qwen3-Omni checkpoints in the Hugging Face layout, without MindSpore and without torch."""

from __future__ import annotations

import json
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.checkpoint.config import quiet_transformers
from ms_omni.checkpoint.parameters import numpy_dtype
from ms_omni.checkpoint.presets import PRESETS, Preset, build_config
from ms_omni.checkpoint.reader import INDEX
from ms_omni.checkpoint.safetensors_writer import Kind, index_content, write_safetensors
from ms_omni.checkpoint.tiny_tokenizer import speakable_ids, token_ids, write_processor
from ms_omni.checkpoint.weight_specs import WeightSpec, weight_specs
from ms_omni.errors import OmniError

VARIANTS = ("instruct", "thinking")
DTYPES = ("float32", "float16", "bfloat16")

# Present in every directory that `write_tiny` made, so that it may be replaced.
MARKER = "ms_omni_tiny.json"
_SHARD_BYTES = 256 * 1024 * 1024


def write_tiny(
    directory: str | Path, preset: str = "tiny", seed: int = 0, variant: str = "instruct", dtype: str = "float32"
) -> Path:
    """Writes a checkpoint and returns its directory.

    preset: "tiny" (12 MB) or "bench" (718 MB). variant: "instruct" speaks; "thinking" has no Talker and no Code2Wav, as
    the released Thinking and Captioner checkpoints. dtype: float32, float16 or bfloat16. The same arguments give the
    same bytes. Nothing is changed in `directory` before everything is on disk; config.json comes last. OmniError for a
    directory that holds anything but an earlier tiny checkpoint, and for one that cannot be written.
    """
    _check_choice("--preset", preset, tuple(PRESETS))
    _check_choice("variant", variant, VARIANTS)
    _check_choice("dtype", dtype, DTYPES)
    if seed < 0:
        raise OmniError(f"--seed {seed}: expected 0 or more")
    target = Path(directory)
    _check_replaceable(target)
    is_new = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=target) as temporary:
            staging = Path(temporary)
            _write_files(staging, PRESETS[preset], seed, variant, dtype)
            _dump(staging / MARKER, {"preset": preset, "seed": seed, "variant": variant, "dtype": dtype})
            _publish(staging, target)
    except OSError as error:
        if is_new and target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        raise OmniError(f"{target}: cannot be written ({error.strerror}); choose another directory") from error
    return target


def _publish(staging: Path, target: Path) -> None:
    """Moves the files into place. Without a config.json the directory is no checkpoint, so it goes first and comes
    last; weights of an earlier one would be taken for this one's."""
    for old in (target / "config.json", *target.glob("model*.safetensors")):
        old.unlink(missing_ok=True)
    for path in sorted(staging.iterdir(), key=lambda path: path.name == "config.json"):
        path.replace(target / path.name)


def _check_choice(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise OmniError(f"{flag} {value}: expected one of {', '.join(allowed)}")


def _check_replaceable(target: Path) -> None:
    if target.is_dir():
        if any(target.iterdir()) and not (target / MARKER).is_file():
            raise OmniError(f"{target}: not empty and not a tiny checkpoint; choose another directory or empty it")
    elif target.exists():
        raise OmniError(f"{target}: is a file; choose a directory")


def _write_files(directory: Path, preset: Preset, seed: int, variant: str, dtype: str) -> None:
    from transformers import Qwen3OmniMoeConfig

    with quiet_transformers():
        config = Qwen3OmniMoeConfig(**build_config(preset, with_talker=variant == "instruct"), dtype=dtype)
    document = config.to_dict()
    if variant != "instruct":
        del document["talker_config"], document["code2wav_config"]
    _dump(directory / "config.json", document)
    _dump(directory / "generation_config.json", _generation_config(preset, variant))
    write_processor(directory)
    _write_shards(directory, config, seed, dtype)


def _generation_config(preset: Preset, variant: str) -> dict[str, Any]:
    ids = token_ids()
    settings: dict[str, Any] = {
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "thinker_max_new_tokens": preset.thinker_max_new_tokens,
    }
    if variant == "instruct":
        settings["talker_max_new_tokens"] = preset.talker_max_new_tokens
    return settings


def _write_shards(directory: Path, config: Any, seed: int, dtype: str) -> None:
    stored = numpy_dtype(dtype)
    shards = _split(list(weight_specs(config)), stored.itemsize)
    quiet = _quiet_rows(config.thinker_config.text_config.vocab_size)
    kinds: dict[str, dict[str, Kind]] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        kinds[file] = {spec.name: (stored, spec.shape) for spec in shard}
        arrays = (draw(spec, seed, quiet).astype(stored, copy=False) for spec in shard)
        write_safetensors(directory / file, kinds[file], arrays)
    _dump(directory / INDEX, index_content(kinds))


def _split(specs: list[WeightSpec], itemsize: int) -> list[list[WeightSpec]]:
    """Shards of about 256 MB, and at least two of them, since released checkpoints always have several."""
    sizes = [int(np.prod(spec.shape)) * itemsize for spec in specs]
    total = sum(sizes)
    count = max(2, -(-total // _SHARD_BYTES))
    shards: list[list[WeightSpec]] = [[] for _ in range(count)]
    end = 0
    for spec, size in zip(specs, sizes, strict=True):
        end += size
        shards[(end - 1) * count // total].append(spec)
    return shards


def draw(spec: WeightSpec, seed: int, quiet_rows: np.ndarray) -> np.ndarray:
    """The float32 values of one weight. Each weight has its own stream of random numbers, so sizes and order of the
    others do not matter. `quiet_rows`: ids that the Thinker must not say."""
    generator = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
    values = generator.standard_normal(spec.shape, dtype=np.float32)
    values *= np.float32(spec.std)
    if spec.mean:
        values += np.float32(spec.mean)
    if spec.row_spread:
        values *= np.exp(spec.row_spread * generator.standard_normal((spec.shape[0], 1), dtype=np.float32))
    if spec.name == "thinker.lm_head.weight":
        values[quiet_rows] *= np.float32(0.1)
    return values


def _quiet_rows(vocab_size: int) -> np.ndarray:
    """Ids that the Thinker does not say, so that answers read like words."""
    return np.setdiff1d(np.arange(vocab_size), speakable_ids())


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
