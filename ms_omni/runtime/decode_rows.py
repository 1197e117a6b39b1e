"""The rows of a decode call: one a sequence, and rows of nobody up to the next bucket; dealt out to those who own the
sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.limits import BUCKETS
from ms_omni.scheduling.sequence import Sequence as TokenSequence

T = TypeVar("T")
V = TypeVar("V")


def bucket_of(num_rows: int) -> int:
    """Rows of the call that is made for so many."""
    return next(bucket for bucket in BUCKETS if bucket >= num_rows)


@dataclass(frozen=True)
class DealtRows:
    """Which rows of a call are whose. Every owner has `bucket` of them: owner o those from o * bucket on, first its
    sequences in their order, then nobody. numbers: each sequence's row."""

    numbers: tuple[int, ...]
    bucket: int
    num_owners: int

    @classmethod
    def of(cls, owners: Sequence[int], num_owners: int) -> DealtRows:
        """owners: each sequence's, from 0 on."""
        counts, places = [0] * num_owners, []
        for owner in owners:
            places.append((owner, counts[owner]))
            counts[owner] += 1
        bucket = bucket_of(max(counts))
        return cls(tuple(owner * bucket + place for owner, place in places), bucket, num_owners)

    @classmethod
    def of_all(cls, count: int) -> DealtRows:
        """Of so many sequences, where every rank computes all."""
        return cls.of([0] * count, 1)

    def __len__(self) -> int:
        return self.bucket * self.num_owners

    def of_owner(self, owner: int) -> slice:
        """Its rows."""
        return slice(owner * self.bucket, (owner + 1) * self.bucket)

    def spread(self, values: Sequence[V], nobody: V) -> list[V]:
        """A value for each row: those of the sequences, and what rows of nobody have."""
        found = [nobody] * len(self)
        for number, value in zip(self.numbers, values, strict=True):
            found[number] = value
        return found


@dataclass(frozen=True)
class Places:
    """Where the rows of one owner stand, as decoding graphs take it: how many tokens each has with the one that is
    read, int32 (bucket,), and that one's rotary position, float32 (bucket,). A row of nobody has one token."""

    lengths: np.ndarray
    rope_positions: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[TokenSequence], rows: DealtRows, owner: int) -> Places:
        """Of the rows that `owner` computes, before each one's next token."""
        lengths = rows.spread([sequence.position + 1 for sequence in sequences], 1)
        rope = rows.spread([sequence.position + sequence.rope_delta for sequence in sequences], 0.0)
        own = rows.of_owner(owner)
        return cls(np.array(lengths[own], np.int32), np.array(rope[own], np.float32))

    def tensors(self, ahead: int = 0) -> tuple[Tensor, Tensor]:
        """Of the tokens that are so many behind those."""
        return Tensor(self.lengths + np.int32(ahead)), Tensor(self.rope_positions + np.float32(ahead))


def last_tokens(sequences: Sequence[TokenSequence], rows: DealtRows) -> Tensor:
    """int32 (rows,), 0 for nobody."""
    return Tensor(np.array(rows.spread([sequence.token_ids[-1] for sequence in sequences], 0), np.int32))


def drawn(sequences: Sequence[TokenSequence], count: int, rows: DealtRows) -> np.ndarray:
    """The next `count` random numbers of each, float32 (count, rows), 0 for nobody."""
    numbers = np.zeros((count, len(rows)), np.float32)
    for row, sequence in zip(rows.numbers, sequences, strict=True):
        numbers[:, row] = sequence.draw(count)
    return numbers


def block_tables(sequences: Sequence[TokenSequence], rows: DealtRows, max_blocks: int) -> Tensor:
    """int32 (rows, max_blocks): the blocks of each, then 0."""
    tables = np.zeros((len(rows), max_blocks), np.int32)
    for row, sequence in zip(rows.numbers, sequences, strict=True):
        tables[row, : len(sequence.blocks)] = sequence.blocks
    return Tensor(tables)


class Latest(Generic[T]):
    """What was made for the conversations of the last call: mostly the next call is for the same ones."""

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
    """What a call has left for the next one of a sequence: row `row` of each of some tensors, (rows, ...)."""

    tensors: tuple[Tensor, ...]
    row: int


def carried_over(carried: Sequence[CarriedRow], rows: DealtRows) -> tuple[Tensor, ...]:
    """What each sequence has, in its row, and any elsewhere: (rows, ...) of each kind. The tensors of the last call as
    they are where that was for the same sequences, so that nothing is copied."""
    sources = list({id(each.tensors): each.tensors for each in carried}.values())
    is_same = all(each.row == number for each, number in zip(carried, rows.numbers, strict=True))
    if len(sources) == 1 and sources[0][0].shape[0] == len(rows) and is_same:
        return sources[0]
    starts = dict(zip(map(id, sources), np.cumsum([0, *(source[0].shape[0] for source in sources)]), strict=False))
    places = rows.spread([starts[id(each.tensors)] + each.row for each in carried], 0)
    index = Tensor(np.array(places, np.int32))
    return tuple(ops.gather(_joined(kind), index, 0) for kind in zip(*sources, strict=True))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else mint.cat(list(parts), dim=0)
