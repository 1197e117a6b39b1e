"""How a process joins its job, and what computes with it there."""

import pytest
from fake_executor import FakeExecutor, decode
from group import pair_of_sockets

from ms_omni import OmniError
from ms_omni.config import EngineConfig
from ms_omni.distributed import join_job, make_loop
from ms_omni.parallel.message_links import MessageLink
from ms_omni.parallel.world import World
from ms_omni.planning.precision import Precision

FLOAT32 = Precision("float32", device="CPU")


def test_sharing_needs_a_job(monkeypatch):
    monkeypatch.delenv("MS_ROLE", raising=False)
    with pytest.raises(OmniError, match="--parallel ep: this is one process; start .* ms-omni launch --cards N"):
        join_job(EngineConfig(model="m", parallel="ep"), FLOAT32, None)
    for mode in ("none", "auto"):
        assert join_job(EngineConfig(model="m", parallel=mode), FLOAT32, None) == (World(), "none")


@pytest.mark.parametrize(
    ("settings", "cards", "mode"),
    [({"parallel": "none"}, 2, "none"), ({"parallel": "auto"}, 1, "none"), ({"parallel": "tp"}, 2, "tp"),
     ({"parallel": "auto", "engine": "mindone"}, 2, "zero3")],
)  # fmt: skip
def test_a_job_is_joined(monkeypatch, settings, cards, mode):
    from ms_omni import distributed

    started = []

    def start(device, group_size):
        started.append(group_size)
        return World(rank=1, world_size=2, group_size=group_size or cards, ops="theirs")

    monkeypatch.setattr(distributed, "is_under_msrun", lambda: True)
    monkeypatch.setattr(distributed, "start_world", start)
    world, found = join_job(EngineConfig(model="m", **settings), FLOAT32, None)
    assert found == mode and started == [1 if settings["parallel"] == "none" else None]
    assert world.group_size == (1 if mode == "none" else cards)


def test_auto_takes_what_the_plan_takes(monkeypatch, tiny_dir):
    from ms_omni import distributed
    from ms_omni.checkpoint.config import read_config

    monkeypatch.setattr(distributed, "is_under_msrun", lambda: True)
    monkeypatch.setattr(distributed, "start_world", lambda device, group_size: World(0, 2, 2, device))
    from ms_omni.planning.choose import choose_parallel

    config = read_config(tiny_dir)
    _, mode = join_job(EngineConfig(model="m", parallel="auto"), FLOAT32, config)
    assert mode == choose_parallel(config, 2, "cpu", dtype="float32", speak=True)[0]
    asked = []
    monkeypatch.setattr(
        "ms_omni.planning.choose.choose_parallel", lambda *_, **named: asked.append(named) or ("ep", "")
    )
    join_job(EngineConfig(model="m", parallel="auto"), Precision("float32", "int8", "CPU"), config)
    assert asked[0]["quantize"] == "int8"


def test_the_first_process_of_a_group_leads(monkeypatch):
    from ms_omni import distributed
    from ms_omni.scheduling.follower import Follower
    from ms_omni.scheduling.loop import EngineLoop
    from ms_omni.scheduling.shared import LeaderLoop

    met = []
    monkeypatch.setattr(distributed, "connect_group", lambda world, tell: met.append(world.rank) or links[world.rank])
    one, other = pair_of_sockets()
    links = {2: [MessageLink(one, 3)], 3: [MessageLink(other, 2)]}
    loops = [make_loop(FakeExecutor(), decode, World(rank, 4, size)) for rank, size in ((0, 1), (2, 2), (3, 2))]
    assert [type(loop) for loop in loops] == [EngineLoop, LeaderLoop, Follower] and met == [2, 3]
    for loop in loops:
        loop.close()
