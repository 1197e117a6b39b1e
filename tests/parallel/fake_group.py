"""A group of ranks inside one process: every rank's program runs in turn, up to the next collective that waits for the
others, and again from its beginning with what all of them brought."""

import numpy as np

from ms_omni.parallel.collectives import GroupOps
from ms_omni.parallel.world import World


class _Waits(Exception):
    """A rank has come to a collective whose result is not known yet."""


def run_as_group(size, program):
    """What `program(world)` returns on each rank of a group, and the collectives it called, (kind, shape) each. The
    program is run several times and must do the same each time."""
    results, calls = [], []
    while True:
        outputs, sent = [], []
        for rank in range(size):
            world, brought = _rank(rank, size, results)
            try:
                outputs.append(program(world))
            except _Waits:
                sent.append(brought)
        if not sent:
            return outputs, calls
        assert not outputs, "some ranks have ended while others wait for them"
        kinds = {(kind, x.shape) for kind, x in sent}
        assert len(kinds) == 1, f"the ranks called different collectives: {kinds}"
        calls.append(kinds.pop())
        results.append(_done(calls[-1][0], [x for _, x in sent]))


def _done(kind, parts):
    """What each rank gets."""
    size = len(parts)
    if kind == "all_gather":
        return [np.concatenate(parts)] * size
    if kind == "all_reduce":
        return [np.sum(parts, axis=0)] * size
    if kind == "all_to_all":
        return [np.concatenate([np.split(part, size)[rank] for part in parts]) for rank in range(size)]
    return [parts[int(kind.removeprefix("broadcast "))]] * size


def silent_world(rank, size):
    """A rank that may call no collective."""
    return _rank(rank, size, [])[0]


def _rank(rank, size, results):
    brought, count = [], iter(range(10**9))

    def collective(kind):
        def call(x):
            import mindspore as ms

            number = next(count)
            if number == len(results):
                brought.extend((kind, x.asnumpy().copy()))
                raise _Waits
            return ms.Tensor(results[number][rank])

        return call

    broadcasts = tuple(collective(f"broadcast {root}") for root in range(size))
    reduce, gather, exchange = (collective(kind) for kind in ("all_reduce", "all_gather", "all_to_all"))
    ops = GroupOps(reduce, gather, broadcasts, widens=False, sums_integers=True, exchange=exchange)
    return World(rank, size, size, ops=ops), brought
