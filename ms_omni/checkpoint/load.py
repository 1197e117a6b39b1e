"""Puts the weights of a checkpoint into a MindSpore cell, and checks that every weight has its place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ms_omni.checkpoint.parameters import device_tensor
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.errors import OmniError

logger = logging.getLogger(__name__)

# How many names an error or a warning lists before it only counts.
_LISTED = 3


@dataclass(frozen=True)
class LoadReport:
    """What a load did. `num_bytes` counts what was read from the checkpoint. `missing` is empty: a load that misses a
    weight raises. `unexpected`: weights of the checkpoint that the model has no place for."""

    num_loaded: int
    num_bytes: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def load_weights(
    cell: Any,
    reader: CheckpointReader,
    dtype: Any,
    ignore_prefixes: Iterable[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> LoadReport:
    """Sets every Parameter of `cell` from the checkpoint, in place.

    dtype: MindSpore type that float weights are cast to; others keep theirs. ignore_prefixes: weights of the checkpoint
    that are not wanted, so not unexpected. progress: called with ("load", weights done, weights in all).
    A Parameter shared by two cells (tied embeddings) is loaded under whichever of its names the checkpoint has.
    OmniError, before anything is changed, when a weight is missing or has another shape; a warning in the log when one
    is unexpected."""
    parameters = named_parameters(cell)
    ignored = tuple(ignore_prefixes)
    found = [name for name in reader.names() if name in parameters]
    loaded = {id(parameters[name]) for name in found}
    missing = tuple(name for name, parameter in parameters.items() if id(parameter) not in loaded)
    unexpected = tuple(name for name in reader.names() if name not in parameters and not name.startswith(ignored))
    _check(reader, parameters, found, missing)
    if unexpected:
        logger.warning("%s: %s no place in the model: %s", reader.directory, _have(unexpected), _first(unexpected))
    target = numpy_dtype(dtype)
    num_bytes = 0
    for done, name in enumerate(found, start=1):
        values = reader.read(name)
        num_bytes += values.nbytes
        _assign(parameters[name], values, target, dtype)
        reader.release(name)
        if progress is not None:
            progress("load", done, len(found))
    return LoadReport(len(found), num_bytes, missing, unexpected)


def named_parameters(cell: Any) -> dict[str, Any]:
    """Every Parameter by its full name, shared ones under each of their names (unlike `parameters_and_names`)."""
    parameters = {}
    for prefix, part in cell.cells_and_names():
        for name, parameter in part.parameters_and_names(expand=False):
            parameters[f"{prefix}.{name}" if prefix else name] = parameter
    return parameters


def _check(reader: CheckpointReader, parameters: dict[str, Any], found: list[str], missing: tuple[str, ...]) -> None:
    if missing:
        raise OmniError(
            f"--model {reader.directory}: {_have(missing)} no value in the checkpoint: {_first(missing)}; "
            "config.json and the safetensors files do not belong together, or a file was not downloaded"
        )
    for name in found:
        expected, shape = tuple(parameters[name].shape), reader.shape(name)
        if shape != expected:
            raise OmniError(
                f"--model {reader.directory}: {name} has shape {shape} in the checkpoint, {expected} by config.json"
            )


def _have(names: tuple[str, ...]) -> str:
    return "1 weight has" if len(names) == 1 else f"{len(names)} weights have"


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def numpy_dtype(dtype: Any) -> np.dtype:
    """Of a MindSpore float type. An instance, not a class: `ml_dtypes.bfloat16()` wants an argument, so that the size
    of its values cannot be had as numpy's own classes give it."""
    import mindspore as ms
    import ml_dtypes

    return np.dtype({ms.float32: np.float32, ms.float16: np.float16, ms.bfloat16: ml_dtypes.bfloat16}[dtype])


def _assign(parameter: Any, values: np.ndarray, target: Any, dtype: Any) -> None:
    """The array is copied out of the mapped file, which must not be written to; MindSpore takes the copy over."""
    import mindspore as ms

    is_float = parameter.dtype in (ms.float32, ms.float16, ms.bfloat16)
    array = np.array(values, dtype=target if is_float else None, order="C")
    if is_float and parameter.dtype != dtype:
        parameter.set_dtype(dtype)
    parameter.set_data(device_tensor(array))
