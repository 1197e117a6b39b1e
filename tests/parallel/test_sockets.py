"""The CPU's own links, between threads: values, order of summation, sizes beyond every buffer, a member that ends."""

import threading

import numpy as np
import pytest

from ms_omni.parallel.sockets import Listener


def on_members(size, function):
    """function(links) on `size` connected members at once -> their results, by group rank."""
    listeners = [Listener("127.0.0.1") for _ in range(size)]
    endpoints = [listener.endpoint for listener in listeners]
    results = [None] * size

    def member(rank):
        try:
            results[rank] = function(listeners[rank].connect(rank, endpoints))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=member, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert not any(thread.is_alive() for thread in threads)
    return results


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.int64])
def test_values(dtype):
    def program(links):
        x = np.full((2, 3), links.group_rank + 1, dtype)
        return links.all_gather(x), links.all_reduce(x), links.broadcast(x, 2)

    for gathered, total, sent in on_members(3, program):
        assert gathered.dtype == total.dtype == sent.dtype == dtype
        np.testing.assert_array_equal(gathered[:, 0], [1, 1, 2, 2, 3, 3])
        np.testing.assert_array_equal(total, np.full((2, 3), 6))
        np.testing.assert_array_equal(sent, np.full((2, 3), 3))


@pytest.mark.parametrize("rows", [1, 3])
def test_every_member_gets_the_rows_that_are_for_it(rows):
    def program(links):
        x = np.array([[10 * links.group_rank + other] for other in range(3) for _ in range(rows)], np.float32)
        return links.all_to_all(x)

    for rank, received in enumerate(on_members(3, program)):
        np.testing.assert_array_equal(received[:, 0], np.repeat([rank, 10 + rank, 20 + rank], rows))


def test_sums_have_equal_bits_everywhere():
    def program(links):
        return links.all_reduce(np.random.default_rng(links.group_rank).standard_normal(1000).astype(np.float32))

    first, *others = on_members(4, program)
    assert all(np.array_equal(first, other) for other in others)


def test_more_than_the_buffers_hold_and_nothing_at_all():
    def program(links):
        x = np.arange(4_000_000, dtype=np.float32) + links.group_rank
        return links.all_gather(x)[4_000_000], links.all_gather(np.zeros((0, 4), np.float32)).shape

    assert on_members(2, program) == [(1.0, (0, 4))] * 2


def test_a_member_that_ends_is_noticed():
    def program(links):
        if links.group_rank == 1:
            links.peers[0].close()
            return "ended"
        return links.all_reduce(np.ones(3))

    failed, ended = on_members(2, program)
    assert ended == "ended" and isinstance(failed, ConnectionError)
