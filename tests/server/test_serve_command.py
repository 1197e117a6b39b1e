"""`ms-omni serve` from its flags to its end."""

import os
import signal
import socket
import threading
import time

import httpx
import pytest
from process import served
from serving import HELLO, until, web

from ms_omni import MediaAccess
from ms_omni.cli.commands import command_parser
from ms_omni.cli.main import main
from ms_omni.cli.serve import check_serve
from ms_omni.cli.settings import merge_settings

CHAT = "/v1/chat/completions"


def checked(*words):
    return check_serve(merge_settings(command_parser("serve").parse_args(list(words)), "serve"))


def test_what_is_served_by_default(monkeypatch):
    monkeypatch.delenv("MS_OMNI_API_KEY", raising=False)
    job = checked()
    assert (job.host, job.port, job.uds) == ("127.0.0.1", 8901, None)
    assert job.server.model_names == ("built-in",) and job.server.api_keys == ()
    assert job.engine.with_talker and job.engine.warm_up and job.engine.parallel == "auto"
    assert job.engine.media_access == MediaAccess(restricted=True)


def test_flags_environment_and_file(monkeypatch, tmp_path):
    monkeypatch.setenv("MS_OMNI_API_KEY", "c, d,,")
    (tmp_path / "serve.yaml").write_text("port: 80\nserved_model_name: [x, y]\nmax_num_seqs: 3\ntalker: false\n")
    words = "--api-key a --api-key b --port 81 --grace-s 0 --max-queue 0 --max-body-mib 1 --timeout-s 5 --no-warm-up"
    job = checked("--config", str(tmp_path / "serve.yaml"), *words.split())
    assert job.port == 81 and job.server.model_names == ("x", "y") and job.server.api_keys == ("a", "b", "c", "d")
    assert job.engine.max_num_seqs == 3 and not job.engine.with_talker and not job.engine.warm_up
    assert (job.server.grace_s, job.server.max_queue, job.server.timeout_s) == (0, 0, 5)
    assert job.server.max_body_bytes == 1 << 20


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--port 70000", "--port 70000: expected 0 to 65535"),
        ("--port x", "--port: 'x' is not a whole number"),
        ("--grace-s -1", "--grace-s -1: expected 0 or more"),
        ("--timeout-s 0", "--timeout-s: 0 is too small"),
        ("--max-body-mib 0", "--max-body-mib: 0 is too small"),
        ("--api-key schlüssel", "--api-key: expected printable ASCII"),
        ("--model nowhere", "nowhere"),
        ("--min-pixels 9 --max-pixels 4", "--min-pixels 9 is above --max-pixels 4"),
        ("--prot 3", "unknown flag --prot, did you mean --port?"),
        ("--host 203.0.113.9", "--host 203.0.113.9 --port 8901: cannot listen there"),
        ("--host no.such.host.invalid", "cannot listen there"),
        ("--uds /no/such/directory/socket", "--uds /no/such/directory/socket: cannot listen there"),
        (f"--uds /tmp/{'x' * 200}", "cannot listen there"),
    ],
)
def test_wrong_flags_end_with_one_line(words, line, capsys):
    assert main(["serve", *words.split()]) == 2
    assert line in capsys.readouterr().err.splitlines()[-1]


def test_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot listen there (Address already in use)" in capsys.readouterr().err


def test_groups_are_refused(capsys):
    assert main(["launch", "--cards", "4", "--group-size", "2", "--", "serve"]) == 2
    assert "a server has one model, shared by all 4 cards" in capsys.readouterr().err


def ask(server, found, **more):
    body = {"messages": HELLO, "ignore_eos": True, "max_tokens": 4000, **more}
    try:
        answer = httpx.post(f"{server.url}{CHAT}", json=body, timeout=120)
        found.append((answer.status_code, answer.text))
    except httpx.TransportError as error:
        found.append((0, repr(error)))


