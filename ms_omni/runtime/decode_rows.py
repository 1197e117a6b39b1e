"""The rows of a decode call: one for each sequence, padded to the next bucket. Where ranks own sequences, each rank has
its own block of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from mindspore import Tensor, ops

from ms_omni.kernels.concatenate import concatenated
from ms_omni.limits import BUCKETS
from ms_omni.scheduling.sequence import Sequence as TokenSequence

T = TypeVar("T")
V = TypeVar("V")


def bucket_of(num_rows: int) -> int:
    """Rows of the call that is made for so many."""
    return next(bucket for bucket in BUCKETS if bucket >= num_rows)


@dataclass(frozen=True)
class RowLayout:
    """Which row of a call each sequence has. Owner o has the `bucket` rows from o * bucket on: first its sequences in
    their order, then padding. numbers: the row of each sequence."""

    numbers: tuple[int, ...]
    bucket: int
    num_owners: int

    @classmethod
    def of(cls, owners: Sequence[int], num_owners: int) -> RowLayout:
        """owners: the owner of each sequence, from 0 on."""
        counts, places = [0] * num_owners, []
        for owner in owners:
            places.append((owner, counts[owner]))
            counts[owner] += 1
        bucket = bucket_of(max(counts))
        return cls(tuple(owner * bucket + place for owner, place in places), bucket, num_owners)

    @classmethod
    def of_all(cls, count: int) -> RowLayout:
        """For `count` sequences that every rank computes."""
        return cls.of([0] * count, 1)

    def __len__(self) -> int:
        return self.bucket * self.num_owners

    def of_owner(self, owner: int) -> slice:
        """The rows of `owner`."""
        return slice(owner * self.bucket, (owner + 1) * self.bucket)

    def spread(self, values: Sequence[V], padding: V) -> list[V]:
        """A value for each row; padding rows get `padding`."""
        found = [padding] * len(self)
        for number, value in zip(self.numbers, values, strict=True):
            found[number] = value
        return found


@dataclass(frozen=True)
class TokenPositions:
    """Positions of the rows of one owner, as decoding graphs take them. lengths: int32 (bucket,), tokens of each
    sequence, the one that is read included; 1 for padding. rope_positions: float32 (bucket,), of that token."""

    lengths: np.ndarray
    rope_positions: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence], rows: RowLayout, owner: int) -> TokenPositions:
        """Of the rows that `owner` computes, before each one's next token."""
        lengths = rows.spread([sequence.position + 1 for sequence in sequences], 1)
        rope = rows.spread([sequence.position + sequence.rope_delta for sequence in sequences], 0.0)
        own = rows.of_owner(owner)
        return cls(np.array(lengths[own], np.int32), np.array(rope[own], np.float32))

    def tensors(self, ahead: int = 0) -> tuple[Tensor, Tensor]:
        """The same for the token that comes `ahead` steps later."""
        return Tensor(self.lengths + np.int32(ahead)), Tensor(self.rope_positions + np.float32(ahead))


def last_tokens(sequences: Sequence[TokenSequence], rows: RowLayout) -> Tensor:
    """The last token of each row, int32 (rows,); 0 for padding."""
    return Tensor(np.array(rows.spread([sequence.token_ids[-1] for sequence in sequences], 0), np.int32))


def uniform_numbers(sequences: Sequence[TokenSequence], count: int, rows: RowLayout) -> np.ndarray:
    """The next `count` random numbers of each row's sequence, float32 (count, rows); 0 for padding."""
    numbers = np.zeros((count, len(rows)), np.float32)
    for row, sequence in zip(rows.numbers, sequences, strict=True):
        numbers[:, row] = sequence.draw(count)
    return numbers


def block_tables(sequences: Sequence[TokenSequence], rows: RowLayout, max_blocks: int) -> Tensor:
    """int32 (rows, max_blocks): the cache blocks of each row's sequence, then 0."""
    tables = np.zeros((len(rows), max_blocks), np.int32)
    for row, sequence in zip(rows.numbers, sequences, strict=True):
        tables[row, : len(sequence.blocks)] = sequence.blocks
    return Tensor(tables)


class Latest(Generic[T]):
    """A cache of one entry. Most calls are for the same conversations as the call before."""

    def __init__(self) -> None:
        self._key: object = None
        self._made: T | None = None

    def get(self, key: object, make: Callable[[], T]) -> T:
        """make(), or what it returned for the last call if the key is the same."""
        if self._made is None or key != self._key:
            self._key, self._made = key, make()
        return self._made


@dataclass(frozen=True)
class CarriedRow:
    """State that a call leaves for the next call of a sequence: row `row` of each of `tensors`, (rows, ...)."""

    tensors: tuple[Tensor, ...]
    row: int


def carried_over(carried: Sequence[CarriedRow], rows: RowLayout) -> tuple[Tensor, ...]:
    """The carried state in this call's rows, (rows, ...) of each kind; padding rows hold anything. If the last call had
    the same rows, its tensors are returned without a copy."""
    sources = list({id(each.tensors): each.tensors for each in carried}.values())
    is_same = all(each.row == number for each, number in zip(carried, rows.numbers, strict=True))
    if len(sources) == 1 and sources[0][0].shape[0] == len(rows) and is_same:
        return sources[0]
    starts = dict(zip(map(id, sources), np.cumsum([0, *(source[0].shape[0] for source in sources)]), strict=False))
    places = rows.spread([starts[id(each.tensors)] + each.row for each in carried], 0)
    index = Tensor(np.array(places, np.int32))
    return tuple(ops.gather(concatenated(kind), index, 0) for kind in zip(*sources, strict=True))
