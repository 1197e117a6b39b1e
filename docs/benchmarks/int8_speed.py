"""How fast a CPU decodes with 8-bit weights: engines with float32, int8 and int8-dynamic weights answer in turns.

python docs/benchmarks/int8_speed.py [--preset bench] [--rounds 7] [--tokens 64] [--frames 25]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from ms_omni import OmniEngine, SamplingParams
from ms_omni.checkpoint.tiny import write_tiny

WAYS = ("none", "int8", "int8-dynamic")
QUESTION = "What is it that you hear when a word is spoken in another room, and what do you say about it?"


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--frames", type=int, default=25)
    options = parser.parse_args()
    lengths = {"thinker_max_new_tokens": options.tokens, "talker_max_new_tokens": options.frames + 1}
    sampling = SamplingParams(thinker_temperature=0, talker_temperature=0, ignore_eos=True, **lengths)
    rates: dict[str, dict[str, list[float]]] = {way: {"Thinker tokens/s": [], "Talker frames/s": []} for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        directory = write_tiny(Path(folder) / "checkpoint", options.preset)
        engines = {way: OmniEngine.from_pretrained(directory, device="CPU", quantize=way) for way in WAYS}
        for number in range(options.rounds + 1):
            for way, engine in engines.items():
                stats = engine.generate(QUESTION, sampling=sampling).stats
                if number:  # the first compiles
                    rates[way]["Thinker tokens/s"].append(options.tokens / stats["thinker_s"])
                    rates[way]["Talker frames/s"].append(options.frames / stats["talker_s"])
    print(f"{options.preset}: median (least to most) of {options.rounds} rounds; ratios are those of each round")
    for gauge, floats in rates["none"].items():
        for way in WAYS:
            values = rates[way][gauge]
            ratios = spread([one / other for one, other in zip(values, floats, strict=True)])
            print(f"{gauge}, {way}: {spread(values)}; beside none {ratios}", flush=True)


if __name__ == "__main__":
    main()
