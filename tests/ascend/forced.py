"""Makes the fused engine say given ids and codes at given places; everywhere else it chooses greedily, as it would.

Every choice takes a random number each, which greedy picking does not look at. Here it says what to pick: -1
the likeliest, any other number that id.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_omni.kernels import decoder_ops_ascend, decoder_ops_cpu
from ms_omni.scheduling import state as request_state

Forced = dict[int, int]
_forced: dict[str, Forced] = {"thinker": {}, "talker": {}}


class Sampler(nn.Cell):
    """Stands for the device's."""

    def __init__(self, rows: int, vocabulary: int, num_kept: int, name: str):
        super().__init__()
        self.kernel_numbers = ()

    def construct(self, logits: Tensor, uniform: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
        """logits: float32 (rows, vocab). uniform: float32 (rows,), -1 or an id. int32 (rows,)."""
        likeliest = ops.argmax(logits, -1).astype(ms.int32)
        wanted = uniform.astype(ms.int32)
        is_free = ops.less(wanted, 0).astype(ms.int32)
        return likeliest * is_free + wanted * (1 - is_free)


class Stream:
    """Stands for the random numbers of a sequence: numbers the picks of one stage of one answer in their order."""

    def __init__(self, seed: int, stage: str):
        self._ids, self._place = _forced[stage], 0

    def random(self, count: int, dtype: type = np.float32) -> np.ndarray:
        places = range(self._place, self._place + count)
        self._place += count
        return np.array([self._ids.get(place, -1) for place in places], dtype)


def install() -> None:
    """Before an engine makes its graphs."""
    request_state.random_numbers = Stream
    for module in (decoder_ops_ascend, decoder_ops_cpu):
        module.Sampler = Sampler


def say(thinker: Forced, talker: Forced) -> None:
    """From the next answer on. thinker: by the place of the new id. talker: by the place of the pick: first the first
    code of frame 0, then of each frame the next frame's first code and this frame's residual ones."""
    _forced["thinker"], _forced["talker"] = thinker, talker


def talker_place(frame: int, code: int, num_groups: int) -> int:
    """Of code number `code` of frame number `frame`."""
    if code == 0:
        return 0 if frame == 0 else 1 + (frame - 1) * num_groups
    return 1 + frame * num_groups + code


def talker_turn(place: int, num_groups: int) -> tuple[int, int]:
    """Sorts places by time: a frame's residual codes are chosen before the first code of the next frame, whose place
    is lower."""
    call, code = divmod(place - 1, num_groups)
    return call, code or num_groups
