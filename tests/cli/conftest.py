"""A command line to call in-process, checkpoints to name, and an engine that answers without MindSpore."""

import json
import sys
import types
from dataclasses import dataclass, fields

import numpy as np
import pytest

from ms_omni.checkpoint.tiny import write_tiny
from ms_omni.cli.main import main
from ms_omni.errors import OmniError
from ms_omni.outputs import AudioChunk, AudioOutput, OmniOutput, StreamEnd, TextDelta, Usage
from ms_omni.parallel.world import World
from ms_omni.scheduling.request import RequestHandle


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys):
    """cli(*argv) -> Result"""

    def call(*argv):
        code = main([str(word) for word in argv])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def user_error(cli):
    """user_error(*argv) -> the one line on stderr of a run that must fail with exit code 2 and print no result."""

    def call(*argv):
        result = cli(*argv)
        assert (result.code, result.out) == (2, ""), result
        assert result.err.startswith("ms-omni: ") and result.err.count("\n") == 1, result.err
        return result.err

    return call


@pytest.fixture(scope="session")
def silent_dir(tmp_path_factory):
    """A checkpoint without a Talker."""
    return write_tiny(tmp_path_factory.mktemp("checkpoints") / "thinking", variant="thinking")


@pytest.fixture(scope="session")
def captioner_dir(tmp_path_factory):
    """A checkpoint whose name says that it is a Captioner."""
    return write_tiny(tmp_path_factory.mktemp("checkpoints") / "Tiny-Captioner", variant="thinking")


class FakeEngine:
    """Stands for OmniEngine; `loaded` and `asked` hold what the command line passed on."""

    loaded: dict = {}
    asked: dict = {}
    text_reason = speech_reason = "stop"
    failure: BaseException | None = None
    world = World()
    max_num_seqs = 2
    closed = 0
    prompt = "<|im_start|>assistant\n"

    @property
    def processor(self):
        return types.SimpleNamespace(render=lambda messages: self.prompt)

    def __init__(self, config, progress):
        type(self).loaded = {field.name: getattr(config, field.name) for field in fields(config)}
        progress("load", 1, 2)
        progress("load", 2, 2)

    def generate(self, conversation, **options):
        print("noise of a library")
        FakeEngine.asked = {"conversation": conversation, **options}
        if "progress" in options:
            options["progress"]("thinker", 1, 3)
        if self.failure is not None:
            raise self.failure
        return self._output(options["return_audio"])

    def submit(self, conversation, **options):
        """Answered at once."""
        handle = RequestHandle()
        try:
            handle.finish(self.generate(conversation, **options))
        except BaseException as error:
            handle.fail(error)
        return handle

    def close(self):
        FakeEngine.closed += 1

    def follow(self):
        """Nothing is asked for."""

    def stream(self, conversation, **options):
        FakeEngine.asked = {"conversation": conversation, **options}
        yield TextDelta("Hello ", (1,))
        yield TextDelta("wörld", (2, 3))
        if self.failure is not None:
            raise self.failure
        output = self._output(options["return_audio"])
        if output.audio is not None:
            yield AudioChunk(output.audio.samples)
        yield StreamEnd(output)

    def _output(self, with_audio):
        audio = None
        if with_audio:
            samples = np.linspace(-1, 1, 1920 * 2 - 555, dtype=np.float32)
            audio = AudioOutput(samples, np.zeros((16, 2), np.int32), self.speech_reason)
        usage = Usage(prompt_tokens=9, completion_tokens=3)
        return OmniOutput("Hello wörld", (1, 2, 3), self.text_reason, usage, audio, {"thinker_s": 0.5})


@pytest.fixture
def fake_engine(monkeypatch):
    """The fake engine class, in the place of ms_omni.engine.OmniEngine."""
    module = types.ModuleType("ms_omni.engine")
    fresh = type("FreshEngine", (FakeEngine,), {})
    module.OmniEngine = fresh
    monkeypatch.setitem(sys.modules, "ms_omni.engine", module)
    monkeypatch.setattr(FakeEngine, "loaded", {})
    monkeypatch.setattr(FakeEngine, "asked", {})
    monkeypatch.setattr(FakeEngine, "closed", 0)
    return fresh


@pytest.fixture
def no_engine(monkeypatch):
    """Fails the test when a command line that is wrong gets as far as the engine."""
    monkeypatch.setitem(sys.modules, "ms_omni.engine", None)


@pytest.fixture
def manifest(tmp_path):
    """manifest(*lines) -> the path of a file of them; objects become JSON."""

    def write(*lines):
        path = tmp_path / "m.jsonl"
        path.write_text("".join((x if isinstance(x, str) else json.dumps(x, ensure_ascii=False)) + "\n" for x in lines))
        return path

    return write


@pytest.fixture
def asked(fake_engine, monkeypatch):
    """The conversations' texts in the order of the questions. A text that begins with an exception's name raises it."""
    questions = []
    answer = fake_engine.generate

    def generate(self, conversation, **options):
        text = conversation[-1]["content"][-1]["text"]
        questions.append(text)
        for error in (OmniError, RuntimeError, KeyboardInterrupt):
            if text.startswith(error.__name__):
                raise error("is too\nlong")
        output = answer(self, conversation, **options)
        return OmniOutput(f"to {text}", output.token_ids, "stop", output.usage, output.audio, {})

    monkeypatch.setattr(fake_engine, "generate", generate)
    monkeypatch.setattr(fake_engine, "world", World(), raising=False)
    return questions


@pytest.fixture
def batch(cli, tiny_dir, tmp_path):
    """batch(manifest, *flags) -> Result"""
    return lambda path, *flags: cli("batch", "--model", tiny_dir, "--manifest", path, "--out", tmp_path / "out", *flags)
