"""Makes emulated operators wrong, for tests that must find it: PLANTED names the faults, with commas.

Python imports a module of this name when it starts, if its directory is on PYTHONPATH.
"""

import os
import signal
from pathlib import Path

import numpy as np


def _plant(name, change):
    """`change(arguments)` before the operator computes."""
    from ascend_emulator import operators  # noqa: F401  fills the table
    from ascend_emulator.table import OPERATORS

    operator = OPERATORS["aclnn", name]
    right = operator.compute

    def compute(arguments):
        change(arguments)
        right(arguments)

    operator.compute = compute


class _Negated:
    """A tensor whose values have the other sign."""

    def __init__(self, tensor):
        self._tensor = tensor

    def __getattr__(self, name):
        return getattr(self._tensor, name)

    def wide(self):
        return -self._tensor.wide()


def swapped_halves(arguments):
    """(second, -first) instead of (-second, first)."""
    arguments.sin = _Negated(arguments.sin)


def wrong_sparse_mode(arguments):
    """The first query sees the first key alone, however many keys come before."""
    if arguments.sparseMode == 3:
        arguments.sparseMode = 2


class _Reversed:
    """A list of sizes, from its end."""

    def __init__(self, tensor):
        self._tensor = tensor

    @property
    def array(self):
        return self._tensor.array[::-1]


def wrong_groups(arguments):
    """Experts get as many rows as others should."""
    arguments.groupListOptional = _Reversed(arguments.groupListOptional)


def wrong_list_type(arguments):
    """Sizes of groups are taken for their ends."""
    arguments.groupListType = 0


def swapped_scales(arguments):
    """Of rounded rows, the first one's has the last one's scale."""
    arguments.pertokenScaleOptional = _Reversed(arguments.pertokenScaleOptional)


def scales_of_another_expert(arguments):
    """Each expert's columns have the next one's scales."""
    for name in ("scaleOptional", "antiquantScaleOptional"):
        setattr(arguments, name, [_Shifted(tensor) for tensor in getattr(arguments, name)])


class _Shifted:
    """A tensor whose rows are each the next one's."""

    def __init__(self, tensor):
        self._tensor = tensor

    def wide(self):
        return np.roll(self._tensor.wide(), -1, axis=0)


def dies_once(arguments):
    """As CANN does it: the process is gone. PLANTED_MARK: a file that says that it has happened."""
    mark = Path(os.environ["PLANTED_MARK"])
    if not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGSEGV)


def refuses(arguments):
    """With a status and CANN's words."""
    from ascend_emulator.refusal import Refused

    raise Refused("planted: EZ1001 is not supported")


FAULTS = {
    "swapped_halves": ("aclnnRotaryPositionEmbedding", swapped_halves),
    "wrong_sparse_mode": ("aclnnPromptFlashAttentionV3", wrong_sparse_mode),
    "wrong_groups": ("aclnnGroupedMatmulV4", wrong_groups),
    "wrong_list_type": ("aclnnGroupedMatmulV4", wrong_list_type),
    "swapped_scales": ("aclnnQuantMatmulV4", swapped_scales),
    "scales_of_another_expert": ("aclnnGroupedMatmulV4", scales_of_another_expert),
    "dies_once": ("aclnnIndexPutImpl", dies_once),
    "refuses": ("aclnnSwiGlu", refuses),
}

for _name in filter(None, os.environ.get("PLANTED", "").split(",")):
    _plant(*FAULTS[_name])
