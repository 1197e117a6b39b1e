"""Runs as each rank of a group, a process each: a fake executor behind a leader's loop or a follower.

rank_of_group.py DIRECTORY RANK SIZE SUBMITS: SUBMITS 0 only follows. Prints a line for each answer, and how it ended.
"""

import sys
import time
from pathlib import Path

import numpy as np
from fake_executor import decode, request
from group import RankExecutor
from test_loop import LONG, answer

from ms_omni.parallel import message_links
from ms_omni.parallel.message_links import connect_group
from ms_omni.parallel.sockets import Listener
from ms_omni.parallel.world import World
from ms_omni.scheduling.follower import Follower
from ms_omni.scheduling.shared import LeaderLoop, SharedExecutor


def main():
    directory, rank, size, submits = Path(sys.argv[1]), *map(int, sys.argv[2:])
    world = World(rank, size, size)
    message_links.own_address = lambda: "127.0.0.1"
    listener = Listener("127.0.0.1")
    write(directory / f"endpoint_{rank}", listener.endpoint)
    collectives = listener.connect(rank, [read(directory / f"endpoint_{other}") for other in range(size)])
    executor = RankExecutor(collectives, lambda *step: time.sleep(0.002), num_blocks=30_000)
    links = connect_group(world, lambda endpoint: collectives.broadcast(endpoint, 0))
    if world.is_leader:
        loop = LeaderLoop(SharedExecutor(executor, links), decode)
    else:
        loop = Follower(executor, links[0], decode)
    try:
        for seed in range(submits):
            handle = loop.submit(request(seed=seed, new=9, frames=4))
            print(hash(str(answer(handle.result(120)))), flush=True)
        if submits:
            handle = loop.submit(request(**{**LONG, "new": 100_000}, seed=7)) if submits > 3 else None
            print("going on", flush=True)
            if handle:
                handle.result(120)
            loop.close()
        else:
            print("following", flush=True)
            loop.follow()
        print("ended in order", flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        raise SystemExit(1) from error


def write(path, endpoint):
    np.save(path.with_suffix(".new.npy"), endpoint)
    path.with_suffix(".new.npy").rename(path)


def read(path):
    while not path.exists():
        time.sleep(0.01)
    return np.load(path)


main()
