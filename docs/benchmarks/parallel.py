"""Measures decoding on several processes side by side: mindone's own ZeRO-3, and this package's ways to share a model.

    ms-omni launch --cards 2 -- docs/benchmarks/parallel.py [--model DIR] [--tokens N] [--rounds N] [--modes ep,tp,...]

float32, batch 1, greedy, the Thinker alone, after a warm-up. Every rank holds all the engines, which take turns in
every round; ratios are taken within a round; prefill is left out. mindone's own is its `generate` on the layers that
its `prepare_network` has split, Linear by Linear. Rank 0 prints; last line: one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from decode import MindSporeSide, about, checkpoint, seconds_each, spread

MINDONE = "mindone zero3"


class Side(MindSporeSide):
    """One engine, spread over the ranks."""

    def __init__(self, directory: Path, mode: str, engine: str = "fused"):
        from ms_omni import OmniEngine

        self.engine = OmniEngine.from_pretrained(
            directory, engine=engine, device="CPU", dtype="float32", parallel=mode, with_talker=False
        )


class MindoneSide(Side):
    """mindone's classes and generate, split by mindone's prepare_network."""

    def __init__(self, directory: Path):
        super().__init__(directory, "none", "mindone")
        import mindspore as ms
        from mindone.trainers.zero import prepare_network
        from mindspore.communication import GlobalComm

        ms.set_auto_parallel_context(parallel_mode="data_parallel")  # prepare_network does nothing without
        thinker = self.engine.model.thinker
        thinker.model = prepare_network(
            thinker.model, zero_stage=3, optimizer_parallel_group=GlobalComm.WORLD_COMM_GROUP
        )
        ms.set_auto_parallel_context(parallel_mode="stand_alone")


def measure(sides: dict[str, Any], count: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    """Seconds a token of every round, and the ids, by side."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    made = {}
    for round_number in range(rounds + 1):
        for name, side in sides.items():
            events, made[name] = side.run("thinker", count)
            if round_number:
                seconds[name].append(seconds_each(events, "thinker"))
    return seconds, made


def report(result: dict[str, Any]) -> None:
    machine = result["machine"]
    print(f"{machine['cpu']}, {machine['cores']} cores, {result['processes']} processes, load {result['load_average']}")
    for name, each in result["thinker_ms_per_token"].items():
        print(f"{name:14} {each['median']:9.2f} ms/token ({each['min']:.2f} to {each['max']:.2f})")
    for name, ratio in result["ratios_to_mindone"].items():
        print(f"{name:14} {ratio['median']:9.2f} times mindone's own ({ratio['min']:.2f} to {ratio['max']:.2f})")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint directory instead of a random one")
    parser.add_argument("--preset", default="bench", choices=("tiny", "bench"))
    parser.add_argument("--tokens", type=int, default=17)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", default="ep,tp,zero3")
    arguments = parser.parse_args(argv)
    directory, load_before = checkpoint(arguments), os.getloadavg()
    sides: dict[str, Any] = {MINDONE: MindoneSide(directory)}
    sides |= {mode: Side(directory, mode) for mode in arguments.modes.split(",")}
    seconds, made = measure(sides, arguments.tokens, arguments.rounds)
    world = sides[MINDONE].engine.world
    if not world.is_writer:
        return
    result = {
        **about(directory),
        "processes": world.world_size,
        "tokens": arguments.tokens,
        "rounds": arguments.rounds,
        "transport": os.environ.get("MS_OMNI_CPU_TRANSPORT", "mccl"),
        "same_ids": all(ids == made[MINDONE] for ids in made.values()),
        "thinker_ms_per_token": {name: spread([1e3 * s for s in each]) for name, each in seconds.items()},
        "ratios_to_mindone": {
            name: spread([a / b for a, b in zip(seconds[MINDONE], each, strict=True)])
            for name, each in seconds.items()
            if name != MINDONE
        },
        "load_average": [round(x, 2) for x in (*load_before, *os.getloadavg())],
    }
    report(result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
