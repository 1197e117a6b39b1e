"""Word error rate of the model's own speech as it hears it itself: the wav files of score.py --speak, transcribed.

python docs/tiny/own_ears.py SCORES.json --model DIR --through transformers|ms_omni
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bank import spoken_form
from score import through_ms_omni, through_transformers

PREFIX = "the voice says "


def word_errors(said: list[str], heard: list[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        last, row[0] = row[0], i
        for j, other in enumerate(heard, start=1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--through", choices=("transformers", "ms_omni"), required=True)
    parser.add_argument("--most-words", type=int, default=100, help="leave longer answers out")
    options = parser.parse_args()
    ask = (through_transformers if options.through == "transformers" else through_ms_omni)(options.model)
    answers = json.loads(options.scores.read_text())["answers"]
    errors = words = files = 0
    for number, answer in enumerate(answers):
        wave = options.scores.with_suffix(f".{number}.wav")
        said = spoken_form(answer).split()
        if not wave.exists() or len(said) > options.most_words:
            continue
        parts = [{"type": "audio", "audio": str(wave)}, {"type": "text", "text": "What is said?"}]
        heard = spoken_form(ask([{"role": "user", "content": parts}], False, None)[0])
        wrong = word_errors(said, heard.removeprefix(PREFIX).split())
        errors, words, files = errors + wrong, words + len(said), files + 1
        if wrong:
            print(f"{number}: said {' '.join(said)} | heard {heard}", flush=True)
    print(f"{files} answers, {words} words, word error rate {errors / max(1, words):.3f}")


if __name__ == "__main__":
    main()
