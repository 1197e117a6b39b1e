"""Messages between a leader and its followers: how they connect_group, large ones, several senders, an end."""

import socket
import threading

import numpy as np
import pytest

from ms_omni.parallel import message_links, sockets
from ms_omni.parallel.message_links import connect_group, send_to_all
from ms_omni.parallel.world import World


@pytest.fixture
def connected(monkeypatch):
    """connected(size, first, knock): every member's links, once `knock(endpoint)` has tried to be one of them."""
    monkeypatch.setattr(message_links, "own_address", lambda: "127.0.0.1")
    made = []

    def connected(size, first=0, knock=lambda endpoint: None):
        endpoints, told, links = [], threading.Event(), [None] * size

        def member(rank):
            def broadcast(endpoint):
                if rank == 0:
                    endpoints.append(endpoint)
                    knock(endpoint)
                    told.set()
                assert told.wait(60) and endpoints[0].shape == endpoint.shape and endpoint.dtype == np.int32
                return endpoints[0]

            links[rank] = connect_group(World(first + rank, first + size, size), broadcast)
            made.extend(links[rank])

        threads = [threading.Thread(target=member, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return links

    yield connected
    for link in made:
        link.close()


def test_everybody_knows_whom_it_talks_to(connected):
    leader, *followers = connected(4, first=4)
    assert [link.rank for link in leader] == [5, 6, 7] and [[link.rank for link in each] for each in followers] == 3 * [
        [4]
    ]
    for number, link in enumerate(leader):
        link.send(("to", number))
        followers[number][0].send(("from", number))
    for number, link in enumerate(leader):
        assert followers[number][0].receive() == ("to", number) and link.receive() == ("from", number)


def test_large_messages_of_several_threads_come_whole(connected):
    leader, *followers = connected(3)
    arrays = [np.full((1000, 1000), number, np.float32) for number in range(6)]
    threads = [threading.Thread(target=send_to_all, args=(leader, {"pixels": array})) for array in arrays]
    for thread in threads:
        thread.start()
    for (link,) in followers:
        came = [link.receive()["pixels"] for _ in arrays]
        assert sorted(array[0, 0] for array in came) == list(range(6))
        assert all((array == array[0, 0]).all() and array.shape == (1000, 1000) for array in came)
    for thread in threads:
        thread.join(60)


def test_an_end_comes_behind_what_was_sent(connected):
    (link,), (other,) = connected(2)
    link.send("last words")
    link.close()
    assert other.receive() == "last words"
    with pytest.raises(EOFError):
        other.receive()
    for each in (link, other):
        each.send("to nobody")
    with pytest.raises(EOFError):
        link.receive()


def test_an_end_in_the_middle_of_a_message(connected):
    (link,), (other,) = connected(2)
    link.send_bytes(b"\x80\x05\x95\xff\x00")
    link.close()
    with pytest.raises(EOFError):
        other.receive()


@pytest.mark.parametrize("greeting", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes(18)])
def test_a_stranger_is_sent_away(connected, monkeypatch, greeting):
    monkeypatch.setattr(sockets, "_GREETING_S", 0.2)
    strangers = []

    def knock(endpoint):
        port = int.from_bytes(bytes(endpoint[-2:].astype(np.uint8)), "big")
        strangers.append(socket.create_connection(("127.0.0.1", port)))
        strangers[-1].sendall(greeting)

    (link,), (other,) = connected(2, knock=knock)
    link.send("hello")
    assert other.receive() == "hello" and len(strangers) == 1
    assert strangers[0].recv(100) == b""
