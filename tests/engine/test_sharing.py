"""What the ranks that share a model agree on, and how a process joins its job."""

from dataclasses import replace

import numpy as np
import pytest

from ms_omni import OmniError
from ms_omni.config import EngineConfig
from ms_omni.parallel.world import World
from ms_omni.sharing import agreed_seed, join_job, raise_together

RANK_1 = World(rank=1, world_size=2, group_size=2)


@pytest.fixture
def other_rank(cpu, monkeypatch):
    """other_rank(value): what the other rank brings to the next collectives."""
    import mindspore as ms

    from ms_omni.parallel import collectives

    def brings(value):
        monkeypatch.setattr(collectives, "all_reduce", lambda x, world: ms.Tensor(x.asnumpy() + value))
        monkeypatch.setattr(collectives, "broadcast", lambda x, world: ms.Tensor(np.full_like(x.asnumpy(), value)))

    return brings


def test_ranks_fail_together(other_rank):
    other_rank(0)
    raise_together(None, RANK_1)
    with pytest.raises(OmniError, match="mine"):
        raise_together(OmniError("mine"), RANK_1)
    other_rank(1)
    with pytest.raises(OmniError, match="another rank of this group"):
        raise_together(None, RANK_1)
    with pytest.raises(OmniError, match="mine"):
        raise_together(OmniError("mine"), RANK_1)
    raise_together(None, World())


def test_a_missing_seed_is_the_leaders(other_rank):
    other_rank(77)
    assert agreed_seed(None, RANK_1) == 77
    assert agreed_seed(5, RANK_1) == 5
    assert agreed_seed(None, World()) is None


def test_with_different_conversations_ranks_agree_on_nothing(monkeypatch):
    alone = replace(RANK_1, data_parallel=True)  # without operators: any collective would fail
    raise_together(None, alone)
    with pytest.raises(OmniError, match="mine"):
        raise_together(OmniError("mine"), alone)
    assert agreed_seed(None, alone) is None


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
    assert found == mode and not world.data_parallel and started == [1 if settings["parallel"] == "none" else None]
    assert world.group_size == (1 if mode == "none" else cards)


@pytest.fixture
def job_of_two(monkeypatch):
    """job_of_two(group_size, chosen): what a process joins, and what auto chooses there."""
    from ms_omni import sharing

    def make(group_size, chosen):
        monkeypatch.setattr(sharing, "is_under_msrun", lambda: True)
        monkeypatch.setattr(sharing, "start_world", lambda device, _: World(0, 2, group_size, device))
        monkeypatch.setattr(sharing, "_choose", lambda *_: (chosen, "it is"))

    return make


@pytest.mark.parametrize(
    ("group_size", "parallel", "chosen", "is_parallel"),
    [(2, "zero3", None, True), (2, "auto", "zero3", True), (1, "zero3", None, False), (1, "auto", "none", False)],
)
def test_a_group_may_answer_different_conversations(job_of_two, group_size, parallel, chosen, is_parallel):
    job_of_two(group_size, chosen)
    config = EngineConfig(model="m", parallel=parallel, data_parallel=True)
    assert join_job(config, "CPU", "float32", None)[0].data_parallel == is_parallel


def test_different_conversations_need_zero3(job_of_two):
    job_of_two(2, "ep")
    with pytest.raises(OmniError, match="--data-parallel: only --parallel zero3 .* --parallel auto chose ep"):
        join_job(EngineConfig(model="m", parallel="auto", data_parallel=True), "CPU", "float32", None)
    for parallel in ("none", "ep", "tp"):
        with pytest.raises(OmniError, match=f"--data-parallel with --parallel {parallel}: expected .*zero3"):
            EngineConfig(model="m", parallel=parallel, data_parallel=True)
    with pytest.raises(OmniError, match="--data-parallel: --engine mindone .* use fused"):
        EngineConfig(model="m", parallel="zero3", engine="mindone", data_parallel=True)


def test_auto_takes_what_the_plan_takes(monkeypatch, tiny_dir):
    from ms_omni import sharing
    from ms_omni.checkpoint.config import read_config

    monkeypatch.setattr(sharing, "is_under_msrun", lambda: True)
    monkeypatch.setattr(sharing, "start_world", lambda device, group_size: World(0, 2, 2, device))
    from ms_omni.planning.choose import choose_parallel

    config = read_config(tiny_dir)
    _, mode = join_job(EngineConfig(model="m", parallel="auto"), "CPU", "float32", config)
    assert mode == choose_parallel(config, 2, "cpu", dtype="float32", speak=True)[0]
