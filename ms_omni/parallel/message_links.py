"""Sends Python objects between the leader of a group and its followers, in order, while they compute.

TCP rather than collectives: a follower may wait for hours without keeping its card busy, and each side notices at once
when the other has ended."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from ms_omni.parallel.sockets import ENDPOINT_LENGTH, Listener, connect_to
from ms_omni.parallel.world import World, own_address

# TCP keep-alive: seconds of silence before the first probe, seconds between probes, and lost probes after which the
# connection counts as broken.
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class MessageLink:
    """A connection to another process. One thread receives, any thread may send."""

    def __init__(self, peer: socket.socket, rank: int):
        """rank: of the other process, in the world."""
        self.rank = rank
        peer.settimeout(None)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._peer, self._lock = peer, threading.Lock()
        self._incoming = peer.makefile("rb")

    def send(self, message: object) -> None:
        """Does nothing if the other process has ended: `receive` raises then."""
        send_to_all([self], message)

    def receive(self) -> Any:
        """The next message. Raises EOFError when the connection was closed from either side."""
        try:
            return pickle.load(self._incoming)
        except (OSError, pickle.UnpicklingError) as error:  # reset, or ended in the middle
            raise EOFError(str(error)) from error

    def send_bytes(self, data: bytes) -> None:
        """Sends a pickled message."""
        with self._lock, suppress(OSError):
            self._peer.sendall(data)

    def close(self) -> None:
        """Closes the connection: both sides receive what was sent, then EOFError."""
        with suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)
        self._peer.close()


def send_to_all(links: Iterable[MessageLink], message: object) -> None:
    """Sends the same message over each link; it is pickled once."""
    data = pickle.dumps(message, protocol=5)
    for link in links:
        link.send_bytes(data)


def connect_group(world: World, broadcast: Callable[[np.ndarray], np.ndarray]) -> tuple[MessageLink, ...]:
    """On the leader: links to its followers, in the order of their ranks. On a follower: one link to its leader. All
    members of the group call this at the same time. broadcast: returns the leader's int32 array on every member."""
    first = world.group_ranks[0]
    if not world.is_leader:
        endpoint = broadcast(np.zeros(ENDPOINT_LENGTH, np.int32))
        return (MessageLink(connect_to(endpoint, world.group_rank), first),)
    listener = Listener(own_address())
    broadcast(listener.endpoint)
    peers = listener.accept(range(1, world.group_size))
    return tuple(MessageLink(peers[rank], first + rank) for rank in sorted(peers))
