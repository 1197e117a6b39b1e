"""Measures conversations per second under zero3, every rank of a group answering the same ones or each its own.

    ms-omni launch --cards 2 -- docs/benchmarks/data_parallel.py [--model DIR] [--conversations N] [--tokens N]

float32, greedy, the Thinker alone, as many conversations of one length for every rank, after a warm-up. Every rank
holds both engines, which take turns in every round; ratios are taken within a round. Rank 0 prints; last line: one JSON
document.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from decode import checkpoint, config_summary, machine, spread, versions  # noqa: E402

SAME, OWN = "the same", "each its own"


def rates(engines: dict[str, Any], conversations: int, tokens: int, rounds: int) -> dict[str, list[float]]:
    """Conversations of all ranks together in a second, of every round but the first."""
    from ms_omni import SamplingParams

    sampling = SamplingParams(thinker_max_new_tokens=tokens, thinker_temperature=0.0, ignore_eos=True)
    asked = [
        [{"role": "user", "content": [{"type": "text", "text": f"{number} questions?"}]}]
        for number in range(10, 10 + conversations)
    ]
    made: dict[str, list[float]] = {name: [] for name in engines}
    for round_number in range(rounds + 1):
        for name, engine in engines.items():
            world = engine.world
            mine = asked[world.group_rank :: world.group_size] if world.data_parallel else asked
            start = time.perf_counter()
            for conversation in mine:
                engine.generate(conversation, return_audio=False, sampling=sampling)
            engine.take_part()
            if round_number:
                made[name].append(conversations / (time.perf_counter() - start))
    return made


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint directory instead of a random one")
    parser.add_argument("--preset", default="bench", choices=("tiny", "bench"))
    parser.add_argument("--conversations", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=17)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    from ms_omni import OmniEngine

    directory, load_before = checkpoint(arguments), os.getloadavg()
    engines = {
        name: OmniEngine.from_pretrained(
            directory, engine="fused", device="CPU", parallel="zero3", with_talker=False, data_parallel=name == OWN
        )
        for name in (SAME, OWN)
    }
    made = rates(engines, arguments.conversations, arguments.tokens, arguments.rounds)
    if not engines[OWN].world.is_writer:
        return
    result = {
        "versions": versions(),
        "machine": machine(),
        "config": config_summary(directory),
        "processes": engines[OWN].world.world_size,
        "run": {"conversations": arguments.conversations, "tokens": arguments.tokens, "rounds": arguments.rounds},
        "transport": os.environ.get("MS_OMNI_CPU_TRANSPORT", "mccl"),
        "conversations_per_s": {name: spread(each) for name, each in made.items()},
        "ratio": spread([own / same for own, same in zip(made[OWN], made[SAME], strict=True)]),
        "load_average": [round(x, 2) for x in (*load_before, *os.getloadavg())],
    }
    for name, each in result["conversations_per_s"].items():
        print(f"{name:14} {each['median']:.3f} conversations/s ({each['min']:.3f} to {each['max']:.3f})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
