"""Runs under msrun as every rank: measures two sides, each sharing the model in its own way.

    rank_measure.py OUT_DIR CHECKPOINT ENGINE:PARALLEL ...

Each rank leaves OUT_DIR/rank_N.json, its runs. Rank 1 says that it took LATE_S longer than it did.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from ms_omni import SamplingParams
from ms_omni.config import EngineConfig
from ms_omni.profiling.measure import Measurement
from ms_omni.profiling.sides import EngineSide
from ms_omni.profiling.task import Task

LATE_S = 100.0


class Late(EngineSide):
    """Rank 1 hands every answer in later than the others."""

    def answer(self, task):
        measured = super().answer(task)
        return replace(measured, wall_s=measured.wall_s + LATE_S) if self.rank_group.rank == 1 else measured


def main():
    out_dir, checkpoint, *asked = sys.argv[1:]
    sides = []
    for words in asked:
        engine, parallel = words.split(":")
        sides.append(Late(words, EngineConfig(model=checkpoint, engine=engine, parallel=parallel, device="CPU")))
    sampling = SamplingParams(
        thinker_max_new_tokens=5, talker_max_new_tokens=3, thinker_temperature=0.0, talker_temperature=0.0,
        ignore_eos=True,
    )  # fmt: skip
    task = Task("hello", [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}], sampling, True)
    made = Measurement(sides, task, repeats=2).run()
    report = {"runs": [run.model_dump() for run in made.runs], "skipped": made.skipped}
    (Path(out_dir) / f"rank_{sides[0].rank_group.rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
