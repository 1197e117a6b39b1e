"""The built-in tiny model from end to end: right answers in text and speech, and speech that it understands itself."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.findings import Finding
from ms_omni.checkpoint.built_in import DIRECTORY
from ms_omni.config import SamplingParams
from ms_omni.outputs import SAMPLE_RATE, OmniOutput

GREEDY = SamplingParams(
    thinker_max_new_tokens=64,
    thinker_temperature=0,
    talker_max_new_tokens=300,
    talker_temperature=0,
    talker_repetition_penalty=1.0,
)
_FILES = {"image": "tiny_shapes.png", "audio": "tiny_words.wav", "video": "tiny_ball.mp4"}


@dataclass(frozen=True)
class CheckPrompt:
    """media: of _FILES, in order. answer: the right one, which the tiny model gives on a CPU in float32."""

    media: tuple[str, ...]
    text: str
    answer: str


PICTURE = CheckPrompt(("image",), "What do you see?", "I see a red circle, a blue square and a yellow triangle.")
UNKNOWN = CheckPrompt((), "Who is the president of France?", "I don't know.")
EVERYTHING = CheckPrompt(
    ("image", "audio", "video"),
    "What do you see and hear?",
    "I see a red circle, a blue square and a yellow triangle. The voice says hello seven. "
    "A red circle moves to the right and the voice says go right.",
)
HEARD = "The voice says "


def run(bench: Bench) -> None:
    """On one card, or spread over all ranks."""
    for dtype in ("bfloat16",) if bench.quick else ("bfloat16", "float16"):
        engine = load_engine(bench.device, dtype, _mode(bench))
        questions = {"a question": UNKNOWN, "a picture": PICTURE, "picture, words and video with sound": EVERYTHING}
        for name, question in questions.items():
            if question is EVERYTHING or not bench.quick:
                bench.check(f"{name}, {dtype}", partial(_text, engine, question))
        bench.check(f"spoken, and understood by itself, {dtype}", partial(_speech, engine, UNKNOWN))
        if not bench.quick and dtype == "bfloat16":
            bench.check(f"a longer one spoken and understood, {dtype}", partial(_speech, engine, PICTURE))
            bench.check("the same seed, the same answer", partial(_sampled, engine))


def load_engine(device: str, dtype: str, parallel: str = "none") -> Any:
    """The built-in model; `parallel` where several ranks share it."""
    from ms_omni.engine import OmniEngine

    return OmniEngine.from_pretrained(DIRECTORY, device=device, dtype=dtype, parallel=parallel)


def ask(engine: Any, question: CheckPrompt, speak: bool = False, sampling: SamplingParams = GREEDY) -> OmniOutput:
    """The engine's answer to a prompt and its built-in media, whose videos are heard too."""
    parts = [{"type": kind, kind: str(DIRECTORY.parent / _FILES[kind])} for kind in question.media]
    conversation = [{"role": "user", "content": [*parts, {"type": "text", "text": question.text}]}]
    return engine.generate(conversation, return_audio=speak, use_audio_in_video=True, sampling=sampling)


def _mode(bench: Bench) -> str:
    """ep where the experts can be divided among all ranks."""
    if bench.world.world_size == 1:
        return "none"
    from ms_omni.checkpoint.config import read_config
    from ms_omni.errors import OmniError
    from ms_omni.parallel.sizes import ModelSizes
    from ms_omni.parallel.table import check_world

    try:
        check_world("ep", bench.world.group_size, ModelSizes.from_config(read_config(DIRECTORY)))
    except OmniError:
        return "none"
    return "ep"


def _text(engine: Any, question: CheckPrompt) -> Finding:
    out = ask(engine, question)
    return _words(question.answer, out.text, {"parallel": engine.parallel, **_speeds(out)})


def _speech(engine: Any, question: CheckPrompt) -> Finding:
    """The text is right, and the model that made the wave hears it."""
    out = ask(engine, question, speak=True)
    if out.audio is None or out.audio.finish_reason != "stop":
        return Finding(1.0, 0.0, "speeches without an end")
    with tempfile.TemporaryDirectory(prefix="ms-omni-accept-") as directory:
        heard = _hear(engine, out.audio.samples, Path(directory) / "said.wav")
    loudness = float(np.sqrt(np.mean(np.square(out.audio.samples))))
    figures = {"frames": out.audio.num_frames, "loudness": round(loudness, 4), **_speeds(out)}
    made = f"{out.text} / {_spoken(heard).removeprefix(_spoken(HEARD)).strip()}"
    return _words(f"{question.answer} / {_spoken(question.answer)}", made, figures)


def _hear(engine: Any, samples: np.ndarray, path: Path) -> str:
    import soundfile

    soundfile.write(path, samples, SAMPLE_RATE)
    parts = [{"type": "audio", "audio": str(path)}, {"type": "text", "text": "What is said?"}]
    return engine.generate([{"role": "user", "content": parts}], return_audio=False, sampling=GREEDY).text


def _sampled(engine: Any) -> Finding:
    """Two answers with one seed, by top-k and top-p."""
    sampling = SamplingParams(
        thinker_max_new_tokens=12, thinker_temperature=1.0, thinker_top_k=20, thinker_top_p=0.9, seed=5
    )
    first, second = (ask(engine, PICTURE, sampling=sampling).text for _ in range(2))
    return _words(first, second, {})


def _words(right: str, made: str, figures: dict[str, Any]) -> Finding:
    """Words that differ, place by place."""
    one, other = right.split(), made.split()
    wrong = sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))
    note = f"of {len(one)}: {made!r} instead of {right!r}" if wrong else ""
    return Finding(float(wrong), 0.0, "words", note, figures)


def _spoken(text: str) -> str:
    """Its words as they are said."""
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter in " '").strip()


def _speeds(out: OmniOutput) -> dict[str, Any]:
    return {name: round(value, 3) for name, value in out.stats.items()}
