"""How well a recording was written down: word errors, doubled words where windows meet, memory."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import soundfile
from spoken import Unframed, clips, spoken, words

from ms_omni.inputs.audio import SAMPLE_RATE
from ms_omni.inputs.sound_pieces import read_pieces
from ms_omni.inputs.source import open_source
from ms_omni.inputs.windows import WindowRules, cut_windows
from ms_omni.recordings.transcribe import transcribe
from ms_omni.tasks.request import speech_conversation

PROMPT = "Transcribe the audio."
# For speech without a pause: of more than eight words the built-in model writes down only some
SHORT = WindowRules(longest_s=5.0, shortest_s=3.0, overlap_s=2.0)
# The windows' mean length then
SHORT_S = 4.2


@dataclass(frozen=True)
class Judged:
    """wer: of the whole. insertions: words that nobody said. num_joins: places where two windows meet. num_overlaps:
    those of them where windows overlap. doubled: insertions at a join that repeat the word beside them. grown_mib:
    memory above what the engine has after one window, at most."""

    seconds: float
    num_words: int
    wer: float
    insertions: int
    num_joins: int
    num_overlaps: int
    doubled: int
    grown_mib: float
    took_s: float


def write(path: Path, seconds: float, gap: tuple[float, float], trims: bool, seed: int) -> list[str]:
    """A FLAC file of clips with a pause behind each; what is said in it."""
    pieces, said = spoken(seconds, np.random.default_rng(seed), gap, trims)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        for piece in pieces:
            file.write(piece)
    return said


def judge(engine, path: Path, said: list[str], rules: WindowRules) -> Judged:
    unframed = Unframed(engine)
    window = np.concatenate([samples for samples, _ in clips()])[: round(rules.longest_s * SAMPLE_RATE)]
    list(transcribe(unframed, window))
    start = time.monotonic()
    with grown_mib() as memory:
        segments = list(transcribe(unframed, str(path), rules=rules))
    took_s = time.monotonic() - start
    texts = [segment.text.split() for segment in segments]
    heard = [word for text in texts for word in text]
    errors = jiwer.process_words(" ".join(said), " ".join(heard))
    spans = [window.span for window in cut_windows(read_pieces(open_source(str(path), "audio")), rules)]
    return Judged(
        seconds=segments[-1].end,
        num_words=len(said),
        wer=errors.wer,
        insertions=errors.insertions,
        num_joins=len(spans) - 1,
        num_overlaps=sum(span.overlap > 0 for span in spans),
        doubled=_doubled(errors, heard, np.cumsum([len(text) for text in texts])),
        grown_mib=memory(),
        took_s=took_s,
    )


def _doubled(errors, heard, joints) -> int:
    """joints: places between two words where segments meet."""
    added = {
        place
        for chunk in errors.alignments[0]
        if chunk.type == "insert"
        for place in range(chunk.hyp_start_idx, chunk.hyp_end_idx)
    }
    doubled = 0
    for place in {place for joint in joints.tolist() for place in (joint - 1, joint)} & added:
        doubled += heard[place] in (heard[place - 1 : place] + heard[place + 1 : place + 2])
    return doubled


def single_wer(engine, count: int, seconds: float, gap: tuple[float, float], trims: bool) -> float:
    """Of utterances of clips, each asked alone."""
    chance, refs, asked = np.random.default_rng(2), [], []
    for _ in range(count):
        pieces, said = spoken(seconds, chance, gap, trims)
        refs.append(" ".join(said))
        asked.append(speech_conversation(np.concatenate(list(pieces)), PROMPT))
    outputs = engine.generate(asked, return_audio=False)
    return jiwer.wer(refs, [" ".join(words(output.text)) or "-" for output in outputs])


@contextmanager
def grown_mib():
    """A function that says by how much memory has grown inside the block, at most."""
    before, most, ended = _resident_mib(), [0.0], threading.Event()

    def watch():
        while not ended.wait(0.02):
            most[0] = max(most[0], _resident_mib() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        ended.set()
        thread.join()


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)
