"""A cache of numpy parts that are made from mindone's cells on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ms_omni.parallel.gathered import Gathering


class Parts:
    """Keeps the parts of a network: views of its weights, which MindSpore takes long to give. Nothing is kept if
    weights are spread over a group: those are gathered for each use and dropped again."""

    def __init__(self, network: Any):
        self.are_kept = not any(isinstance(cell, Gathering) for _, cell in network.cells_and_names())
        self._made: dict[str, Any] = {}

    def __call__(self, name: str, make: Callable[..., Any], *cells: Any) -> Any:
        """make(*cells), or its first result for this name."""
        if not self.are_kept:
            return make(*cells)
        if name not in self._made:
            self._made[name] = make(*cells)
        return self._made[name]
