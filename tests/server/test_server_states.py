"""Health, metrics, models, keys, request ids, the log."""

import asyncio
import io
import json
import selectors

import pytest
from serving import HELLO, StandIn, serving, until, web

from ms_omni.scheduling.request import EngineStopped
from ms_omni.server import service as service_module
from ms_omni.server.service import MAX_RECALLED, SHARE_OF_CORE, ServerSettings, Service, _Wakes


@pytest.fixture(scope="module")
def server():
    with serving(StandIn(), api_keys=("first-key", "sécond-key")) as (url, service):
        yield url, service


def ask(url, key="first-key", **headers):
    headers = {"Authorization": f"Bearer {key}".encode(), **headers}
    return web.post(f"{url}/v1/chat/completions", json={"messages": HELLO}, headers=headers)


def test_a_server_that_loads_answers_health_with_503():
    with serving(None) as (url, service):
        health = web.get(f"{url}/health")
        assert health.status_code == 503 and health.json() == {"status": "loading"}
        answer = web.post(f"{url}/v1/chat/completions", json={"messages": HELLO})
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert answer.json()["error"]["code"] == "engine_loading"
        assert "ms_omni_engine_up 0.0" in web.get(f"{url}/metrics").text
        service.open(StandIn())
        assert web.get(f"{url}/health").status_code == 200
        assert web.post(f"{url}/v1/chat/completions", json={"messages": HELLO}).status_code == 200


def test_a_server_whose_engine_is_lost():
    engine = StandIn(answers=False)
    with serving(engine) as (url, _):
        until(lambda: web.get(f"{url}/health").status_code == 200)
        engine.stopped = "rank 1 has ended"
        assert web.get(f"{url}/health").json() == {"status": "stopped"}
        answer = web.post(f"{url}/v1/chat/completions", json={"messages": HELLO})
        assert answer.status_code == 503 and "rank" not in answer.text


def test_what_was_asked_of_an_engine_that_is_lost_gets_503():
    engine = StandIn(answers=False)
    original = engine.submit

    def submit(conversation, **options):
        handle = original(conversation, **options)
        handle.fail(EngineStopped("rank 1 has ended"))
        return handle

    engine.submit = submit
    with serving(engine) as (url, _):
        assert web.post(f"{url}/v1/chat/completions", json={"messages": HELLO}).status_code == 503


def test_a_server_that_ends_takes_no_new_questions():
    with serving(StandIn()) as (url, service):
        service.is_draining = True
        answer = web.post(f"{url}/v1/chat/completions", json={"messages": HELLO})
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "engine_draining"
        assert web.get(f"{url}/health").json() == {"status": "draining"}


