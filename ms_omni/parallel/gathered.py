"""Cells whose weights are split over a group: each weight is gathered when it is used, and then dropped."""

from __future__ import annotations

from functools import cache
from types import MethodType
from typing import Any

from mindspore import Tensor

from ms_omni.parallel.collectives import all_gather
from ms_omni.parallel.vocabulary import logits, lookup
from ms_omni.parallel.world import World


def gather_weights(cell: Any, num_rows: dict[str, int], world: World) -> None:
    """Makes `cell.NAME`, for every Parameter NAME in `num_rows`, the whole weight: one all_gather each time it is read.
    num_rows: the length of its first axis. The Parameter itself holds this rank's rows.

    This gives the cell another class. Only a property of the class is found before Cell's own look-up of a Parameter,
    so that code outside the cell cannot take this rank's rows for the whole weight either."""
    cell.shared_world, cell.num_rows = world, {**num_rows}
    base: Any = type(cell)
    object.__setattr__(cell, "__class__", _gathering(base, tuple(num_rows)))


def split_table(cell: Any, num_rows: int, world: World) -> None:
    """Makes an Embedding look ids up on the ranks that have their rows. `cell.weight` remains this rank's Parameter."""

    def construct(self: Any, ids: Tensor) -> Tensor:
        """ids: int, any shape. (*shape, hidden)."""
        return lookup(self.weight, ids.reshape(-1), world, num_rows).reshape(*ids.shape, -1)

    replace_construct(cell, construct)


def split_head(cell: Any, num_rows: int, world: World) -> None:
    """Makes a Linear without bias gather its outputs instead of its weight, which remains this rank's Parameter."""

    def construct(self: Any, x: Tensor) -> Tensor:
        """x: (..., hidden). (..., num_rows)."""
        flat = x.reshape(-1, x.shape[-1])
        return logits(flat, self.weight, world, num_rows).reshape(*x.shape[:-1], -1)

    replace_construct(cell, construct)


def replace_construct(cell: Any, construct: Any) -> None:
    """Makes a call of this cell run `construct(cell, ...)`."""
    cell.construct = MethodType(construct, cell)


class Gathering:
    """Mixed into the class of a cell by `gather_weights`."""

    _params: dict[str, Any]
    shared_world: World
    num_rows: dict[str, int]

    def gathered(self, name: str) -> Tensor:
        """The whole weight, without the rows that pad the last ranks' parts."""
        weight, length = all_gather(self._params[name], self.shared_world), self.num_rows[name]
        return weight if weight.shape[0] == length else weight[:length]


@cache
def _gathering(base: type, names: tuple[str, ...]) -> type:
    return type("Gathering" + base.__name__, (Gathering, base), {name: _whole_weight(name) for name in names})


def _whole_weight(name: str) -> property:
    def get(cell: Gathering) -> Tensor:
        try:
            return cell.gathered(name)
        except AttributeError as error:  # Python would fall back to Cell, which has this rank's part under the name
            raise RuntimeError(f"{name} could not be gathered: {error}") from error

    return property(get)
