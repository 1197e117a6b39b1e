"""The page in a real browser: uploads, streamed text, speech that plays, and requests that end with a click."""

import base64
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from stand_in import TONE, StandIn, end_event, serving, speech_event, text_event

from ms_omni.demo.speech import SAMPLE_RATE

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install 'ms-omni[test,demo]')"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (Debian: apt install chromium)"),
]
WAIT_MS = 60_000


@contextmanager
def command(*words):
    """A command of ms-omni with --port 0, and the address that it says it listens at."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "ms_omni", *words, "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment
    )
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r" at (http://[\d.:]+)", line):
                yield found[1]
                return
        raise AssertionError("".join(lines))
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(60)


@pytest.fixture(scope="module")
def page():
    """The page's address and the stand-in that it asks: one process for all tests, which takes seconds to start."""
    with serving(StandIn()) as stand_in, command("demo", "--server", stand_in.url) as address:
        yield address, stand_in


@pytest.fixture
def server(page):
    """The stand-in as it is at first."""
    _, stand_in = page
    url = stand_in.url
    stand_in.__init__()
    stand_in.url = url
    return stand_in


@contextmanager
def opened(address, width=1280, height=860):
    """A tab of a browser with the page, which may reach nothing else."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        # A microphone that beeps, and no question whether it may be used
        flags += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        tab = browser.new_page(viewport={"width": width, "height": height})
        tab.set_default_timeout(WAIT_MS)
        requests = []
        tab.on("request", lambda request: requests.append(request.url))
        until(lambda: answers(address))
        tab.goto(address)
        try:
            yield tab
            assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
        finally:
            browser.close()


def answers(address):
    try:
        return httpx.get(address, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def until(is_so):
    deadline = time.monotonic() + WAIT_MS / 1000
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ask(tab, words, *files):
    if files:
        tab.set_input_files("#question input[type=file]", list(files))
        tab.wait_for_selector("#question .thumbnail-item, #question img")
    tab.fill("#question textarea", words)
    tab.press("#question textarea", "Enter")


def wave_of(tab):
    """The bytes of the last answer's wave, as the page's visitor downloads it."""
    tab.wait_for_selector("#chat a[href*='answer-']", state="attached")
    return httpx.get(tab.eval_on_selector("#chat a[href*='answer-']", "link => link.href"), trust_env=False).content


def test_the_built_in_model_sees_a_picture_and_speaks():
    with command("serve") as server, command("demo", "--server", server) as address, opened(address) as tab:
        tab.get_by_text("answers in text and speech").wait_for()
        ask(tab, "What do you see?", str(ROOT / "ms_omni/assets/tiny_shapes.png"))
        tab.get_by_text("I see a red circle, a blue square and a yellow triangle.").wait_for()
        tab.wait_for_selector("#speech audio")
        tab.wait_for_function("document.querySelector('#speech audio').currentTime > 0.2")
        wave = wave_of(tab)
        assert wave[:4] == b"RIFF" and len(wave) > SAMPLE_RATE


def test_text_and_speech_come_as_they_are_made(page, server):
    server.events = [text_event("I see "), 1.0, *[speech_event(TONE)] * 2, text_event("a circle."), 4.0, end_event()]
    with opened(page[0], width=400) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        ask(tab, "What do you see?", str(ROOT / "ms_omni/assets/tiny_ball.mp4"))
        tab.get_by_text("a circle.").wait_for()
        tab.wait_for_function("document.querySelector('#speech audio').currentTime > 0.2")
        assert tab.locator("#chat a[href*='answer-']").count() == 0  # still being made
        assert wave_of(tab).endswith(TONE + TONE)
        ask(tab, "And now?")
        until(lambda: len(server.asked) == 2)
        tab.wait_for_selector("#question .submit-button")  # the next test's stand-in has no answer under way
    first, answer, second = server.asked[1]["messages"]
    assert first == server.asked[0]["messages"][0]
    assert first["content"][0]["video_url"]["url"].startswith("data:video/mp4;base64,")
    assert answer == {"role": "assistant", "content": "I see a circle."}
    assert second == {"role": "user", "content": "And now?"}


def test_the_microphone(page, server):
    with opened(page[0]) as tab:
        tab.click("#question [data-testid=microphone-button]")
        tab.get_by_label("Start recording").click()
        time.sleep(2)
        tab.get_by_label("Stop recording").click()
        tab.get_by_label("Attach audio").click()
        tab.wait_for_selector("#question .thumbnail-item")
        ask(tab, "")
        tab.get_by_text("a circle.").wait_for()
    (part,) = server.asked[0]["messages"][0]["content"]
    sound = base64.b64decode(part["input_audio"]["data"])
    assert part["input_audio"]["format"] == "wav" and sound[:4] == b"RIFF"


def test_a_stopped_answer_is_kept_and_cancelled(page, server):
    server.events = [text_event("I see "), 120.0, end_event()]
    with opened(page[0]) as tab:
        ask(tab, "What do you see?")
        tab.get_by_text("I see").wait_for()
        tab.click("#question .stop-button")
        tab.get_by_text("Stopped.").wait_for()
        assert server.gone.wait(60)
        server.events = [text_event("Fine."), end_event()]
        ask(tab, "Again?")
        tab.get_by_text("Fine.").wait_for()


def test_a_cleared_conversation_stays_away(page, server):
    server.events = [text_event("I see "), 120.0, end_event()]
    with opened(page[0]) as tab:
        ask(tab, "What do you see?")
        tab.get_by_text("I see").wait_for()
        tab.get_by_label("Clear").first.click()
        assert server.gone.wait(60)
        tab.wait_for_selector("#question .submit-button")
        assert tab.get_by_text("I see").count() == tab.get_by_text("Stopped.").count() == 0
        server.events = [text_event("Fine."), end_event()]
        ask(tab, "Again?")
        tab.get_by_text("Fine.").wait_for()
        tab.wait_for_selector("#question .submit-button")  # its answer has ended
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["Again?"]


def test_a_closed_tab_cancels_its_answer(page, server):
    server.events = [text_event("I see "), 120.0, end_event()]
    with opened(page[0]) as tab:
        ask(tab, "What do you see?")
        tab.get_by_text("I see").wait_for()
        tab.close()
        assert server.gone.wait(60)


def test_errors_are_said(page, server):
    server.refusal = 400, {"error": {"message": "temperature: expected 0 or more"}}
    with opened(page[0]) as tab:
        ask(tab, "What do you see?")
        tab.get_by_text("The server cannot answer this: temperature: expected 0 or more.").wait_for()
        server.refusal = None
        ask(tab, "Again?")
        tab.get_by_text("a circle.").wait_for()
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["Again?"]


def test_a_captioner_describes_one_sound(page, server):
    server.model, server.voices = "Qwen3-Omni-30B-A3B-Captioner", []
    server.events = [text_event("A woman "), text_event("speaks."), end_event()]
    with opened(page[0]) as tab:
        tab.wait_for_selector("#sound")
        assert not tab.is_visible("#question")
        tab.set_input_files("#sound input[type=file]", str(ROOT / "ms_omni/assets/tiny_words.wav"))
        tab.wait_for_selector("#sound .waveform-container, #sound audio", state="attached")
        tab.click("#describe")
        tab.wait_for_function("document.querySelector('#caption textarea').value === 'A woman speaks.'")
    (message,) = server.asked[0]["messages"]
    assert [part["type"] for part in message["content"]] == ["input_audio"]


def test_a_server_that_comes_later_is_found(page, server):
    server.health = 503
    with opened(page[0]) as tab:
        tab.get_by_text("being loaded").wait_for()
        server.health = 200
        tab.get_by_text("answers in text and speech").wait_for()
