"""Who is who in a job: groups, replicas, leaders, and what the environment says, without starting anything."""

import pytest

from ms_omni.errors import OmniError
from ms_omni.parallel.collectives import connect
from ms_omni.parallel.start import start_world
from ms_omni.parallel.world import (
    RANK_VARIABLES,
    World,
    cpu_transport,
    is_scheduler,
    is_under_msrun,
    rank_before_start,
)


@pytest.fixture(autouse=True)
def plain_shell(monkeypatch):
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_eight_ranks_in_groups_of_two():
    worlds = [World(rank, 8, 2) for rank in range(8)]
    assert [w.group_rank for w in worlds] == [0, 1, 0, 1, 0, 1, 0, 1]
    assert [w.replica for w in worlds] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {w.num_replicas for w in worlds} == {4}
    assert [w.is_leader for w in worlds] == [True, False] * 4
    assert [w.is_writer for w in worlds] == [True] + [False] * 7
    assert worlds[5].group_ranks == (4, 5)
    assert len({w.group for w in worlds}) == 4 and worlds[4].group == worlds[5].group


def test_a_group_that_is_the_world_needs_no_communicator_of_its_own():
    world = World(3, 4, 4)
    assert (world.group, world.replica, world.num_replicas, world.group_ranks) == (None, 0, 1, (0, 1, 2, 3))


def test_groups_of_one_are_replicas():
    assert [World(rank, 3, 1).replica for rank in range(3)] == [0, 1, 2]
    assert all(World(rank, 3, 1).is_leader for rank in range(3))


@pytest.mark.parametrize("group_size", [0, 4, 12])
def test_group_size_must_divide_the_world(group_size):
    assert World(0, 6, 3).num_replicas == 2
    message = rf"--group-size {group_size}: does not divide the 6 processes of the job; allowed: 1, 2, 3, 6"
    with pytest.raises(OmniError, match=message):
        World(0, 6, group_size)


def test_alone_without_msrun():
    assert not is_under_msrun()
    world = start_world("CPU")
    assert world == World() and world.is_writer and world.is_leader and world.ops is None
    with pytest.raises(OmniError, match="--group-size 2: does not divide the 1 process"):
        start_world("CPU", group_size=2)


def test_what_msrun_says(monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    monkeypatch.setenv("MS_NODE_ID", "5")
    assert is_under_msrun() and not is_scheduler() and rank_before_start() == 5
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    assert is_under_msrun() and is_scheduler() and rank_before_start() is None


def test_transport_must_be_known(monkeypatch):
    assert cpu_transport() == "mccl"
    monkeypatch.setenv("MS_OMNI_CPU_TRANSPORT", "pigeons")
    with pytest.raises(OmniError, match="MS_OMNI_CPU_TRANSPORT=pigeons: expected one of mccl, sockets"):
        cpu_transport()


class Recorded:
    """In the place of an operator: what it was made with."""

    def __init__(self, *args):
        self.args = args


@pytest.fixture
def hccl(monkeypatch):
    """Groups and operators as they would be made on cards."""
    import mindspore.communication
    from mindspore import ops

    groups = {}
    monkeypatch.setattr(mindspore.communication, "create_group", lambda name, ranks: groups.update({name: ranks}))
    for name in ("AllReduce", "AllGather", "AlltoAll"):
        monkeypatch.setattr(ops, name, Recorded)
    return groups


@pytest.mark.parametrize(("rank", "size", "groups"), [(3, 2, {"ms_omni_1": [2, 3]}), (3, 4, {})])
def test_operators_are_those_of_the_group(hccl, rank, size, groups):
    made = connect(World(rank, 4, size, "Ascend")).ops
    assert hccl == groups
    name = f"ms_omni_{rank // size}" if groups else "hccl_world_group"
    assert made.gather.args == (name,) and made.broadcasts == ()
    assert made.exchange.args == (size, 0, 0, name) and made.reduce.args == ("sum", name)


def test_groups_of_one_get_no_communicator(hccl):
    assert connect(World(2, 4, 1, "Ascend")).ops is None and connect(World(2, 4, 1, "CPU")).ops is None
    assert hccl == {}
