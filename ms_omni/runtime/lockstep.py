"""Ranks of one group that answer different conversations, in step: every rank's collectives in one order."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
from mindspore import Tensor

from ms_omni.bounds import PREFILL_CHUNK
from ms_omni.parallel.collectives import all_gather
from ms_omni.parallel.world import World


class Work(IntEnum):
    """What needs all ranks of a group, in the order in which it is done when ranks want different things."""

    THINKER_PREFILL = 1
    THINKER_STEP = 2
    TALKER_PREFILL = 3
    TALKER_FRAME = 4


NOTHING = 0
Companion = Callable[[int], object]


class Lockstep:
    """Where ranks answer different conversations, a rank comes to each piece of work that needs the others' weights
    through `do`. All ranks say what they want; then all do each thing that anybody wants: who wants it its own, the
    others, as companions, the same collectives for nothing. One small all_gather a turn. Without different
    conversations `do` just does."""

    def __init__(self, world: World):
        self._world = world
        self._companions: dict[Work, Companion] = {}

    def register(self, kind: Work, companion: Companion) -> None:
        """companion(size): the collectives of `kind` at `size`, with no conversation."""
        self._companions[kind] = companion

    def do(self, kind: Work, work: Callable[[int], Any], size: int = 1) -> Any:
        """What `work(largest size)` returns. size: how much of `kind` this rank wants; the largest is how much of it
        all ranks take part in."""
        if not self._world.data_parallel:
            return work(size)
        made = None
        for wanted, largest in self._turn(kind, size):
            if wanted == kind:
                made = work(largest)
            else:
                self._companions[wanted](largest)
        return made

    def take_part(self) -> None:
        """Companion of the other ranks, until none of them wants anything any more."""
        while self._world.data_parallel and (turn := self._turn(NOTHING, 0)):
            for wanted, largest in turn:
                self._companions[wanted](largest)

    def prefill(self, kind: Work, decoder: Any, x: Tensor, *arguments: Any) -> Any:
        """`decoder.prefill(x, *arguments)`, chunk by chunk with the other ranks' prompts."""
        own = -(-x.shape[0] // PREFILL_CHUNK)

        def work(num_chunks: int) -> Any:
            made = decoder.prefill(x, *arguments)
            decoder.accompany(num_chunks - own)
            return made

        return self.do(kind, work, own)

    def _turn(self, kind: int, size: int) -> list[tuple[Work, int]]:
        """What anybody wants, and at which size."""
        mine = Tensor(np.array([[kind, size]], np.int32))
        wanted = all_gather(mine, self._world).asnumpy()
        return [(each, int(wanted[wanted[:, 0] == each, 1].max())) for each in Work if each in wanted[:, 0]]
