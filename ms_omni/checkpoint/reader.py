"""Reads the weights of a checkpoint directory, whole or by slice, from one or several safetensors files."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.checkpoint.config import read_json
from ms_omni.checkpoint.safetensors_file import SafetensorsFile
from ms_omni.errors import OmniError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class WeightReader(ABC):
    """The weights of a checkpoint by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    def names(self) -> list[str]:
        """All weight names, in an order in which each file is read from its beginning to its end; scales follow their
        weights."""

    @abstractmethod
    def __contains__(self, name: str) -> bool: ...

    @abstractmethod
    def read(self, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """The values of a weight, or of `weight[index]`, in `dtype(name)`."""

    @abstractmethod
    def release(self, name: str) -> None:
        """Says that a weight was read: its pages no longer count as this process's memory. Arrays that `read` returned
        stay valid."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """Of the whole weight. No values are read, unless they say the shape."""

    @abstractmethod
    def dtype(self, name: str) -> np.dtype:
        """Of what `read` returns; bfloat16 is ml_dtypes'."""

    @property
    def nbytes(self) -> int:
        """Bytes of all weights, as they are read."""
        return sum(math.prod(self.shape(name)) * self.dtype(name).itemsize for name in self.names())


class CheckpointReader(WeightReader):
    """The weights as the files hold them.

    As transformers does, it takes model.safetensors if there is one, else what model.safetensors.index.json lists;
    failing both, every *.safetensors file of the directory. All headers are checked at once: OmniError names a shard
    that is missing, truncated or corrupt. Values are read from the mapped files when they are asked for.
    """

    def __init__(self, directory: str | Path) -> None:
        super().__init__(Path(directory))
        if (self.directory / SINGLE).is_file():
            files = [self._open(SINGLE)]
            self._home = self._locate(files)
        elif (self.directory / INDEX).is_file():
            self._home = self._locate_indexed()
        else:
            files = [SafetensorsFile(path) for path in sorted(self.directory.glob("*.safetensors"))]
            if not files:
                raise OmniError(f"{self.directory}: no *.safetensors file in this directory; no other format is read")
            self._home = self._locate(files)

    def names(self) -> list[str]:
        """As `WeightReader.names`."""
        return list(self._home)

    def __contains__(self, name: str) -> bool:
        return name in self._home

    def read(self, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """A read-only view of the mapped file: only the pages of the slice are read from disk."""
        view = self._file(name).read(name)
        return view if index is None else view[index]

    def release(self, name: str) -> None:
        """As `WeightReader.release`."""
        self._file(name).release(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """From the file's header."""
        return self._file(name).entries[name].shape

    def dtype(self, name: str) -> np.dtype:
        """From the file's header."""
        return self._file(name).entries[name].dtype

    def _file(self, name: str) -> SafetensorsFile:
        if name not in self._home:
            raise OmniError(f"{self.directory}: no weight named {name}")
        return self._home[name]

    def _open(self, file_name: str) -> SafetensorsFile:
        path = self.directory / file_name
        if not path.is_file():
            raise OmniError(f"{path}: this shard is missing, although {INDEX} lists it; download the file again")
        return SafetensorsFile(path)

    def _locate(self, files: list[SafetensorsFile]) -> dict[str, SafetensorsFile]:
        home: dict[str, SafetensorsFile] = {}
        for file in files:
            for name in file.entries:
                if name in home:
                    both = f"{home[name].path.name} and {file.path.name}"
                    raise OmniError(f"{self.directory}: {name} is in both {both}; remove one, or add an {INDEX}")
                home[name] = file
        return home

    def _locate_indexed(self) -> dict[str, SafetensorsFile]:
        weight_map: Any = read_json(self.directory / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
            raise OmniError(f"{self.directory / INDEX}: no weight_map from weight names to files; download it again")
        home: dict[str, SafetensorsFile] = {}
        for file_name in sorted(set(weight_map.values())):
            file = self._open(file_name)
            home.update({name: file for name in file.entries if weight_map.get(name) == file_name})
        absent = sorted(set(weight_map) - set(home))
        if absent:
            raise OmniError(
                f"{self.directory / weight_map[absent[0]]}: does not hold {absent[0]}, although {INDEX} says so "
                f"({len(absent)} such weights); download the files again"
            )
        return home
