"""Media made once, and a processor of the tiny checkpoint's files."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A directory with everything of made_media.write_all."""
    from made_media import write_all

    return write_all(tmp_path_factory.mktemp("made") / "made")


@pytest.fixture(scope="session")
def processor_dir(tmp_path_factory):
    """The processor's part of a tiny checkpoint."""
    from ms_omni.checkpoint.tiny_tokenizer import write_processor

    directory = tmp_path_factory.mktemp("processor")
    write_processor(directory)
    return directory


@pytest.fixture(scope="session")
def load_processor(processor_dir):
    """load_processor(**pixels) -> InputProcessor"""
    from ms_omni.inputs.processor import InputProcessor
    from ms_omni.kernels import setup_device

    setup_device("CPU")
    return lambda **pixels: InputProcessor.from_pretrained(processor_dir, **pixels)
