"""The processes of a job that measure together: they start together, and each gets the figures of all."""

from __future__ import annotations

from typing import Any

import numpy as np


class RankGroup:
    """All ranks of a job, whatever groups the model is shared in. A single process is a group of one."""

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @classmethod
    def of(cls, world: Any) -> RankGroup:
        """world: an engine's parallel.world.World."""
        return cls(world.rank, world.world_size)

    def wait(self) -> None:
        """Returns when every rank has called it."""
        if self.size > 1:
            self._gather(np.zeros(1, np.int32))

    def exchange(self, text: str) -> list[str]:
        """The texts of all ranks, by rank."""
        if self.size == 1:
            return [text]
        mine = np.frombuffer(text.encode(), np.uint8)
        lengths = self._gather(np.array([mine.size], np.int32)).reshape(-1)
        padded = np.zeros(-(-int(lengths.max()) // 4) * 4, np.uint8)
        padded[: mine.size] = mine
        rows = np.ascontiguousarray(self._gather(padded.view(np.int32))).view(np.uint8).reshape(self.size, -1)
        return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]

    def _gather(self, values: np.ndarray) -> np.ndarray:
        """int32 (n,) of every rank -> (size * n,). Not counted, since it is not part of an answer."""
        from mindspore import Tensor, ops

        return ops.AllGather()(Tensor(values)).asnumpy()
