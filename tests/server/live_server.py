"""A server in this process."""

import socket
import threading
import time
from contextlib import contextmanager

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
