"""Synthesises the speech that the ears learn from into one file, in parallel processes.

python docs/tiny/bank.py DIR [--words 150] [--sentences 8000] [--held-out]
"""

from __future__ import annotations

import argparse
import random
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from dialogues import Dialogues
from espeak import random_voice, speak
from mixed_talk import SPOKEN_QUESTIONS
from sounds import NoSpeech
from words import SPOKEN


def spoken_form(sentence: str) -> str:
    """The words of a sentence as the transcripts have them."""
    return "".join(c for c in sentence.lower() if c.isalpha() or c in " '").strip()


def sentences(rng: random.Random, count: int) -> list[str]:
    """Answers of all skills, as somebody would say them."""
    dialogues = Dialogues(NoSpeech(), rng)  # type: ignore[arg-type]
    result = []
    while len(result) < count:
        text = spoken_form(dialogues.answer())
        if len(text.split()) >= 2:
            result.append(text)
    unknown = {word for text in result for word in text.split()} - set(SPOKEN)
    if unknown:
        raise ValueError(f"words missing from SPOKEN: {sorted(unknown)}")
    return result


def _synthesise(job: tuple[str, str, Any]) -> np.ndarray:
    wave = speak(job[1], job[2], 16_000)
    return (np.clip(wave / max(1e-3, np.abs(wave).max()) * 0.5, -1, 1) * 32767).astype(np.int16)


def make_bank(
    path: Path, words: int, num_sentences: int, questions: int, seed: int, held_out: bool, processes: int
) -> None:
    """Writes samples.npy (int16 at 16 kHz, one after the other) and index.npz (kinds, texts, starts, ends)."""
    rng = random.Random(seed)
    texts = [("word", word) for word in SPOKEN for _ in range(words)]
    texts += [("sentence", text) for text in sentences(rng, num_sentences)]
    texts += [("question", text) for text in SPOKEN_QUESTIONS for _ in range(questions)]
    jobs = [(kind, text, random_voice(rng, held_out)) for kind, text in texts]
    with Pool(processes) as pool:
        waves = pool.map(_synthesise, jobs, chunksize=64)
    path.mkdir(parents=True, exist_ok=True)
    ends = np.cumsum([len(wave) for wave in waves])
    np.save(path / "samples.npy", np.concatenate(waves))
    kinds, spoken = zip(*texts, strict=False)
    np.savez(path / "index.npz", kinds=kinds, texts=spoken, starts=ends - [len(w) for w in waves], ends=ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--words", type=int, default=150, help="renderings of each word")
    parser.add_argument("--sentences", type=int, default=8000)
    parser.add_argument("--questions", type=int, default=80, help="renderings of each spoken question")
    parser.add_argument("--held-out", action="store_true", help="voices that training does not hear")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    make_bank(
        options.directory, options.words, options.sentences, options.questions, options.seed, options.held_out,
        options.processes,
    )  # fmt: skip


if __name__ == "__main__":
    main()
