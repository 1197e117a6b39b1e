"""Measures a recording of hours, made of words that the built-in model knows, as windows write it down.

    python docs/benchmarks/long_recording.py [--hours 2]

On a CPU, float32, greedy. Two recordings as FLAC files: with pauses of 2.1 to 3 s between the clips, where each window
is one clip, as single clips are asked; and with the words back to back, where windows of 3 to 5 s overlap by 2 s
(docs/benchmarks/results-recordings.md says why so short). Beside each, the word error rate of clips, or of utterances
as long as its windows, asked one by one. The words of an answer are taken without the model's "The voice says". Last
line: one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "recordings")]
from decode import machine, versions  # noqa: E402
from judged import SHORT, SHORT_S, judge, single_wer, write  # noqa: E402

from ms_omni import OmniEngine  # noqa: E402
from ms_omni.inputs.windows import WindowRules  # noqa: E402

# Name, pauses in seconds, whether the silence of the clips goes, rules, seconds of a single utterance
RECORDINGS = (
    ("with pauses", (2.1, 3.0), False, WindowRules(), 0.1),
    ("back to back", (0.0, 0.0), True, SHORT, SHORT_S - 0.5),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    options = parser.parse_args()
    measured = {}
    with OmniEngine.from_pretrained(device="CPU") as engine, tempfile.TemporaryDirectory() as directory:
        for name, gap, trims, rules, seconds in RECORDINGS:
            path = Path(directory) / f"{name}.flac"
            said = write(path, 3600 * options.hours, gap, trims, seed=1)
            single = single_wer(engine, 500, seconds, (0.0, 0.0), trims)
            judged = judge(engine, path, said, rules)
            measured[name] = {**asdict(judged), "single_wer": single}
            print(
                f"{name}: {judged.seconds:.0f} s, {judged.num_words} words, {judged.num_joins} joins of which "
                f"{judged.num_overlaps} overlap: word error rate {judged.wer:.4f}, asked one by one {single:.4f}; "
                f"{judged.insertions} words too many, {judged.doubled} doubled at a join; memory "
                f"+{judged.grown_mib:.0f} MiB; {judged.took_s:.0f} s",
                flush=True,
            )
    print(json.dumps({"machine": machine(), "versions": versions(), "recordings": measured}))


if __name__ == "__main__":
    main()
