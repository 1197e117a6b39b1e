"""Compares `plan`'s memory with what MindSpore's allocator asks for: dry runs (dry_run.py) of the released Instruct
model on the emulator, kept in docs/benchmarks/plan-memory.json, and the table docs/benchmarks/plan-memory.md of them.

    python tests/ascend/plan_memory.py [--run none:1:int8,ep:2,zero3:8] [--tokens 2] [--frames 1]

Without --run only the table is made anew, with what `plan` says now. A dry run takes a minute of CPU, 0.9 GB of the
host's memory, and some minutes more where a graph is compiled (tokens above 1, frames above 0).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dry_run import WORK

from ms_omni.planning.hardware import find_hardware
from ms_omni.planning.memory import MemoryPlan, Planned, plan_memory
from ms_omni.planning.model import plan_config
from ms_omni.planning.workload import Workload

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs/benchmarks/plan-memory.json"
PAGE = ROOT / "docs/benchmarks/plan-memory.md"
GB = 1e9
# A stage of the engine, and those of the plan that it holds
STAGES = {
    "encoders": ("vision encoder", "audio encoder"),
    "thinker_prefill": ("thinker prefill",),
    "talker_prefill": ("talker prefill",),
    "code2wav": ("code2wav",),
}
DONE = {
    "load": "loading",
    "encoders": "encoders",
    "thinker_prefill": "prefill",
    "thinker_decode": "decoding",
    "talker_prefill": "Talker's prefill",
    "talker_decode": "Talker's frames",
    "code2wav": "Code2Wav",
}
HEAD = """\
# What `plan` says of memory, and what MindSpore's allocator asks for

Made by `python tests/ascend/plan_memory.py`: MindSpore 2.7.1's dry run (`MS_SIMULATION_LEVEL=1`) of the released
Instruct model's full sizes in bfloat16 over emulated CANN libraries, rank 0 of each job. The package's own code loads,
encodes, prefills and decodes; no operator computes and no weight has a value. The prompt: {tokens} tokens with a
picture of 1024 x 1024 and 60 s of sound, in three chunks; a whole piece of Code2Wav (300 frames).

**Peaks are lower bounds**: the emulator's operators want next to no workspace, CANN's do. What is outside of
MindSpore's allocator is in neither figure: HCCL's buffers, CANN, the runtime (2.4 GB in the plan). Nothing here ran on
a card.

GB are 1e9 bytes. planned: weights, caches, gathered layers and the largest stage. done: what the run went through.
"""
TAIL = """\
What a stage holds beside weights and caches, GB, planned and asked for. encoders: the larger of both. Under `zero3` the
plan's gathered layers, the Thinker's, are part of both prefills.
"""


def planned_memory(result: Mapping[str, Any]) -> MemoryPlan:
    """What `plan` says of a dry run's model and work."""
    planned = Planned(plan_config("instruct"), find_hardware("910b2"), "bfloat16", True, result["quantize"])
    return plan_memory(planned, Workload(**WORK), result["mode"], result["cards"])


def inside(plan: MemoryPlan) -> float:
    """Bytes of a plan that MindSpore's allocator gives out."""
    return plan.total - plan.reserved - _outside(plan)


def _outside(plan: MemoryPlan) -> float:
    """HCCL's buffers."""
    return find_hardware("910b2").collective_bytes if plan.cards > 1 else 0.0


def asked(result: Mapping[str, Any]) -> int:
    return max(result["peaks"].values())


def stage_pairs(result: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """By stage what it holds of its own: planned and asked for."""
    plan = planned_memory(result)
    found = {}
    for stage, names in STAGES.items():
        if stage not in result["peaks"]:
            continue
        own = max(plan.stages[name] for name in names)
        if stage.endswith("_prefill"):
            own += plan.buffers - _outside(plan)
        found[stage] = (own, result["peaks"][stage] - result["loaded"] - result["caches"][stage])
    return found


def as_markdown(results: list[dict[str, Any]]) -> str:
    tokens = planned_memory(results[0]).prompt_tokens
    columns = (
        "parallel", "cards", "`--quantize`", "weights", "loaded", "planned", "asked for at most", "plan is off by",
        "done",
    )  # fmt: skip
    lines = [HEAD.format(tokens=tokens), _line(columns), _line(("---",) * len(columns))]
    for result in results:
        plan = planned_memory(result)
        sizes = (plan.weight_bytes, result["loaded"], inside(plan), asked(result))
        off = f"{100 * (inside(plan) / asked(result) - 1):+.1f} %"
        lines.append(_line((*_case(result), *map(_gb, sizes), off, _done(result))))
    lines += ["", TAIL, _line((*columns[:3], *STAGES)), _line(("---",) * (3 + len(STAGES)))]
    for result in results:
        pairs = stage_pairs(result)
        cells = (f"{_gb(pairs[stage][0])}, {_gb(pairs[stage][1])}" if stage in pairs else "-" for stage in STAGES)
        lines.append(_line((*_case(result), *cells)))
    return "\n".join(lines) + "\n"


def _case(result: Mapping[str, Any]) -> tuple[str, str, str]:
    return result["mode"], str(result["cards"]), result["quantize"]


def _done(result: Mapping[str, Any]) -> str:
    return ", ".join(name for stage, name in DONE.items() if stage in result["peaks"])


def _gb(size: float) -> str:
    return f"{size / GB:.2f}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def run(mode: str, cards: int, quantize: str, tokens: int, frames: int) -> dict[str, Any]:
    """One dry run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        words = [str(Path(__file__).parent / "dry_run.py"), str(out), mode]
        words += ["--quantize", quantize, "--tokens", str(tokens), "--frames", str(frames)]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": paths, "MS_SIMULATION_LEVEL": "1"}
        if cards > 1:
            environment |= {"RANK_SIZE": str(cards), "RANK_ID": "0"}
        line = ["bash", str(ROOT / "launch/emulated.sh"), "python", *words]
        done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode or not out.is_file():
            raise SystemExit(f"{mode}, {cards} cards: exit {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
        return json.loads(out.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="", help="MODE:CARDS or MODE:CARDS:QUANTIZE, with commas between")
    parser.add_argument("--tokens", type=int, default=2)
    parser.add_argument("--frames", type=int, default=1)
    arguments = parser.parse_args()
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    results = {(result["mode"], result["cards"], result["quantize"]): result for result in found}
    for word in filter(None, arguments.run.split(",")):
        mode, cards, quantize = (*word.split(":"), "none")[:3]
        case = mode, int(cards), quantize
        results[case] = run(*case, arguments.tokens, arguments.frames)
        write(list(results.values()))
    write(list(results.values()))


def write(results: list[dict[str, Any]]) -> None:
    order = ("none", "ep", "tp", "zero3")
    results.sort(key=lambda result: (order.index(result["mode"]), result["cards"], result["quantize"]))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(as_markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
