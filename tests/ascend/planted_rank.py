"""Runs `ms-omni accept` as a rank whose broadcasts come from the wrong root: from the rank after it.

planted_rank.py FLAGS...
"""

import sys

from ms_omni.cli.main import main
from ms_omni.parallel import collectives
from ms_omni.parallel.world import is_scheduler

right = collectives.broadcast


def turned(x, world, root=0):
    """Each root's by the next one."""
    return right(x, world, (root + 1) % world.group_size)


if not is_scheduler():
    collectives.broadcast = turned
raise SystemExit(main(["accept", *sys.argv[1:]]))
