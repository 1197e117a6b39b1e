"""The rows of a decode call: one a sequence, and rows of nobody up to the next bucket."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.bounds import BUCKETS
from ms_omni.scheduling.sequence import Sequence as TokenSequence

T = TypeVar("T")


def bucket_of(num_rows: int) -> int:
    """Rows of the call that is made for so many."""
    return next(bucket for bucket in BUCKETS if bucket >= num_rows)


@dataclass(frozen=True)
class Places:
    """Where the rows of a call stand, as decoding graphs take it: how many tokens each has with the one that is read,
    int32 (rows,), and that one's rotary position, float32 (rows,). A row of nobody has one token."""

    lengths: np.ndarray
    rope_positions: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence], rows: int) -> Places:
        lengths, rope = np.ones(rows, np.int32), np.zeros(rows, np.float32)
        lengths[: len(sequences)] = [sequence.position + 1 for sequence in sequences]
        rope[: len(sequences)] = [sequence.position + sequence.rope_delta for sequence in sequences]
        return cls(lengths, rope)

    def tensors(self, ahead: int = 0) -> tuple[Tensor, Tensor]:
        """Of the tokens that are so many behind those."""
        return Tensor(self.lengths + np.int32(ahead)), Tensor(self.rope_positions + np.float32(ahead))


def last_tokens(sequences: Sequence[TokenSequence], rows: int) -> Tensor:
    """int32 (rows,), 0 for nobody."""
    tokens = np.zeros(rows, np.int32)
    tokens[: len(sequences)] = [sequence.token_ids[-1] for sequence in sequences]
    return Tensor(tokens)


def drawn(sequences: Sequence[TokenSequence], count: int, rows: int) -> np.ndarray:
    """The next `count` random numbers of each, float32 (count, rows), 0 for nobody."""
    numbers = np.zeros((count, rows), np.float32)
    for row, sequence in enumerate(sequences):
        numbers[:, row] = sequence.draw(count)
    return numbers


def block_tables(sequences: Sequence[TokenSequence], rows: int, max_blocks: int) -> Tensor:
    """int32 (rows, max_blocks): the blocks of each, then 0."""
    tables = np.zeros((rows, max_blocks), np.int32)
    for row, sequence in zip(tables, sequences, strict=False):
        row[: len(sequence.blocks)] = sequence.blocks
    return Tensor(tables)


class Latest(Generic[T]):
    """What was made for the conversations of the last call: mostly the next call is for the same ones."""

    def __init__(self) -> None:
        self._key: object = None
        self._made: T | None = None

    def get(self, key: object, make: Callable[[], T]) -> T:
        if self._made is None or key != self._key:
            self._key, self._made = key, make()
        return self._made


@dataclass(frozen=True)
class CarriedRow:
    """What a call has left for the next one of a sequence: row `row` of each of some tensors, (rows, ...)."""

    tensors: tuple[Tensor, ...]
    row: int


def carried_over(carried: Sequence[CarriedRow], rows: int) -> tuple[Tensor, ...]:
    """The rows of several sequences in their order, (rows, ...) of each kind, then any. The tensors of the last call as
    they are where that was for the same sequences, so that nothing is copied."""
    sources = list({id(each.tensors): each.tensors for each in carried}.values())
    if len(sources) == 1 and sources[0][0].shape[0] == rows and all(c.row == row for row, c in enumerate(carried)):
        return sources[0]
    starts = dict(zip(map(id, sources), np.cumsum([0, *(source[0].shape[0] for source in sources)]), strict=False))
    places = np.zeros(rows, np.int32)
    places[: len(carried)] = [starts[id(each.tensors)] + each.row for each in carried]
    index = Tensor(places)
    return tuple(ops.gather(_joined(kind), index, 0) for kind in zip(*sources, strict=True))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else mint.cat(list(parts), dim=0)
