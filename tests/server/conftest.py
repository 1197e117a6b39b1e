"""Servers in this process, on the built-in model."""

import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from ms_omni.server.app import make_app
from ms_omni.server.service import ServerSettings, Service


@contextmanager
def serving(engine, **settings):
    """The base URL of a server over this engine (None: not loaded yet), without /v1."""
    service = Service(ServerSettings(**{"model_names": ("ms-omni",), **settings}))
    config = uvicorn.Config(make_app(service), access_log=False, log_level="error", lifespan="off")
    http = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    if engine is not None:
        service.open(engine)
    while not http.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        http.should_exit = True
        thread.join(10)
        listener.close()


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
