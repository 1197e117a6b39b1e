"""What stands before the ranks of a launched server: it hands on, and answers in their place once they are gone."""

import io
import json
import socket
import threading
from contextlib import contextmanager

import pytest
from serving import HELLO, StandIn, until, web

from ms_omni.outputs import TextDelta
from ms_omni.server import bodies
from ms_omni.server.app import make_app
from ms_omni.server.listening import listening_socket, unix_socket
from ms_omni.server.proxy import Proxy
from ms_omni.server.run import HttpThread
from ms_omni.server.service import ServerSettings, Service

CHAT = "/v1/chat/completions"


@contextmanager
def proxying(path, **settings):
    """The base URL of a proxy before the Unix socket at this path."""
    listener = listening_socket("127.0.0.1", 0)
    proxy = Proxy(listener, path, ServerSettings(model_names=("stand-in",), **settings))
    proxy.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        proxy.close()


@pytest.fixture
def ranks(tmp_path):
    """(engine, path): a server with a stand-in for the engine at a Unix socket."""
    service = Service(ServerSettings(model_names=("stand-in",)))
    service.open(StandIn())
    http = HttpThread(make_app(service), unix_socket(str(tmp_path / "ranks")))
    http.start()
    yield service.engine, tmp_path / "ranks"
    http.close()


@pytest.fixture
def url(ranks):
    with proxying(ranks[1]) as url:
        until(lambda: web.get(f"{url}/health").status_code == 200)
        yield url


def test_requests_and_answers_are_handed_on(url, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    answer = web.post(f"{url}{CHAT}?a=b%20c", json={"messages": HELLO}, headers={"X-Request-Id": "mine"})
    assert answer.json()["choices"][0]["message"]["content"] == "Hi there." and answer.headers["x-request-id"] == "mine"
    assert web.get(f"{url}/v1/models/stand-in").json()["id"] == "stand-in"
    bad = web.post(f"{url}{CHAT}", content=b"{", headers={"Content-Type": "application/json"})
    assert bad.status_code == 400 and bad.json()["error"]["code"] == "invalid_json"
    assert web.put(f"{url}{CHAT}").status_code == 405 and web.get(f"{url}/none").status_code == 404
    assert "ms_omni_engine_up 1.0" in web.get(f"{url}/metrics").text
    until(lambda: '"client": "127.0.0.1"' in log.getvalue())


def test_events_come_as_they_are_made(url, ranks):
    engine = ranks[0]
    engine._answers = False
    threading.Thread(target=lambda: engine.wait()[0][0].put(TextDelta("Hi", (1,)))).start()
    with web.stream("POST", f"{url}{CHAT}", json={"messages": HELLO, "stream": True}) as response:
        lines = response.iter_lines()
        assert any('"content":"Hi"' in line for line in iter(lambda: next(lines), None))
        engine.answer(engine.asked[0][0])
        assert "[DONE]" in "".join(lines)


@pytest.mark.parametrize("streams", [False, True])
def test_a_client_that_goes_away_is_gone_for_the_ranks(url, ranks, streams):
    engine = ranks[0]
    engine._answers = False
    body = json.dumps({"messages": HELLO, "stream": streams}).encode()
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        client.sendall(head % (CHAT.encode(), len(body)) + body)
        ((handle, _, _),) = engine.wait()
        if streams:
            handle.put(TextDelta("Hi", (1,)))
            assert b"200 OK" in client.recv(100)
        assert not handle.done
    until(lambda: handle.done)


def test_without_ranks(tmp_path):
    with proxying(tmp_path / "none") as url:
        for method, path in (("GET", "/health"), ("POST", CHAT)):
            answer = web.request(method, f"{url}{path}")
            assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
            assert answer.json()["error"]["code"] == "engine_stopped"


@pytest.fixture
def dying(tmp_path):
    """dying(bytes) -> the path of a socket that takes one request, answers these bytes, and is gone."""

    def die(answer):
        path = tmp_path / "dying"
        listener = unix_socket(str(path))

        def serve():
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):  # what is not read would make the end a reset, which may overtake the answer
                pass
            connection.close()
            listener.close()

        threading.Thread(target=serve, daemon=True).start()
        return path

    return die


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"])
def test_ranks_that_end_before_the_answer(dying, answer):
    with proxying(dying(answer)) as url:
        found = web.post(f"{url}{CHAT}", json={"messages": HELLO})
        assert found.status_code == 503 and found.json()["error"]["code"] == "engine_stopped"


def test_ranks_that_end_within_a_stream(dying):
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    with proxying(dying(begun + b"c\r\ndata: {}\n\n\n\r\n")) as url:
        found = web.post(f"{url}{CHAT}", json={"messages": HELLO, "stream": True})
        assert found.status_code == 200 and found.text.startswith("data: {}\n\n")
        assert '"code":"engine_stopped"' in found.text and found.text.endswith("data: [DONE]\n\n")


def test_keys_and_sizes_are_checked_before_anything_is_read(ranks):
    engine, path = ranks
    with proxying(path, api_keys=("secret",), max_body_bytes=1000) as url:
        large, headers = b" " * 1001, {"Content-Type": "application/json"}
        assert web.post(f"{url}{CHAT}", content=large, headers=headers).status_code == 401
        headers["Authorization"] = "Bearer secret"
        assert web.post(f"{url}{CHAT}", content=large, headers=headers).status_code == 413
        assert web.post(f"{url}{CHAT}", json={"messages": HELLO}, headers=headers).status_code == 200
        assert len(engine.asked) == 1


def send_slowly(url, count):
    """Connections that have sent a part of their body."""
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    clients = [socket.create_connection(address) for _ in range(count)]
    for client in clients:
        client.sendall(head % CHAT.encode() + b" " * 999)
    return clients


def test_bodies_that_do_not_end(ranks, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_S", 0.2)
    with proxying(ranks[1], max_body_bytes=1000) as url:
        (client,) = send_slowly(url, 1)
        with client:
            assert b"408 " in client.recv(1000)


def test_too_many_bodies_at_once(ranks):
    with proxying(ranks[1], max_body_bytes=1000) as url:
        clients = send_slowly(url, bodies.BODIES_AT_ONCE)

        def more():
            return web.post(f"{url}{CHAT}", content=b" " * 100, headers={"Content-Type": "application/json"})

        until(lambda: more().status_code == 429)  # once the server has read what was sent
        assert more().headers["retry-after"] == "5"
        for client in clients:
            client.close()
        until(lambda: web.post(f"{url}{CHAT}", json={"messages": HELLO}).status_code == 200)
