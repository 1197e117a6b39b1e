"""Parts of a network on the CPU, made once of mindone's cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ms_omni.parallel.gathered import Gathering


class Parts:
    """Keeps what was made of a network's cells: arrays over the memory of their weights, which take long to ask
    MindSpore for. Nothing is kept of weights that are spread over a group, which are gathered each time they are used
    and dropped after that."""

    def __init__(self, network: Any):
        self._keeps = not any(isinstance(cell, Gathering) for _, cell in network.cells_and_names())
        self._made: dict[str, Any] = {}

    def __call__(self, name: str, make: Callable[..., Any], *cells: Any) -> Any:
        """make(*cells), or what it was the first time for this name."""
        if not self._keeps:
            return make(*cells)
        if name not in self._made:
            self._made[name] = make(*cells)
        return self._made[name]
