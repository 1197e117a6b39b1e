"""docker/nginx.conf in a real nginx, before two small servers that stand in for `ms-omni serve`."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ms_omni.parallel.msrun import free_port

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CHAT = "/v1/chat/completions"
WAIT_S = 60

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt install nginx-light)")


def free_ports(count):
    ports = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def wait_for(port):
    limit = time.monotonic() + WAIT_S
    while time.monotonic() < limit:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nothing listens on port {port}")


def send(port, do, size=0):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.request("POST", CHAT, json.dumps({"do": do, "padding": "x" * size}))
    return connection


def ask(port, do="answer", size=0):
    """(status, document, headers)."""
    return read(send(port, do, size))


def read(connection):
    response = connection.getresponse()
    return response.status, json.loads(response.read()), response.headers


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.request("GET", path)
    return connection.getresponse()


def seen(port):
    return json.loads(get(port, "/seen").read())


def until(what):
    limit = time.monotonic() + WAIT_S
    while not (found := what()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return found


def release(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.request("POST", "/release", "")
    connection.getresponse().read()


class Stack:
    """nginx and its servers; `port` is nginx's. Servers are started by the test, and known by their port."""

    def __init__(self, directory):
        self.port, *self.servers = free_ports(3)
        self.processes = {}
        text = (ROOT / "docker/nginx.conf").read_text()
        assert re.findall(r"127\.0\.0\.1:(\d+)", text) == ["8911", "8912", "8901"]
        for given, own in zip(("8911", "8912", "8901"), (*self.servers, self.port), strict=True):
            text = text.replace(f"127.0.0.1:{given}", f"127.0.0.1:{own}")
        (directory / "ms_omni.conf").write_text(text)
        # a worker may not be allowed to enter pytest's directories as another user
        paths = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy"))
        paths += "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("fastcgi", "uwsgi", "scgi"))
        (directory / "nginx.conf").write_text(
            f"user root; daemon off; worker_processes 2; pid {directory}/pid; error_log stderr;\n"
            f"events {{}} http {{ access_log off; {paths} include {directory}/ms_omni.conf; }}\n"
        )
        self.nginx = subprocess.Popen([NGINX, "-p", directory, "-c", directory / "nginx.conf"])
        wait_for(self.port)

    def start(self, *modes):
        """Servers in these modes."""
        for port, mode in zip(self.servers, modes, strict=False):
            line = [sys.executable, Path(__file__).with_name("stand_in_server.py"), str(port), mode]
            self.processes[port] = subprocess.Popen(line)
        for port in self.processes:
            wait_for(port)
        return self

    def kill(self, port):
        self.processes[port].kill()
        self.processes[port].wait()

    def other(self, port):
        return next(each for each in self.servers if each != port)

    def close(self):
        self.nginx.terminate()
        for process in self.processes.values():
            process.kill()
        for process in (self.nginx, *self.processes.values()):
            process.wait()


@pytest.fixture
def stack(tmp_path):
    stack = Stack(tmp_path)
    yield stack
    stack.close()


@pytest.mark.parametrize("form", ["stream", "stream until closed"])
def test_events_come_as_they_are_made(stack, form):
    stack.start("answering", "answering")
    response = send(stack.port, form).getresponse()
    first = response.readline()
    port = int(first.split()[-1])
    assert first == b"data: first %d\n" % port
    release(port)  # not before the first event was read
    assert response.read() == b"\ndata: last %d\n\n" % port


def test_a_request_goes_to_the_server_with_the_fewest(stack):
    stack.start("answering", "answering")
    held = send(stack.port, "watch").getresponse()
    port = int(held.readline().split()[-1])
    assert {ask(stack.port)[1]["port"] for _ in range(6)} == {stack.other(port)}
    held.close()


def test_a_client_that_goes_away_ends_its_request_at_the_server(stack):
    stack.start("answering", "answering")
    connection = send(stack.port, "watch")
    response = connection.getresponse()
    port = int(response.readline().split()[-1])
    response.close()
    connection.close()
    until(lambda: seen(port)["left"] == 1)


def test_a_dead_server_costs_no_request(stack):
    stack.start("answering", "answering")
    stack.kill(stack.servers[0])
    answers = [ask(stack.port) for _ in range(20)]
    assert [(status, document["port"]) for status, document, _ in answers] == [(200, stack.servers[1])] * 20


def test_a_request_without_an_answer_is_asked_again_when_its_server_dies(stack):
    stack.start("answering", "answering")
    connection = send(stack.port, "wait", size=3_000_000)  # more than nginx keeps in memory
    port = until(lambda: next((each for each in stack.servers if seen(each)["requests"]), None))
    size = seen(port)["requests"][0][1]
    stack.kill(port)
    release(stack.other(port))
    assert read(connection)[:2] == (200, {"port": stack.other(port)})
    assert seen(stack.other(port))["requests"] == [["wait", size]]


def test_a_stream_that_has_begun_is_not_asked_again(stack):
    stack.start("answering", "answering")
    response = send(stack.port, "stream").getresponse()
    port = int(response.readline().split()[-1])
    stack.kill(port)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    assert seen(stack.other(port))["requests"] == []


def test_a_server_that_loads_is_left_alone(stack):
    stack.start("loading", "answering")
    answers = [ask(stack.port) for _ in range(10)]
    assert [(status, document["port"]) for status, document, _ in answers] == [(200, stack.servers[1])] * 10
    assert len(seen(stack.servers[0])["requests"]) == 1


def test_a_full_queue_is_the_clients_to_hear_of(stack):
    stack.start("full", "full")
    for _ in range(4):
        status, document, headers = ask(stack.port)
        assert (status, document["error"]["message"], headers["Retry-After"]) == (429, "full", "7")
    assert sum(len(seen(port)["requests"]) for port in stack.servers) == 4


def test_no_server_at_all_is_an_error_in_openais_form(stack):
    for _ in range(3):
        status, document, headers = ask(stack.port)
        assert (status, document["error"]["code"], headers["Retry-After"]) == (503, "unavailable", "10")
        assert headers["Content-Type"] == "application/json"


def test_a_body_that_is_too_large_is_refused_before_it_is_read(stack):
    stack.start("answering", "answering")
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=WAIT_S)
    connection.putrequest("POST", CHAT)
    connection.putheader("Content-Length", str(257 << 20))
    connection.endheaders()
    status, document, _ = read(connection)
    assert (status, document["error"]["code"]) == (413, "request_too_large")


def test_metrics_of_one_server_do_not_pass_for_all(stack):
    stack.start("answering", "answering")
    assert get(stack.port, "/metrics").status == 404
    assert get(stack.port, "/health").status == 200
