"""Reads one rank's slices of a checkpoint, padded to one shape on all ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.table import padded_shape, shard_slices
from ms_omni.parallel.world import World


class ShardedReader:
    """A CheckpointReader for the slices that the shard table gives to one rank of a group."""

    def __init__(self, reader: Any, mode: str, world: World, sizes: ModelSizes):
        """reader: a CheckpointReader. mode: one of the table's."""
        self.reader, self.mode, self.world, self.sizes = reader, mode, world, sizes

    @property
    def directory(self) -> Path:
        """Of the checkpoint."""
        return self.reader.directory

    def names(self) -> list[str]:
        """Weights of which this rank stores a part, in the order of `CheckpointReader.names`."""
        return [name for name in self.reader.names() if name in self]

    def __contains__(self, name: str) -> bool:
        return name in self.reader and self._slices(name) is not None

    def read(self, name: str) -> np.ndarray:
        """This rank's slice, padded with zeros to the shape that all ranks hold. A view of the file if nothing is
        padded."""
        part = self.reader.read(name, self._slices(name))
        shape = self.shape(name)
        if part.shape == shape:
            return part
        padded = np.zeros(shape, part.dtype)
        padded[tuple(slice(0, length) for length in part.shape)] = part
        return padded

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that every rank holds, padding included."""
        whole = self.reader.shape(name)
        return padded_shape(name, whole, self.mode, self.world.group_size, self.sizes)

    def dtype(self, name: str) -> np.dtype:
        """The dtype in the checkpoint."""
        return self.reader.dtype(name)

    def release(self, name: str) -> None:
        """As `CheckpointReader.release`."""
        self.reader.release(name)

    @property
    def nbytes(self) -> int:
        """Bytes of all weights that this rank stores."""
        return sum(int(np.prod(self.shape(name))) * self.dtype(name).itemsize for name in self.names())

    def _slices(self, name: str) -> tuple[slice, ...] | None:
        world = self.world
        whole = self.reader.shape(name)
        return shard_slices(name, whole, self.mode, world.group_rank, world.group_size, self.sizes)
