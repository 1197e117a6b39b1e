"""Thousands of requests of all kinds at once, with bad ones, clients that leave and bodies that are too large among
them. Good answers are compared with what the same request gets alone."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

MEDIA = Path(__file__).parents[1] / "tiny/media"
TYPES = {".png": ("image_url", "image/png"), ".wav": ("audio_url", "audio/wav"), ".mp4": ("video_url", "video/mp4")}
NUM_CLIENTS = 32
SHARE_BAD, SHARE_LEAVING, SHARE_LARGE = 0.05, 0.05, 0.01
PATH = "/v1/chat/completions"


def part(item):
    path = MEDIA / item
    if path.suffix not in TYPES:
        return {"type": "text", "text": item}
    name, kind = TYPES[path.suffix]
    return {"type": name, name: {"url": f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"}}


def body(*items, **more):
    content = [part(item) for item in items]
    return {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 12, **more}


def good_bodies():
    """Different in kind and in settings; each gives the same answer whenever it is asked."""
    speech = {"modalities": ["text", "audio"], "talker": {"temperature": 0, "max_new_tokens": 6}}
    bodies = [
        *[body(text) for text in ("What is your name?", "Hello", "Tell me something", "äöü 🐻", "Count " * 30)],
        *[body("Tell me something", temperature=2.0, seed=seed) for seed in range(4)],
        *[
            body(name, "What do you see?")
            for name in ("image_12_1.png", "image_64x64_17_1.png", "image_96x384_12_1.png")
        ],
        *[body(name, "What does the voice say?") for name in ("word_41_1.wav", "word_53_1.wav", "audio_05_s_23_1.wav")],
        body("video_2_s_5_1.mp4", "What happens?"),
        body("audio_in_video_2_s_9_1.mp4", "What happens?", mm_processor_kwargs={"use_audio_in_video": True}),
        body("image_64x64_17_1.png", "word_41_1.wav", "What is there?"),
        body("What is your name?", **speech),
        body("image_64x64_17_1.png", "What do you see?", **speech),
        body("Tell me something", **{**speech, "talker": {"temperature": 0.9, "max_new_tokens": 6}}, seed=3),
        body("What is your name?", stop=["model"]),
        body("Look", tools=[{"type": "function", "function": {"name": "look"}}]),
    ]
    return bodies + [{**each, "stream": True, "stream_options": {"include_usage": True}} for each in bodies[::2]]


def bad_bodies():
    broken = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 60).decode()
    bodies = [
        {}, [], {"messages": []}, {"messages": [{"role": "robot", "content": "x"}]}, body("x", n=3), body("x", nope=1),
        body("x", temperature="hot"), body("x", max_tokens=-1), body("x", model="gpt-9"), body("x", max_tokens=900_000),
        body("x", modalities=["text", "audio"], audio={"voice": "Nobody"}), body("x", tools=["look"]),
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}]}]},
        {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{broken}"}}]}]},
        {"messages": [{"role": "user", "content": [
            {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{broken}"}}]}], "stream": True},
    ]  # fmt: skip
    return [json.dumps(each).encode() for each in bodies] + [b"", b"{", b"\xff", b"[" * 50_000]


@dataclass
class Findings:
    outcomes: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    num_compared: int = 0


def read(response: httpx.Response) -> tuple:
    """Text, speech and the end of an answer, whole or streamed; tokens."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        document = response.json()
        (choice,) = document["choices"]
        message = choice["message"]
        speech = len(base64.b64decode(message["audio"]["data"])) if message.get("audio") else 0
        return message["content"], speech > 0, choice["finish_reason"], document["usage"]["completion_tokens"]
    assert response.text.endswith("data: [DONE]\n\n"), response.text[-100:]
    events = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
    assert "error" not in events[-1], events[-1]
    usage = events.pop()["usage"]["completion_tokens"]
    deltas = [event["choices"][0]["delta"] for event in events]
    text = "".join(delta.get("content") or "" for delta in deltas)
    speaks = any(delta.get("audio", {}).get("data") for delta in deltas)
    return text, speaks, events[-1]["choices"][0]["finish_reason"], usage


async def soak(url: str, count: int, max_body_bytes: int, seed: int = 0, on_progress=lambda done: None) -> Findings:
    """Asks `count` times, NUM_CLIENTS at once."""
    chance, findings = random.Random(seed), Findings()
    good, bad = good_bodies(), bad_bodies()
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=httpx.Limits(max_connections=None)) as client:
        expected = []
        for each in good:
            answer = await client.post(PATH, json=each)
            assert answer.status_code == 200, answer.text
            expected.append(read(answer))
        todo = iter(range(count))

        async def ask_on():
            for number in todo:
                kind = chance.random()
                if kind < SHARE_BAD:
                    await ask_badly(client, chance.choice(bad), findings)
                elif kind < SHARE_BAD + SHARE_LEAVING:
                    await leave(client, chance.choice(good), chance.random(), findings)
                elif kind < SHARE_BAD + SHARE_LEAVING + SHARE_LARGE:
                    await ask_too_much(client, max_body_bytes, findings)
                else:
                    index = chance.randrange(len(good))
                    await ask_well(client, good[index], expected[index], findings)
                on_progress(number)

        await asyncio.gather(*[ask_on() for _ in range(NUM_CLIENTS)])
    return findings


async def ask_well(client, asked, expected, findings):
    answer = await client.post(PATH, json=asked)
    findings.outcomes[f"good {answer.status_code}"] += 1
    if answer.status_code != 200 or (found := read(answer)) != expected:
        findings.wrong.append(f"{answer.status_code} {found if answer.status_code == 200 else answer.text}: {expected}")
    findings.num_compared += 1


async def ask_badly(client, raw, findings):
    answer = await client.post(PATH, content=raw, headers={"Content-Type": "application/json"})
    findings.outcomes[f"bad {answer.status_code}"] += 1
    if answer.status_code not in (400, 404) or not answer.json()["error"]["message"]:
        findings.wrong.append(f"{answer.status_code} for {raw[:200]!r}: {answer.text[:200]}")


async def leave(client, asked, seconds, findings):
    try:
        answer = await client.post(PATH, json=asked, timeout=httpx.Timeout(300, read=max(0.01, seconds / 2)))
        findings.outcomes[f"answered before leaving {answer.status_code}"] += 1
    except httpx.ReadTimeout:
        findings.outcomes["left"] += 1


async def ask_too_much(client, max_body_bytes, findings):
    try:
        raw = b'{"messages": "' + b"x" * max_body_bytes + b'"}'
        answer = await client.post(PATH, content=raw, headers={"Content-Type": "application/json"})
        findings.outcomes[f"too large {answer.status_code}"] += 1
        if answer.status_code != 413:
            findings.wrong.append(f"{answer.status_code} for a body that is too large")
    except httpx.TransportError:  # the server answered and closed while the body was still being sent
        findings.outcomes["too large, closed"] += 1
