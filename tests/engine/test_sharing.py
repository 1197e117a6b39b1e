"""What the ranks that share a model agree on, and how a process joins its job."""

import numpy as np
import pytest

from ms_omni import OmniError
from ms_omni.config import EngineConfig
from ms_omni.parallel.world import World
from ms_omni.sharing import agreed_seed, join_job

RANK_1 = World(rank=1, world_size=2, group_size=2)


@pytest.fixture
def other_rank(cpu, monkeypatch):
    """other_rank(value): what the leader brings to the next broadcasts."""
    import mindspore as ms

    from ms_omni.parallel import collectives

    def brings(value):
        monkeypatch.setattr(collectives, "broadcast", lambda x, world: ms.Tensor(np.full_like(x.asnumpy(), value)))

    return brings


def test_a_missing_seed_is_the_leaders(other_rank):
    other_rank(77)
    assert agreed_seed(None, RANK_1) == 77
    assert agreed_seed(5, RANK_1) == 5
    assert agreed_seed(None, World()) is None


def test_sharing_needs_a_job(monkeypatch):
    monkeypatch.delenv("MS_ROLE", raising=False)
    with pytest.raises(OmniError, match="--parallel ep: this is one process; start .* ms-omni launch --cards N"):
        join_job(EngineConfig(model="m", parallel="ep"), "CPU", "float32", None)
    for mode in ("none", "auto"):
        assert join_job(EngineConfig(model="m", parallel=mode), "CPU", "float32", None) == (World(), "none")


@pytest.mark.parametrize(
    ("settings", "cards", "mode"),
    [({"parallel": "none"}, 2, "none"), ({"parallel": "auto"}, 1, "none"), ({"parallel": "tp"}, 2, "tp"),
     ({"parallel": "auto", "engine": "mindone"}, 2, "zero3")],
)  # fmt: skip
def test_a_job_is_joined(monkeypatch, settings, cards, mode):
    from ms_omni import sharing

    started = []

    def start(device, group_size):
        started.append(group_size)
        return World(rank=1, world_size=2, group_size=group_size or cards, ops="theirs")

    monkeypatch.setattr(sharing, "is_under_msrun", lambda: True)
    monkeypatch.setattr(sharing, "start_world", start)
    world, found = join_job(EngineConfig(model="m", **settings), "CPU", "float32", None)
    assert found == mode and started == [1 if settings["parallel"] == "none" else None]
    assert world.group_size == (1 if mode == "none" else cards)


def test_auto_takes_what_the_plan_takes(monkeypatch, tiny_dir):
    from ms_omni import sharing
    from ms_omni.checkpoint.config import read_config

    monkeypatch.setattr(sharing, "is_under_msrun", lambda: True)
    monkeypatch.setattr(sharing, "start_world", lambda device, group_size: World(0, 2, 2, device))
    from ms_omni.planning.choose import choose_parallel

    config = read_config(tiny_dir)
    _, mode = join_job(EngineConfig(model="m", parallel="auto"), "CPU", "float32", config)
    assert mode == choose_parallel(config, 2, "cpu", dtype="float32", speak=True)[0]
