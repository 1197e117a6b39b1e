"""Runs `ms-omni accept` as a rank whose broadcasts come from the wrong root: from the rank after it.

planted_rank.py FLAGS...
"""

import sys

from ms_omni.cli.main import main
from ms_omni.parallel import collectives
from ms_omni.parallel.world import is_scheduler


def turned(ops):
    """The operators of a group, each root's broadcast by the next one."""
    from dataclasses import replace

    return replace(ops, broadcasts=ops.broadcasts[1:] + ops.broadcasts[:1])


if not is_scheduler():
    right = collectives._hccl_ops
    collectives._hccl_ops = lambda world: turned(right(world))
raise SystemExit(main(["accept", *sys.argv[1:]]))
