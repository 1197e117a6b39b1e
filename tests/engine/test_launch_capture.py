"""What cannot be captured is said before anything is loaded."""

import pytest

from ms_omni.config import EngineConfig
from ms_omni.errors import OmniError
from ms_omni.runtime import card


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"launch_capture": "both"}, "--launch-capture both: expected one of none, thinker, talker"),
        ({"launch_capture": "talker", "engine": "mindone"}, "--engine mindone has no captured launches"),
        ({"launch_capture": "talker", "device": "CPU"}, "--device CPU has no captured launches"),
        ({"launch_capture": "talker", "with_talker": False}, "the Talker is not loaded"),
    ],
)
def test_settings(settings, said):
    with pytest.raises(OmniError, match=said):
        EngineConfig(**settings)


@pytest.mark.parametrize(
    ("device", "parallel", "cores", "said"),
    [
        ("CPU", "none", 32, "--device CPU"),
        ("Ascend", "zero3", 32, "use --parallel none, ep or tp"),
        ("Ascend", "none", 15, "this process has 15 cores of the host, 16 are needed"),
    ],
)
def test_machines(monkeypatch, device, parallel, cores, said):
    monkeypatch.setattr(card, "_cores", lambda: cores)
    with pytest.raises(OmniError, match=f"--launch-capture thinker: .*{said}"):
        card.start_capture("thinker", device, parallel)


def test_once_a_process(monkeypatch):
    monkeypatch.setattr(card, "_cores", lambda: 16)
    monkeypatch.setattr(card, "_captures", ["talker"])
    with pytest.raises(OmniError, match="has captured its talker"):
        card.start_capture("thinker", "Ascend", "none")


def test_a_checkpoint_without_a_talker(tmp_path, cpu):
    from ms_omni.checkpoint.tiny import write_tiny
    from ms_omni.parallel.world import World
    from ms_omni.runtime.fused_executor import FusedExecutor

    silent = write_tiny(tmp_path / "thinking", variant="thinking")
    options = {"dtype": None, "attn_implementation": "eager", "with_talker": True, "parallel": "none", "world": World()}
    with pytest.raises(OmniError, match="--launch-capture talker: the checkpoint .* has no Talker; use thinker"):
        FusedExecutor(silent, "CPU", launch_capture="talker", **options)
