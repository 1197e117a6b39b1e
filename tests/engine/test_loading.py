"""In which order an engine comes to its device."""

import pytest

from ms_omni import loading
from ms_omni.checkpoint.config import read_config
from ms_omni.config import EngineConfig
from ms_omni.parallel.world import World


class Started(Exception):
    pass


def test_a_card_is_started_when_the_job_has_met_and_before_anything_is_computed(tiny_dir, monkeypatch):
    done = []

    def start_card():
        raise Started

    def join_job(*arguments):
        done.append("the job has met")
        return World(), "none"

    monkeypatch.setattr("ms_omni.kernels.setup_device", lambda device: "Ascend")
    monkeypatch.setattr("ms_omni.runtime.card.limit_pool", lambda: done.append("the pool is limited"))
    monkeypatch.setattr("ms_omni.runtime.card.start_card", start_card)
    monkeypatch.setattr(loading, "join_job", join_job)
    with pytest.raises(Started):
        loading.load(EngineConfig(model=str(tiny_dir)), tiny_dir, read_config(tiny_dir), {}, None)
    assert done == ["the pool is limited", "the job has met"]