@pytest.mark.parametrize("key", ["first-key", "sécond-key"])
def test_keys(server, key):
    assert ask(server[0], key).status_code == 200
    assert web.get(f"{server[0]}/v1/models", headers={"authorization": f"bearer {key}".encode()}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "first-key"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer first-ke"},
     {"Authorization": "Bearer first-key-"}, {"Authorization": "Basic first-key"}, {"X-Api-Key": "first-key"},
     {"Authorization": "Bearer first-key, second-key"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1/none", "/v1//models"])
def test_nobody_comes_in_without_a_key(server, headers, path):
    answer = web.request("POST" if "chat" in path else "GET", f"{server[0]}{path}", headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key" and "first" not in answer.text


def test_states_need_no_key(server):
    assert [web.get(f"{server[0]}{path}").status_code for path in ("/health", "/metrics", "/version")] == [200] * 3


def test_models(server):
    headers = {"Authorization": "Bearer first-key"}
    found = web.get(f"{server[0]}/v1/models", headers=headers).json()
    assert [model["id"] for model in found["data"]] == ["stand-in", "alias"] and found["object"] == "list"
    assert web.get(f"{server[0]}/v1/models/alias", headers=headers).json()["id"] == "alias"
    assert web.get(f"{server[0]}/v1/models/other", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/v2/models", 404), ("POST", "/health", 405),
                                   ("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405)]
)  # fmt: skip
def test_paths_and_methods_that_are_none(server, method, path, status):
    headers = {"Authorization": "Bearer first-key"}
    answer = web.request(method, f"{server[0]}{path}", headers=headers)
    assert answer.status_code == status and set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_request_ids_are_kept_or_made(server):
    assert ask(server[0], **{"X-Request-Id": "my-id-1"}).headers["x-request-id"] == "my-id-1"
    made = ask(server[0], **{"X-Request-Id": "a b\tc"}).headers["x-request-id"]
    assert len(made) == 32 and ask(server[0]).headers["x-request-id"] != made
    assert len(ask(server[0], **{"X-Request-Id": "x" * 200}).headers["x-request-id"]) == 32


def test_the_log_has_a_line_for_each_request_and_no_contents(server, monkeypatch):
    log = io.StringIO()  # not capfd, which loses what another thread writes while it reads
    monkeypatch.setattr("sys.stderr", log)
    ask(server[0], **{"X-Request-Id": "logged"})
    web.get(f"{server[0]}/health", headers={"X-Request-Id": "logged-too"})
    web.get(f"{server[0]}/v1/secret/path", headers={"X-Request-Id": "logged-too"})

    def logged():  # among those of requests that tests before this one have left
        return [line for line in log.getvalue().splitlines(keepends=True) if '"logged' in line and line.endswith("\n")]

    until(lambda: len(logged()) >= 2)
    lines = sorted(logged(), key=lambda line: json.loads(line)["id"])
    first, second = (json.loads(line) for line in lines)
    assert first["id"] == "logged" and first["status"] == 200 and first["route"] == "/v1/chat/completions"
    assert first["completion_tokens"] == 3 and first["finish_reason"] == "stop" and first["seconds"] >= 0
    assert second["status"] == 401 and "secret" not in lines[1]
    assert "Hello" not in lines[0] and "Hi there" not in lines[0]


def test_metrics_count(server):
    def value(name):
        text = web.get(f"{server[0]}/metrics").text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    name = 'ms_omni_requests_total{route="/v1/chat/completions",status="200"}'
    before, tokens = value(name), value("ms_omni_thinker_tokens_total")
    ask(server[0])
    assert value(name) == before + 1 and value("ms_omni_thinker_tokens_total") == tokens + 3
    assert value("ms_omni_engine_up") == 1 and value("ms_omni_requests_in_flight") == 0
    assert value('ms_omni_cache_use_ratio{stage="thinker"}') == 0.25 and value("ms_omni_requests_running") == 1


class TimelessLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while it works, and jumps where it would wait."""

    def __init__(self):
        self.now, selector = 0.0, selectors.DefaultSelector()
        select = selector.select

        def jump(timeout=None):
            self.now += timeout or 0.0
            return select(0)

        selector.select = jump
        super().__init__(selector)

    def time(self):
        return self.now


def test_handing_on_pieces_takes_a_small_share_of_a_core(monkeypatch):
    """However often the engine has some: here every millisecond, each of which would cost 2 ms."""
    cost_s, seconds, worked = 0.002, 1.0, [0.0]
    monkeypatch.setattr(service_module.time, "thread_time", lambda: worked[0])
    loop, wakes = TimelessLoop(), _Wakes()

    async def hand_on(there_is_more):
        while True:
            await there_is_more.wait()
            there_is_more.clear()
            worked[0] += cost_s
            loop.now += cost_s

    async def run():
        there_is_more = asyncio.Event()
        work = asyncio.create_task(hand_on(there_is_more))
        while loop.now < seconds:
            wakes.wake(loop, there_is_more)
            await asyncio.sleep(0.001)
        work.cancel()

    loop.run_until_complete(run())
    loop.close()
    assert 0.9 * SHARE_OF_CORE * seconds < worked[0] < 1.1 * SHARE_OF_CORE * seconds


def test_the_end_of_an_answer_is_not_paced():
    async def run():
        loop, wakes, there_is_more = asyncio.get_running_loop(), _Wakes(), asyncio.Event()
        wakes.wake(loop, there_is_more)
        await asyncio.wait_for(there_is_more.wait(), 60)
        there_is_more.clear()
        await asyncio.sleep(0)  # what was woken has run
        wakes.rest_until = loop.time() + 600
        wakes.wake(loop, there_is_more)
        await asyncio.sleep(0.05)
        assert not there_is_more.is_set()
        wakes.wake(loop, there_is_more, is_urgent=True)
        await asyncio.wait_for(there_is_more.wait(), 60)

    asyncio.run(run())


def test_speech_is_recalled_until_it_expires():
    service = Service(ServerSettings(("stand-in",)))
    service.remember("audio_1", 1000.0, "Hi")
    assert service.recall("audio_1", 999.0) == "Hi" and service.recall("audio_1", 1000.0) is None
    for number in range(MAX_RECALLED):
        service.remember(f"other_{number}", 1000.0, "x")
    assert service.recall("audio_1", 0.0) is None and service.recall("other_0", 0.0) == "x"
