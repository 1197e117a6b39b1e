"""A group of ranks in one process: fake executors that meet in real collectives, and links, over pairs of sockets."""

import socket
import zlib
from contextlib import suppress

import numpy as np
from fake_executor import FakeExecutor, decode, limits

from ms_omni.parallel.message_links import MessageLink
from ms_omni.parallel.sockets import SocketGroup
from ms_omni.scheduling.follower import Follower
from ms_omni.scheduling.loop import CLOSED
from ms_omni.scheduling.shared import LeaderLoop, SharedExecutor


class RankExecutor(FakeExecutor):
    """Every step but Code2Wav's is a collective, in which the ranks find out whether all of them do the same."""

    def __init__(self, collectives, on_step=lambda *step: None, **settings):
        super().__init__(limits(**settings), on_step)
        self.collectives = collectives

    def _note(self, name, states, *more):
        super()._note(name, states, *more)
        if name == "code2wav":
            return
        step = np.array([zlib.crc32(repr(self.steps[-1]).encode())], np.int64)
        together = self.collectives.all_gather(step)
        assert (together == step).all(), f"the ranks do different things: {name}"


class Group:
    """loop: the leader's; followers: the others'. on_step: called on each rank before a step, with the rank first."""

    def __init__(self, size=2, on_step=lambda *step: None, **settings):
        self.sockets = collectives = connected(size)
        self.executors = [
            RankExecutor(
                SocketGroup(rank, collectives[rank]), lambda *step, rank=rank: on_step(rank, *step), **settings
            )
            for rank in range(size)
        ]
        pairs = [pair_of_sockets() for _ in range(1, size)]
        links = [MessageLink(pair[0], rank) for rank, pair in enumerate(pairs, 1)]
        self.links = [MessageLink(pair[1], 0) for pair in pairs]
        self.loop = LeaderLoop(SharedExecutor(self.executors[0], links), decode)
        self.followers = [
            Follower(executor, link, decode) for executor, link in zip(self.executors[1:], self.links, strict=True)
        ]

    def end(self, rank):
        """As the system does for a process that is killed."""
        self.links[rank - 1].close()
        for peer in self.sockets[rank]:
            if peer is not None:
                with suppress(OSError):  # reset by another rank's end
                    peer.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.loop.close()
        for follower in self.followers:
            follower.close()
        threads = [*self.loop._threads, *self.loop._shared._threads, *(t for f in self.followers for t in f._threads)]
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if self.loop._shared._lost == CLOSED:  # an executor that is lost is not asked any more
            assert not any(executor.alive for executor in self.executors)


def connected(size):
    """connected[i][j]: the socket by which rank i reaches rank j."""
    sockets = [[None] * size for _ in range(size)]
    for i in range(size):
        for j in range(i):
            sockets[i][j], sockets[j][i] = pair_of_sockets()
    return sockets


def pair_of_sockets():
    """A TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]
