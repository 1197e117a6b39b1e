"""Connections between the processes of one group: they carry the collectives on a CPU, and messages everywhere.

MindSpore's own collectives on a CPU (mccl) know no groups smaller than the job and no all_to_all."""

from __future__ import annotations

import secrets
import select
import socket
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress

import numpy as np

from ms_omni.parallel.world import CPU_WAIT_S

# A connection carries pickled objects (message_links.py): nobody else may get in by guessing
_TOKEN_BYTES = 16
_GREETING_S = 5
# An endpoint is an array of bytes, one a number: address, token, port
ENDPOINT_LENGTH = 4 + _TOKEN_BYTES + 2


class SocketGroup:
    """TCP connections to all other members of a group, and collectives of numpy arrays over them.

    All members call the same collectives in the same order, with equal shapes and dtypes. `peers[i]` is connected to
    the member with group rank i (None for this one). When a member has ended, the others raise ConnectionError; when it
    is silent for CPU_WAIT_S, they raise TimeoutError.
    """

    def __init__(self, group_rank: int, peers: Sequence[socket.socket | None]) -> None:
        self.group_rank = group_rank
        self.peers = list(peers)
        for peer in self._others():
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.setblocking(False)

    @property
    def size(self) -> int:
        """Number of members, this one included."""
        return len(self.peers)

    def all_gather(self, x: np.ndarray) -> np.ndarray:
        """(n, ...) of every member -> (size * n, ...) in the order of the group ranks."""
        x = np.ascontiguousarray(x)
        gathered = np.empty((self.size, *x.shape), x.dtype)
        gathered[self.group_rank] = x
        incoming = {peer: gathered[i] for i, peer in enumerate(self.peers) if peer is not None}
        self._exchange(dict.fromkeys(incoming, x), incoming)
        return gathered.reshape(self.size * x.shape[0], *x.shape[1:])

    def all_to_all(self, x: np.ndarray) -> np.ndarray:
        """(size * n, ...), n rows for every member -> (size * n, ...), the rows that every member has for this one."""
        sent = np.ascontiguousarray(x).reshape(self.size, x.shape[0] // self.size, *x.shape[1:])
        received = np.empty_like(sent)
        received[self.group_rank] = sent[self.group_rank]
        by_peer = {peer: i for i, peer in enumerate(self.peers) if peer is not None}
        outgoing = {peer: sent[i] for peer, i in by_peer.items()}
        self._exchange(outgoing, {peer: received[i] for peer, i in by_peer.items()})
        return received.reshape(x.shape)

    def all_reduce(self, x: np.ndarray) -> np.ndarray:
        """Sum over the members, added in the order of the group ranks: bit-identical on all of them."""
        parts = self.all_gather(x[None])
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        return total

    def broadcast(self, x: np.ndarray, root: int) -> np.ndarray:
        """The array of the member with group rank `root`."""
        x = np.ascontiguousarray(x)
        if self.group_rank == root:
            self._exchange(dict.fromkeys(self._others(), x), {})
            return x
        received = np.empty_like(x)
        peer = self.peers[root]
        assert peer is not None
        self._exchange({}, {peer: received})
        return received

    def _others(self) -> list[socket.socket]:
        return [peer for peer in self.peers if peer is not None]

    def _exchange(self, outgoing: dict[socket.socket, np.ndarray], incoming: dict[socket.socket, np.ndarray]) -> None:
        """Sends and receives at once: if both sides only sent, full buffers would block both."""
        to_send = {peer: _bytes_of(array) for peer, array in outgoing.items() if array.size}
        to_receive = {peer: _bytes_of(array) for peer, array in incoming.items() if array.size}
        for peer in list(to_send):
            _advance(to_send, peer, peer.send)
        by_number = {peer.fileno(): peer for peer in {*to_send, *to_receive}}
        poll = select.poll()
        for number, peer in by_number.items():
            poll.register(number, _awaited(peer, to_send, to_receive))
        while to_send or to_receive:
            ready = poll.poll(CPU_WAIT_S * 1000)
            if not ready:
                raise TimeoutError(f"no other process of the group answered for {CPU_WAIT_S} s")
            for number, _ in ready:
                peer = by_number[number]
                _advance(to_receive, peer, peer.recv_into)
                _advance(to_send, peer, peer.send)
                if peer in to_send or peer in to_receive:
                    poll.modify(number, _awaited(peer, to_send, to_receive))
                else:
                    poll.unregister(number)


def _awaited(peer: socket.socket, to_send: Container[socket.socket], to_receive: Container[socket.socket]) -> int:
    return (select.POLLOUT if peer in to_send else 0) | (select.POLLIN if peer in to_receive else 0)


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _advance(
    pending: dict[socket.socket, memoryview], peer: socket.socket, transfer: Callable[[memoryview], int]
) -> None:
    """Transfers as many bytes as is possible without waiting."""
    while peer in pending:
        try:
            count = transfer(pending[peer])
        except BlockingIOError:
            return
        if count == 0:
            raise ConnectionError("another process of the group has ended")
        rest = pending.pop(peer)[count:]
        if rest:
            pending[peer] = rest


class Listener:
    """Accepts connections from the other members of a group, who need its `endpoint`: int32 (ENDPOINT_LENGTH,)."""

    def __init__(self, address: str) -> None:
        self._server = socket.create_server((address, 0))
        self._server.settimeout(CPU_WAIT_S)
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        numbers = socket.inet_aton(address) + self._token + self._server.getsockname()[1].to_bytes(2, "big")
        self.endpoint = np.frombuffer(numbers, np.uint8).astype(np.int32)

    def connect(self, group_rank: int, endpoints: Sequence[np.ndarray]) -> SocketGroup:
        """`endpoints[i]` is the endpoint of the member with group rank i. Every member connects to those before it."""
        peers: list[socket.socket | None] = [None] * len(endpoints)
        for other in range(group_rank):
            peers[other] = connect_to(endpoints[other], group_rank)
        for other, peer in self.accept(range(group_rank + 1, len(endpoints))).items():
            peers[other] = peer
        return SocketGroup(group_rank, peers)

    def accept(self, group_ranks: Iterable[int]) -> dict[int, socket.socket]:
        """Connections from the members with these group ranks, who use `connect_to`. Later ones are refused."""
        awaited, accepted = set(group_ranks), {}
        while awaited:
            peer, _ = self._server.accept()
            peer.settimeout(_GREETING_S)
            greeting = _read(peer, _TOKEN_BYTES + 2)
            rank = int.from_bytes(greeting[_TOKEN_BYTES:], "big")
            if greeting[:_TOKEN_BYTES] == self._token and rank in awaited:  # any program may connect
                awaited.remove(rank)
                accepted[rank] = peer
            else:
                peer.close()
        self._server.close()
        return accepted


def connect_to(endpoint: np.ndarray, group_rank: int) -> socket.socket:
    """A connection from the member with `group_rank` to the one whose endpoint this is."""
    numbers = bytes(endpoint.astype(np.uint8))
    address, token, port = socket.inet_ntoa(numbers[:4]), numbers[4:-2], int.from_bytes(numbers[-2:], "big")
    peer = socket.create_connection((address, port), timeout=CPU_WAIT_S)
    peer.sendall(token + group_rank.to_bytes(2, "big"))
    return peer


def _read(peer: socket.socket, count: int) -> bytes:
    """Reads `count` bytes, or fewer if the other side ends or stays silent."""
    data = b""
    with suppress(OSError):
        while len(data) < count and (more := peer.recv(count - len(data))):
            data += more
    return data
