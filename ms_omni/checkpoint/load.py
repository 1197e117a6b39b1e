"""Puts the weights of a checkpoint into a MindSpore cell, and checks that every weight has its place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ms_omni.checkpoint.parameters import device_tensor
from ms_omni.checkpoint.parameters import numpy_dtype as numpy_dtype
from ms_omni.checkpoint.reader import WeightReader
from ms_omni.errors import OmniError

logger = logging.getLogger(__name__)

# How many names an error or a warning lists before it only counts.
_LISTED = 3


def load_weights(
    cell: Any,
    reader: WeightReader,
    dtype: Any,
    ignore_prefixes: Iterable[str] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
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
    for done, name in enumerate(found, start=1):
        _assign(parameters[name], reader.read(name), target, dtype)
        reader.release(name)
        if progress is not None:
            progress("load", done, len(found))


def named_parameters(cell: Any) -> dict[str, Any]:
    """Every Parameter by its full name, shared ones under each of their names (unlike `parameters_and_names`)."""
    parameters = {}
    for prefix, part in cell.cells_and_names():
        for name, parameter in part.parameters_and_names(expand=False):
            parameters[f"{prefix}.{name}" if prefix else name] = parameter
    return parameters


def _check(reader: WeightReader, parameters: dict[str, Any], found: list[str], missing: tuple[str, ...]) -> None:
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


def _assign(parameter: Any, values: np.ndarray, target: Any, dtype: Any) -> None:
    """The array is copied out of the mapped file, which must not be written to; MindSpore takes the copy over."""
    import mindspore as ms

    is_float = parameter.dtype in (ms.float32, ms.float16, ms.bfloat16)
    array = np.array(values, dtype=target if is_float else None, order="C")
    if is_float and parameter.dtype != dtype:
        parameter.set_dtype(dtype)
    parameter.set_data(device_tensor(array))
