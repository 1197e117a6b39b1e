"""Cells whose weights are spread over a group: each is gathered when it is used, and dropped after that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from mindspore import Tensor

from ms_omni.parallel.collectives import all_gather
from ms_omni.parallel.vocabulary import logits, lookup
from ms_omni.parallel.world import World


def gather_weights(cell: Any, num_rows: dict[str, int], world: World) -> None:
    """From now on `cell.NAME`, for every Parameter NAME in `num_rows`, is the whole weight: one all_gather each time it
    is asked for. num_rows: the length of its first axis. The Parameter itself holds this rank's rows."""
    cell.shared_world, cell.num_rows, cell.held_weights = world, {**num_rows}, {}
    base: Any = type(cell)
    object.__setattr__(cell, "__class__", _gathering(base, tuple(num_rows)))


def split_table(cell: Any, num_rows: int, world: World) -> None:
    """Makes an Embedding look its ids up where their rows are. `cell.weight` remains this rank's Parameter."""
    _become(cell, SplitTable, num_rows, world)


def split_head(cell: Any, num_rows: int, world: World) -> None:
    """Makes a Linear without bias gather its outputs instead of its weight, which remains this rank's Parameter."""
    _become(cell, SplitHead, num_rows, world)


@contextmanager
def whole_weights(cell: Any) -> Iterator[None]:
    """While active, no weight below `cell` is gathered: all were when it began. So ranks that enter together may
    compute different things inside, or nothing. Takes the memory of all these weights. (Tables and heads that are
    split by rows are not affected.)"""
    gathering = [part for _, part in cell.cells_and_names() if isinstance(part, Gathering)]
    held_before = [part.held_weights for part in gathering]
    for part in gathering:
        part.held_weights = {name: part.gathered(name) for name in part.num_rows}
    try:
        yield
    finally:
        for part, before in zip(gathering, held_before, strict=True):
            part.held_weights = before


class Gathering:
    """Mixed into the class of a cell by `gather_weights`."""

    _params: dict[str, Any]
    shared_world: World
    num_rows: dict[str, int]
    held_weights: dict[str, Tensor]

    def gathered(self, name: str) -> Tensor:
        """The whole weight, without the rows that pad the last ranks' parts."""
        if name in self.held_weights:
            return self.held_weights[name]
        weight, length = all_gather(self._params[name], self.shared_world), self.num_rows[name]
        return weight if weight.shape[0] == length else weight[:length]


class SplitTable:
    """Mixed into the class of an Embedding by `split_table`."""

    weight: Any
    shared_world: World
    num_rows: int

    def construct(self, ids: Tensor) -> Tensor:
        """ids: int, any shape. (*shape, hidden)."""
        rows = lookup(self.weight, ids.reshape(-1), self.shared_world, self.num_rows)
        return rows.reshape(*ids.shape, -1)


class SplitHead:
    """Mixed into the class of a Linear by `split_head`."""

    weight: Any
    shared_world: World
    num_rows: int

    def construct(self, x: Tensor) -> Tensor:
        """x: (..., hidden). (..., num_rows)."""
        flat = x.reshape(-1, x.shape[-1])
        return logits(flat, self.weight, self.shared_world, self.num_rows).reshape(*x.shape[:-1], -1)


def _become(cell: Any, mixin: type, num_rows: int, world: World) -> None:
    cell.shared_world, cell.num_rows = world, num_rows
    base: Any = type(cell)
    object.__setattr__(cell, "__class__", _mixed(mixin, base))


@cache
def _mixed(mixin: type, base: type) -> type:
    return type(mixin.__name__ + base.__name__, (mixin, base), {})


@cache
def _gathering(base: type, names: tuple[str, ...]) -> type:
    """A property of the class comes before Cell's own search for a Parameter, so whatever reads the weight, inside the
    cell or outside, gets the whole one."""
    return type("Gathering" + base.__name__, (Gathering, base), {name: _whole_weight(name) for name in names})


def _whole_weight(name: str) -> property:
    def get(cell: Gathering) -> Tensor:
        try:
            return cell.gathered(name)
        except AttributeError as error:  # at which Python would ask Cell, which knows the part under this name
            raise RuntimeError(f"{name} could not be gathered: {error}") from error

    return property(get)
