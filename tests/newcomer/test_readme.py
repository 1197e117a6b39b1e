"""Somebody with nothing but README and an empty directory: each of its commands, as written, does what it says."""

import json
import re
import shutil
import signal
import socket
import time
import urllib.request
from dataclasses import dataclass

import pytest
import soundfile
from PIL import Image, ImageDraw
from readme import RELEASED, blocks, is_run, python_program

pytestmark = pytest.mark.slow
SEEN = "I see a red circle, a blue square and a yellow triangle."


@dataclass
class Done:
    command: str
    returncode: int
    output: str


class Walk:
    """README from its first block to its last. done: what became of each command that was run."""

    def __init__(self, newcomer):
        self._newcomer, self._server = newcomer, None
        self.done: list[Done] = []
        self.served = ""
        for block in blocks("README.md"):
            if block.language == "bash":
                for command in filter(is_run, block.commands):
                    self._run(command)
                self._stop()
            elif block.language == "python":
                (newcomer.place / "program.py").write_text(block.text)
                self._run("python program.py")

    def of(self, pattern):
        """The first command that has it."""
        found = [done for done in self.done if re.search(pattern, done.command)]
        assert found, f"README has no command {pattern}"
        return found[0]

    def _run(self, command):
        if command.startswith("ms-omni serve"):
            self._start(command)
            return
        # These two need the project's directory, all else needs only the package
        at = self._newcomer.checkout if command.startswith(("pip install", "bash launch/")) else None
        if command.startswith("pip install") and any(done.command == command for done in self.done):
            return
        if RELEASED in command:
            command = command.replace(" -- ", " --dry-run -- ")
        done = self._newcomer.run(command, at)
        self.done.append(Done(command, done.returncode, done.stdout + done.stderr))

    def _start(self, command):
        self._server = self._newcomer.start(command)
        deadline = time.monotonic() + 240
        while self._server.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen("http://127.0.0.1:8901/health", timeout=10):
                    return
            except OSError:
                time.sleep(0.5)

    def _stop(self):
        if self._server:
            self._server.send_signal(signal.SIGTERM)
            try:
                self.served, _ = self._server.communicate(timeout=120)
            finally:
                self._server.kill()
            self.done.append(Done("ms-omni serve", self._server.returncode, self.served))
            self._server = None


@pytest.fixture(scope="module")
def walk(newcomer):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8901)) == 0:
            pytest.fail("something listens at 8901, the port of README's server")
    return Walk(newcomer)


def test_every_command_succeeds(walk):
    assert len(walk.done) > 15
    for done in walk.done:
        assert done.returncode == 0, done


def test_what_readme_shows_is_printed(walk):
    said = "".join(done.output for done in walk.done)
    shown = [line.strip() for block in blocks("README.md") if not block.language for line in block.text.splitlines()]
    lines = [line for line in shown if line and line != "..." and is_run(line)]
    assert len(lines) >= 4
    for line in lines:
        assert line in said, line


def test_the_picture_is_answered_in_text_and_speech(walk, newcomer):
    assert SEEN in walk.of("--image example/shapes.png .*--audio-out").output
    speech = soundfile.info(newcomer.place / "answer.wav")
    assert speech.samplerate == 24000 and speech.frames > 24000


def test_a_batch_of_three(walk, newcomer):
    line = walk.of("^ms-omni batch").command
    manifest, out = (newcomer.place / re.search(rf"--{flag} (\S+)", line)[1] for flag in ("manifest", "out"))
    answers = [json.loads(text) for text in (out / "results.jsonl").read_text().splitlines()]
    asked = [json.loads(text) for text in manifest.read_text().splitlines()]
    assert [answer["id"] for answer in answers] == [question["id"] for question in asked] and len(asked) == 3
    texts = " ".join(answer["text"] for answer in answers)
    assert "I am a tiny model" in texts and SEEN in texts and "hello seven" in texts
    assert [answer["id"] for answer in answers if answer["audio"]] == [path.stem for path in out.glob("*.wav")]


def test_a_report(walk, newcomer):
    assert "tokens/s" in walk.of("^ms-omni report").output
    page = walk.of("^ms-omni profile .*html").command
    html = newcomer.place / re.search(r"--out (\S+)", page)[1] / "profile.html"
    assert "</html>" in html.read_text()


def test_the_server_answers_and_ends(walk):
    answer = json.loads(walk.of("^curl").output)
    assert answer["choices"][0]["message"]["content"].startswith("I am a tiny model")
    assert "/v1/chat/completions" in walk.served and walk.of("^ms-omni serve").returncode == 0


def test_python(walk):
    done = walk.of("^python program.py")
    assert done.output == SEEN + "\n", "one line, and a quiet import"


def test_the_page_for_python(walk, newcomer):
    (newcomer.place / "page.py").write_text(python_program("docs/python.md"))
    done = newcomer.run("python page.py")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert SEEN in done.stdout and "hello seven" in done.stdout and "blue" in done.stdout.splitlines()[-2]


def own_picture(path):
    """A photograph's size and format, things that the package has no picture of."""
    picture = Image.new("RGB", (900, 600), (205, 200, 190))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((120, 200, 320, 400), fill=(200, 30, 40))
    pen.ellipse((560, 180, 780, 400), fill=(30, 60, 200))
    picture.save(path)


def test_a_picture_of_ones_own(walk, newcomer):
    own_picture(newcomer.place / "own.jpg")
    command = walk.of("^ms-omni understand --image example/shapes.png .*--audio-out").command
    done = newcomer.run(command.replace("example/shapes.png", "own.jpg").split("  #")[0] + " --json")
    assert done.returncode == 0, done
    answer = json.loads(done.stdout)
    assert answer["text"] == "I see a red square and a blue circle."
    assert answer["audio"]["num_samples"] > 24000


def test_a_recording_of_ones_own(walk, newcomer):
    """Spoken by espeak-ng; where that is not installed, by the model itself."""
    if shutil.which("espeak-ng"):
        assert newcomer.run("espeak-ng -v en-us -w own.wav 'seven three'").returncode == 0
        words = "seven three"
    else:
        say = 'ms-omni understand --text "What is your name?" --audio-out own.wav'
        assert newcomer.run(say).returncode == 0
        words = "tiny model"
    command = walk.of("^ms-omni understand .*--audio example/words.wav").command
    done = newcomer.run(command.replace("example/words.wav", "own.wav").split("  #")[0])
    assert done.returncode == 0 and words in done.stdout, done


def test_the_demo(walk, newcomer):
    """Last: the script installs the package anew, from its directory."""
    done = newcomer.run("bash launch/demo.sh", newcomer.checkout, env={"VENV": str(newcomer.venv)})
    assert done.returncode == 0, done
    assert SEEN[:-1] in done.stdout and "go right" in done.stdout
    assert (newcomer.checkout / "demo_output/answer.wav").stat().st_size > 100_000
