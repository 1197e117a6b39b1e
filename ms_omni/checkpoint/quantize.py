"""Writes a float checkpoint once more with the weights of its decoder layers in 8 bits, one weight at a time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ms_omni.checkpoint.compressed import checkpoint_quantization, quantization_config
from ms_omni.checkpoint.config import QUANTIZE_MARKER, read_json
from ms_omni.checkpoint.int8 import is_quantized, weight_of
from ms_omni.checkpoint.int8_reader import Int8Reader
from ms_omni.checkpoint.reader import INDEX
from ms_omni.checkpoint.safetensors_writer import Kind, index_content, num_bytes, write_safetensors
from ms_omni.checkpoint.stored_reader import open_checkpoint
from ms_omni.errors import OmniError

SHARD_BYTES = 4_000_000_000
_CONFIG = "config.json"
# How names of weights end, in this format and others: not copied
_WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth")


@dataclass(frozen=True)
class Written:
    """num_int8: weights that are int8 now. source_bytes, num_bytes: of all weights, before and after."""

    num_int8: int
    num_shards: int
    source_bytes: int
    num_bytes: int


def quantize_checkpoint(
    model: Path,
    out: Path,
    progress: Callable[[str, int, int], None] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Written:
    """Writes the directory `out`, in the layout "int-quantized" of compressed-tensors. model: a checkpoint directory
    with float weights. shard_bytes: most of one file.

    Every weight is as `Int8Reader` reads it; scales are bfloat16, which holds them exactly. config.json comes last, and
    without it a directory is no checkpoint: called again with the same arguments after an interrupt, this goes on with
    the files that are not there. progress: called with ("quantize", weights done, weights in all). Raises OmniError for
    a model that is quantized already, and for an `out` that holds something else or has too little space."""
    if checkpoint_quantization(model) == "int8":
        raise OmniError(f"--model {model}: its weights are int8 already; load it as it is")
    source = open_checkpoint(model)
    reader = Int8Reader(source)
    kinds = {name: _kind(reader, name) for name in reader.names()}
    shards = _shards(kinds, shard_bytes)
    marker = _marker(model, shard_bytes)
    _check_out(model, out, marker)
    missing = {file: names for file, names in shards.items() if not (out / file).is_file()}
    _check_space(out, sum(num_bytes(kinds[name]) for names in missing.values() for name in names))
    done = len(kinds) - sum(map(len, missing.values()))

    def arrays(names: list[str]) -> Iterator[np.ndarray]:
        nonlocal done
        for name in names:
            yield reader.read(name).astype(kinds[name][0], copy=False)
            reader.release(name)
            done += 1
            if progress is not None:
                progress("quantize", done, len(kinds))

    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_json(out / QUANTIZE_MARKER, marker)
        for file, names in missing.items():
            write_safetensors(out / file, {name: kinds[name] for name in names}, arrays(names))
        kinds_of_files = {file: {name: kinds[name] for name in names} for file, names in shards.items()}
        _write_json(out / INDEX, index_content(kinds_of_files))
        _copy_others(model, out)
        _write_json(out / _CONFIG, read_json(model / _CONFIG) | _config(kinds))
        (out / QUANTIZE_MARKER).unlink()
    except OSError as error:
        raise OmniError(f"--out {out}: cannot be written ({error.strerror}); the same command goes on later") from error
    total = sum(map(num_bytes, kinds.values()))
    return Written(sum(map(is_quantized, kinds)), len(shards), source.nbytes, total)


def _kind(reader: Int8Reader, name: str) -> Kind:
    dtype = np.dtype(ml_dtypes.bfloat16) if weight_of(name) else reader.dtype(name)
    return dtype, reader.shape(name)


def _shards(kinds: dict[str, Kind], shard_bytes: int) -> dict[str, list[str]]:
    """The names that each file holds, in order; a weight and its scales lie in one."""
    together: list[list[str]] = []
    for name in kinds:
        if weight_of(name):
            together[-1].append(name)
        else:
            together.append([name])
    shards: list[list[str]] = []
    left = 0
    for names in together:
        size = sum(num_bytes(kinds[name]) for name in names)
        if not shards or size > left:
            shards.append([])
            left = shard_bytes
        shards[-1] += names
        left -= size
    return {f"model-{number:05d}-of-{len(shards):05d}.safetensors": names for number, names in enumerate(shards, 1)}


def _marker(model: Path, shard_bytes: int) -> dict[str, Any]:
    """What decides what is written: the files of the source, by size and time of their last change."""
    stats = {path.name: path.stat() for path in sorted(model.glob("*.safetensors"))}
    files = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    return {"model": str(model.resolve()), "files": files, "shard_bytes": shard_bytes}


def _check_out(model: Path, out: Path, marker: dict[str, Any]) -> None:
    target = out.resolve()
    if target == model.resolve() or model.resolve() in target.parents:
        raise OmniError(f"--out {out}: lies in --model {model}; choose a directory beside it")
    if out.exists() and not out.is_dir():
        raise OmniError(f"--out {out}: is a file; choose a directory")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / QUANTIZE_MARKER).is_file():
        raise OmniError(f"--out {out}: is not empty; choose another directory, or remove this one")
    if read_json(out / QUANTIZE_MARKER) != marker:
        raise OmniError(
            f"--out {out}: was begun with another --model or with files that have changed; remove it, or choose another"
        )


def _check_space(out: Path, needed: int) -> None:
    home = next(path for path in (out.resolve(), *out.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(home).free
    if needed > free:
        raise OmniError(f"--out {out}: {needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free there")


def _copy_others(model: Path, out: Path) -> None:
    """Tokenizer, processor, templates, licence: all plain files but the weights."""
    for path in sorted(model.iterdir()):
        hidden = path.name.startswith(".")
        if path.is_file() and not hidden and path.name != _CONFIG and not path.name.endswith(_WEIGHTS):
            shutil.copyfile(path, out / path.name)


def _config(kinds: dict[str, Kind]) -> dict[str, Any]:
    """What is added to config.json. Modules that multiply by a matrix which stays float are named; so are embeddings,
    which have one too."""
    float_matrices = [
        name.removesuffix(".weight")
        for name, (_, shape) in kinds.items()
        if name.endswith(".weight") and len(shape) == 2 and not is_quantized(name)
    ]
    return {"quantization_config": quantization_config(sorted(float_matrices))}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
