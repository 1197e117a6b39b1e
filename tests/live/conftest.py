"""A processor of a checkpoint's files."""

import pytest


@pytest.fixture(scope="session")
def load_processor_of():
    """load_processor_of(checkpoint) -> InputProcessor"""
    from ms_omni.inputs.processor import InputProcessor
    from ms_omni.kernels import setup_device

    setup_device("CPU")
    return InputProcessor.from_pretrained
