"""What every test may share: one tiny checkpoint and one engine on it, loaded once a session."""

import os
import signal

# Two busy cores: MindSpore's thread pools would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A base_model's background jobs ignore Ctrl-C, and with them the commands that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest


@pytest.fixture(scope="session")
def cpu():
    """MindSpore on the CPU with the missing kernels filled in, errors surfacing where they happen."""
    from ms_omni.kernels import setup_device

    assert setup_device("CPU") == "CPU"


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory):
    from ms_omni.checkpoint.tiny import write_tiny

    return write_tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def tiny_rounded_dir(tiny_dir, tmp_path_factory):
    """The tiny checkpoint with the float values that its weights in 8 bits stand for."""
    from int8_values import write_rounded

    return write_rounded(tiny_dir, tmp_path_factory.mktemp("checkpoints") / "tiny_rounded")


@pytest.fixture(scope="session")
def fused(tiny_dir, cpu):
    """The default engine, with compiled decoding."""
    from ms_omni import OmniEngine

    return OmniEngine.from_pretrained(tiny_dir, engine="fused", device="CPU")


@pytest.fixture(scope="session")
def baseline(tiny_dir, cpu):
    """mindone's own generate, on a model that has every part of mindone's."""
    from ms_omni import OmniEngine

    return OmniEngine.from_pretrained(tiny_dir, engine="mindone", device="CPU")


@pytest.fixture(scope="session")
def engine(baseline):
    return baseline
