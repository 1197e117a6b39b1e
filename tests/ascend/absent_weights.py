"""A checkpoint of full sizes without values, for dry runs: its arrays are as large as the released ones, in memory that
nobody touches and that the system therefore never hands out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np


class AbsentCheckpoint:
    """As a CheckpointReader, of all weights of a configuration."""

    def __init__(self, directory: Path):
        import ml_dtypes

        from ms_omni.checkpoint.config import read_config
        from ms_omni.checkpoint.weight_specs import weight_specs

        self.directory = directory
        self._dtype = np.dtype(ml_dtypes.bfloat16)
        self._shapes = {spec.name: spec.shape for spec in weight_specs(read_config(directory))}

    def names(self) -> list[str]:
        return list(self._shapes)

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def read(self, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        whole = np.empty(self._shapes[name], self._dtype)
        return whole if index is None else whole[index]

    def release(self, name: str) -> None:
        """Nothing is held."""

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def dtype(self, name: str) -> np.dtype:
        return self._dtype


def without_values() -> None:
    """From now on models are loaded as always, but for the values: wherever these are copied, an array is made of which
    nothing is written."""
    from ms_omni.checkpoint import int8_reader, load, stored_reader
    from ms_omni.runtime import fused_executor, gathered_weights, stacked_weights

    def array(values: Any, dtype: Any = None, order: str = "K") -> np.ndarray:
        return np.empty(values.shape, dtype or values.dtype)

    def filled(reading: Any, items: Sequence[Sequence[str]], kind: str) -> np.ndarray:
        shapes = [reading.reader.shape(f"{reading.prefix}{name}.{kind}") for name in items[0]]
        shape = (len(items), sum(shape[0] for shape in shapes), *shapes[0][1:])
        return np.empty(shape, reading.dtype_of(f"{reading.prefix}{items[0][0]}.{kind}"))

    def rounded(reader: Any, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        whole = np.empty(reader.shape(name), reader.dtype(name))
        return whole if index is None else whole[index]

    def joined(reader: Any, items: Sequence[Sequence[str]], dtype: Any) -> np.ndarray:
        return np.empty((len(items), sum(int(np.prod(reader.shape(f"{name}.weight"))) for name in items[0])), dtype)

    load.np = SimpleNamespace(**{**vars(np), "array": array})
    stacked_weights.Reading._filled = filled
    gathered_weights._joined = joined
    int8_reader.Int8Reader.read = rounded
    for module in (stored_reader, fused_executor):
        module.open_checkpoint = AbsentCheckpoint


def world_of_rank_0(cards: int) -> Any:
    """The ranks that the environment of a dry run names, without the others."""
    from ms_omni.parallel import start

    if cards > 1:
        start.is_under_msrun = lambda: True
        start._lower_priority_of_msrun = lambda: None
    return start.start_world("Ascend")
