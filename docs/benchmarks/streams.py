"""Measures how several spoken answers arrive when all are streamed at once: whether each piece of a wave is there
before the one before it has been played, and how long the first takes beside that of one conversation alone.

    python docs/benchmarks/streams.py [--model DIR] [--conversations 8] [--frames 60] [--rounds 5]

float32, on a CPU, after a warm-up; by default the built-in tiny model. In every round one conversation is asked alone
and then all at once, and the ratio is taken within the round. Last line: one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from decode import machine, spread, versions

from ms_omni import AudioChunk, OmniEngine, SamplingParams
from ms_omni.checkpoint import built_in

MOST_FIRST_AUDIO = 2.0


@dataclass(frozen=True)
class Heard:
    """Of one streamed answer: when each piece of the wave came, in seconds from its question, and how long it is."""

    pieces: list[tuple[float, float]]

    @property
    def first_s(self) -> float:
        return self.pieces[0][0]

    @property
    def spare_s(self) -> list[float]:
        """Of each piece but the first: how long before its turn it came, played from the first one's arrival on.
        Negative: the listener heard a gap."""
        spare, end = [], self.first_s
        for (_, length), (came, _) in zip(self.pieces, self.pieces[1:], strict=False):
            end += length
            spare.append(end - came)
            end = max(end, came)
        return spare


def listen(engine: OmniEngine, questions: list[str], frames: int) -> list[Heard]:
    """Asks all at once, each read by a thread of its own."""
    heard: list[Heard | None] = [None] * len(questions)

    def read(number: int, question: str) -> None:
        sampling = SamplingParams(
            thinker_max_new_tokens=12, talker_max_new_tokens=frames + 1, seed=number, ignore_eos=True
        )
        start = time.perf_counter()
        heard[number] = Heard(
            [
                (time.perf_counter() - start, len(chunk.samples) / chunk.sample_rate)
                for chunk in engine.stream(question, return_audio=True, sampling=sampling)
                if isinstance(chunk, AudioChunk)
            ]
        )

    threads = [threading.Thread(target=read, args=each) for each in enumerate(questions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [each for each in heard if each is not None]


def measure(engine: OmniEngine, conversations: int, frames: int, rounds: int) -> dict[str, Any]:
    """first_audio: of all at once, the median of a round's conversations, and the last of them, each over the one
    alone. spare_s: the least of a round."""
    questions = [f"Please say the number {number}." for number in range(conversations)]
    medians, lasts, spare, alone_s = [], [], [], []
    for number in range(rounds + 1):
        alone = listen(engine, questions[:1], frames)[0]
        together = listen(engine, questions, frames)
        if len(together) < conversations:
            raise SystemExit("a stream has failed")
        if number == 0:  # what is not compiled but made once
            continue
        firsts = [each.first_s for each in together]
        alone_s.append(alone.first_s)
        medians.append(statistics.median(firsts) / alone.first_s)
        lasts.append(max(firsts) / alone.first_s)
        spare.append(min(min(each.spare_s) for each in together))
        print(f"round {number} of {rounds}: first audio x {medians[-1]:.2f}", file=sys.stderr, flush=True)
    return {
        "first_audio_alone_s": spread(alone_s),
        "first_audio": spread(medians),
        "last_first_audio": spread(lasts),
        "spare_s": spread(spare),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=built_in.NAME, help="a checkpoint directory instead of the built-in model")
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--frames", type=int, default=60, help="of each answer")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    count = arguments.conversations
    with OmniEngine.from_pretrained(arguments.model, device="CPU", max_num_seqs=count, warm_up=True) as engine:
        found = measure(engine, count, arguments.frames, arguments.rounds)
    for name, each in found.items():
        print(f"{name:22} {each['median']:7.3f} ({each['min']:.3f} to {each['max']:.3f})")
    reached = {
        f"first audio at most {MOST_FIRST_AUDIO}x": found["first_audio"]["median"] <= MOST_FIRST_AUDIO,
        "no gap": found["spare_s"]["min"] >= 0,
    }
    print(reached)
    load = [round(x, 2) for x in os.getloadavg()]
    about = {"versions": versions(), "machine": machine(), "load_average": load, **vars(arguments)}
    print(json.dumps({**about, **found, "reached": reached}))


if __name__ == "__main__":
    main()
