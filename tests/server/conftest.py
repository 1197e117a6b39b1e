"""Servers in this process, on the built-in model."""

import httpx
import pytest
from live_server import serving


@pytest.fixture(scope="session")
def trained(cpu):
    """An engine on the built-in model."""
    from ms_omni import OmniEngine

    with OmniEngine.from_pretrained() as engine:
        yield engine


@pytest.fixture(scope="session")
def server(trained):
    """The base URL of a server on the built-in model, by which it goes as ms-omni."""
    with serving(trained) as url:
        yield url


@pytest.fixture
def http(server):
    """A client of it that is no OpenAI client: for what those would not send."""
    with httpx.Client(base_url=server, timeout=300) as client:
        yield client
