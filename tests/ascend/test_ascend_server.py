"""The server with MindSpore's Ascend backend over emulated operators: one card, and two that share the model."""

import base64
import json
import sys
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from process import served

PICTURE = Path(__file__).parents[1] / "tiny/media/image_64x64_17_1.png"
LAUNCH = ("launch", "--cards", "2", "--log-dir", "LOGS", "--")


def question():
    url = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What do you see?"}]
    return {
        "messages": [{"role": "user", "content": parts}],
        "modalities": ["text", "audio"],
        "audio": {"format": "pcm16"},
        "temperature": 0,
        "talker": {"temperature": 0, "max_new_tokens": 6},
    }


@pytest.fixture(scope="module")
def on_a_cpu():
    """The engine's own answer there: text, tokens of text and speech."""
    with served("--device", "CPU", "--no-warm-up") as server:
        server.wait_until_ready()
        return answer_of(httpx.post(f"{server.url}/v1/chat/completions", json=question(), timeout=300).json())


def answer_of(document):
    message = document["choices"][0]["message"]
    return message["content"], document["usage"]["completion_tokens_details"], len(message["audio"]["data"])


@pytest.mark.parametrize(
    "launch",
    [pytest.param((), marks=pytest.mark.slow), pytest.param(LAUNCH, marks=pytest.mark.long)],
    ids=["one", "two"],
)
def test_answers_are_those_of_a_cpu(on_a_cpu, launch, tmp_path):
    launch = [str(tmp_path) if word == "LOGS" else word for word in launch]
    ways = ["--parallel", "ep"] if launch else []
    with served("--device", "Ascend", "--dtype", "float16", "--no-warm-up", *ways, launch=launch) as server:
        server.wait_until_ready()
        whole = httpx.post(f"{server.url}/v1/chat/completions", json=question(), timeout=600)
        assert whole.status_code == 200, whole.text
        assert answer_of(whole.json()) == on_a_cpu
        streamed = httpx.post(f"{server.url}/v1/chat/completions", json={**question(), "stream": True}, timeout=600)
        events = [json.loads(line[6:]) for line in streamed.text.split("\n\n") if line.startswith("data: {")]
        deltas = [event["choices"][0]["delta"] for event in events]
        assert "".join(delta.get("content") or "" for delta in deltas) == on_a_cpu[0]
        data = b"".join(base64.b64decode(delta.get("audio", {}).get("data", "")) for delta in deltas)
        assert len(base64.b64encode(data)) == on_a_cpu[2]
        assert server.end() == 0