def asking(server, count, **more):
    """Threads that ask, and what they get."""
    found = []
    threads = [threading.Thread(target=ask, args=(server, found), kwargs=more) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, found


@pytest.mark.slow
def test_sigterm_lets_answers_end_and_takes_no_new_ones():
    with served("--no-talker", "--grace-s", "60", "--quantize", "int8") as server:
        assert httpx_refused(server)
        server.wait_until_ready()
        until(lambda: any("ready: " in line and line.endswith("; decoder layers: int8\n") for line in server.lines))
        threads, found = asking(server, 2, max_tokens=300)
        until(lambda: server.metric("ms_omni_requests_in_flight") == 2)
        os.kill(server.process.pid, signal.SIGTERM)
        until(lambda: web.get(f"{server.url}/health").json() == {"status": "draining"})
        assert web.post(f"{server.url}{CHAT}", json={"messages": HELLO}).status_code == 503
        for thread in threads:
            thread.join()
        assert [status for status, _ in found] == [200, 200] and server.wait() == 0


def httpx_refused(server):
    """Whether a server that loads says so."""
    until(lambda: any("listening" in line for line in server.lines), 60)
    return web.get(f"{server.url}/health").json() == {"status": "loading"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_not_answered_in_time_gets_503(number):
    with served("--no-talker", "--no-warm-up", "--grace-s", "1") as server:
        server.wait_until_ready()
        threads, found = asking(server, 2, max_tokens=30_000)
        until(lambda: server.metric("ms_omni_requests_in_flight") == 2)
        start = time.monotonic()
        assert server.end(number) == 0 and time.monotonic() - start < 30
        for thread in threads:
            thread.join()
        assert [status for status, _ in found] == [503, 503]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_server_and_questions_get_503(rank, tmp_path):
    launch = ["launch", "--cards", "2", "--log-dir", str(tmp_path), "--"]
    with served("--no-talker", "--no-warm-up", "--parallel", "ep", launch=launch) as server:
        server.wait_until_ready()
        threads, found = asking(server, 2, max_tokens=30_000)
        more, streamed = asking(server, 1, max_tokens=30_000, stream=True)
        until(lambda: server.metric("ms_omni_requests_in_flight") == 3)
        until(lambda: server.metric("ms_omni_first_text_seconds_count") == 1, 120)
        start = time.monotonic()
        os.kill(int((tmp_path / f"{rank}.pid").read_text()), signal.SIGKILL)
        for thread in threads + more:
            thread.join(60)
        assert [status for status, _ in found] == [503, 503], found
        ((status, text),) = streamed
        assert status == 200 and '"code":"engine_stopped"' in text and text.endswith("data: [DONE]\n\n")
        assert server.wait() == 1 and time.monotonic() - start < 60
        assert f"rank {rank} was ended by signal 9" in server.lines[-1]


@pytest.mark.slow
def test_a_launched_server_ends_in_order(tmp_path):
    launch = ["launch", "--cards", "2", "--log-dir", str(tmp_path), "--"]
    with served("--no-talker", "--api-key", "secret", "--grace-s", "60", launch=launch) as server:
        server.wait_until_ready()
        assert web.get(f"{server.url}/v1/models").status_code == 401
        headers = {"Authorization": "Bearer secret", "X-Request-Id": "mine"}
        answer = httpx.post(f"{server.url}{CHAT}", json={"messages": HELLO}, headers=headers, timeout=120)
        assert answer.status_code == 200 and answer.headers["x-request-id"] == "mine"
        with httpx.stream(
            "POST", f"{server.url}{CHAT}", json={"messages": HELLO, "stream": True}, headers=headers, timeout=120
        ) as stream:
            assert sum(line.startswith("data: {") for line in stream.iter_lines()) > 3
        bad = web.post(f"{server.url}{CHAT}", json={"messages": HELLO, "n": 2}, headers=headers)
        assert bad.status_code == 400
        assert server.end() == 0
    assert any('"client": "127.0.0.1"' in line for line in server.lines)
