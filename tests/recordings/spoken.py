"""Recordings of any length made of words that the built-in model knows, and its answers without their frame."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ms_omni.inputs.audio import SAMPLE_RATE, read_audio
from ms_omni.outputs import TextDelta
from ms_omni.scheduling.request import RequestHandle

MEDIA = Path(__file__).parents[1] / "tiny" / "media"
FRAME = "the voice says "
# Held-out clips and what is said in them (tests/tiny/held_out.json has the same words where a case is about them)
CLIPS = {
    "audio_05_s_23_1": "up",
    "audio_1_s_3_1": "one",
    "digits_14_1": "one",
    "digits_58_1": "two four",
    "digits_74_1": "three",
    "everything_78_2": "purple",
    "everything_86_2": "moon",
    "everything_96_2": "happy",
    "picture_and_sound_67_2": "mountain",
    "transcript_23_1": "seven zero",
    "transcript_30_1": "four",
    "transcript_82_1": "square car",
    "voice_98_1": "triangle",
    "voice_9_1": "three",
    "word_41_1": "boat",
    "word_53_1": "water",
    "word_58_1": "yellow",
}


def clips(trims: bool = False) -> list[tuple[np.ndarray, str]]:
    """trims: without the silence around the words."""
    return [(_trimmed(samples) if trims else samples, CLIPS[name]) for name in CLIPS for samples in [_read(name)]]


def _read(name: str) -> np.ndarray:
    return read_audio(str(MEDIA / f"{name}.wav"))


def _trimmed(samples: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def spoken(seconds: float, random: np.random.Generator, gap: tuple[float, float], trims: bool = False):
    """(pieces, words): clips in any order, so much silence behind each (least, most), in pieces of one clip."""
    known, said, length, pieces = clips(trims), [], 0.0, []
    while length < seconds:
        index = int(random.integers(len(known)))
        quiet = np.zeros(int(random.uniform(*gap) * SAMPLE_RATE), np.float32)
        pieces.append((index, quiet.size))
        said += known[index][1].split()
        length += (known[index][0].size + quiet.size) / SAMPLE_RATE

    def samples():
        for index, quiet in pieces:
            yield np.concatenate([known[index][0], np.zeros(quiet, np.float32)])

    return samples(), said


def words(text: str) -> list[str]:
    return text.lower().replace(".", " ").replace(FRAME, " ").replace(FRAME.strip(), " ").split()


class Unframed:
    """An engine whose answers are the words alone, as those of a model that was taught to write down."""

    def __init__(self, engine):
        self._engine, self.num_asked = engine, 0
        self.processor, self.max_num_seqs, self.directory = engine.processor, engine.max_num_seqs, engine.directory

    def submit(self, conversation, **options):
        self.num_asked += 1
        asked, handle = self._engine.submit(conversation, **options), RequestHandle()

        def deliver(done):
            if done.error is not None:
                handle.fail(done.error)
                return
            text = " ".join(words(done.result().text))
            handle.put(TextDelta(text, ()))
            handle.finish(replace(done.result(), text=text))

        handle.owner = asked
        asked.add_done_callback(deliver)
        return handle
