"""Half precision over emulated operators: runs what docs/half-precision.md reports and writes its table of results.

    launch/emulated.sh python docs/benchmarks/half_precision.py FOLDER [held_out|speech|references|states ...]
    python docs/benchmarks/half_precision.py FOLDER --table > docs/benchmarks/results-half-precision.md

The first takes hours on a busy machine and some tens of minutes on a quiet one. It keeps what it has in FOLDER and goes
on from there when called again. The second reads FOLDER, however much is in it, and says how much that is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
ASCEND = ROOT / "tests" / "ascend"
sys.path[:0] = [str(ASCEND), str(ROOT / "tests" / "reference"), str(ROOT)]
from half_cases import DTYPES, HELD_OUT, LAYER_CASES, decisions, layers, name_of  # noqa: E402
from half_compare import DECODERS, compare, first_flips  # noqa: E402

ACCEPT_LAYERS = {"tiny": 3, "wide": 2, "deep": 5, "built_in": 4}
CASES = json.loads(HELD_OUT.read_text(encoding="utf-8"))
NUMBERS = [str(number) for number in range(len(CASES))]
SPOKEN = NUMBERS[:: max(1, len(CASES) // 20)]
SPEECH_DTYPES = ("float32", *DTYPES)


def run(folder: Path, what: str, dtype: str, names: list[str]) -> None:
    program = "half_states.py" if what == "states" else "half_answers.py"
    suffix = "npz" if what == "states" else "json"
    arguments = names if what == "states" else [what, *names]
    paths = [str(ROOT), str(ASCEND), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    out = folder.resolve() / f"{what}-{dtype}.{suffix}"
    subprocess.run([sys.executable, str(ASCEND / program), dtype, str(out), *arguments], env=environment, check=False)


def run_all(folder: Path, whats: list[str]) -> None:
    jobs = {
        "held_out": [(dtype, NUMBERS) for dtype in DTYPES],
        "speech": [(dtype, SPOKEN) for dtype in SPEECH_DTYPES],
        "references": [("float16", list(decisions()))],
        "states": [(dtype, [name_of(case) for case in LAYER_CASES]) for dtype in DTYPES],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for what in whats or jobs:
        for dtype, names in jobs[what]:
            run(folder, what, dtype, names)


def read(folder: Path, what: str, dtype: str) -> dict[str, Any]:
    path = folder / f"{what}-{dtype}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def table(folder: Path) -> str:
    lines = ["# Half precision over emulated operators: results", ""]
    lines += ["Made by docs/benchmarks/half_precision.py; what it means: docs/half-precision.md.", ""]
    lines += ["| held-out conversations | run | of | as on a CPU | seconds each |", "|---|---|---|---|---|"]
    for dtype in DTYPES:
        made = read(folder, "held_out", dtype)
        same = sum(said["text"] == CASES[int(number)]["transformers"] for number, said in made.items())
        seconds = f"{np.median([said['seconds'] for said in made.values()]):.1f}" if made else "-"
        lines.append(f"| {dtype} | {len(made)} | {len(CASES)} | {same} | {seconds} |")
    lines += ["", "| own speech | answers | words | word error rate |", "|---|---|---|---|"]
    for dtype in SPEECH_DTYPES:
        made = read(folder, "speech", dtype)
        words, errors = (sum(said[key] for said in made.values()) for key in ("words", "errors"))
        rate = f"{errors / words:.3f}" if words else "-"
        lines.append(f"| {dtype} | {len(made)} of {len(SPOKEN)} | {words} | {rate} |")
    made = read(folder, "references", "float16")
    lines += ["", f"Reference conversations in float16: {len(made)} of {len(decisions())}. Choices that differ:", ""]
    lines += [f"- {name}: {said['different'] or 'none'}" for name, said in sorted(made.items())]
    for dtype in DTYPES:
        lines += ["", *_states(folder / f"states-{dtype}.npz", dtype)]
    return "\n".join(lines) + "\n"


def _states(path: Path, dtype: str) -> list[str]:
    """Error to float32 relative to torch's, by what was recorded."""
    if not path.exists():
        return [f"Hidden states in {dtype}: not run."]
    sums: dict[str, list[float]] = {}
    flips, names = [], []
    with np.load(path) as arrays:
        for case in LAYER_CASES:
            prefix = f"{name_of(case)}/"
            made = {key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)}
            if not made:
                continue
            recorded = layers(case)
            names.append(name_of(case))
            for name, errors in compare(
                made, recorded[dtype], recorded["float32"], ACCEPT_LAYERS[case.checkpoint]
            ).items():
                total = sums.setdefault(name, [0.0, 0.0, 0.0, 0.0])
                for place, value in enumerate((errors.ours, errors.torch, errors.rows, errors.others)):
                    total[place] += value
            for decoder in DECODERS:
                flips += [margin for _, _, margin in first_flips(made, recorded["float32"], decoder)]
    lines = [f"Hidden states in {dtype}: {', '.join(names)}.", ""]
    lines += ["| state | error, ours | torch's | ratio | rows | behind another expert |", "|---|---|---|---|---|---|"]
    for name, (ours, torch, rows, others) in sorted(sums.items()):
        if rows:
            ratio = f"{sqrt(ours / torch):.2f}" if torch else "-"
            errors = f"{sqrt(ours / rows):.2g} | {sqrt(torch / rows):.2g} | {ratio}"
            lines.append(f"| {name} | {errors} | {rows:.0f} | {others:.0f} |")
    most = f", float32's margin {max(flips):.4f} at most" if flips else ""
    return [*lines, "", f"Experts that fell otherwise with no other behind them: {len(flips)}{most}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", nargs="*")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        sys.stdout.write(table(options.folder))
    else:
        run_all(options.folder, options.what)


if __name__ == "__main__":
    main()
