"""Counts on the emulator what decoding, prefill, encoders and Code2Wav take, for every way to share a model: writes
ms_omni/assets/launch_counts.json, which `plan` reads, and docs/benchmarks/launch-counts.md.

    python tests/ascend/count_launches.py [--modes none,ep,tp,zero3] [--quantize none,int8,int8-dynamic] [--whole none]

Three small checkpoints of few layers tell what is fixed and what each layer adds, exactly: nothing else depends on the
number of layers. --whole counts the released number of layers too, without 8-bit weights, and notes what is not as
these foretell. Needs what launch/emulated.sh needs; minutes a way and precision, and some more for each of --whole.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from count_page import as_markdown
from counted_units import COUNTED_QUANTIZE, RELEASED_LAYERS, UNITS, gauge_of
from counting import SEVERAL

from ms_omni.parallel.msrun import free_port
from ms_omni.planning.counted import COUNTS_FILE, GAUGES, LaunchCounts

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/benchmarks/launch-counts.md"
WAYS = ("greedy", "sampled")
FEW = {"thinker": 1, "talker": 1, "predictor": 1, "code2wav": 1, "vision": 3, "audio": 1}
# One layer more of everything but the code predictor, which shares a graph with the Talker
MORE = {name: count + (name != "predictor") for name, count in FEW.items()}
MORE_PREDICTOR = {**FEW, "predictor": FEW["predictor"] + 1}
RANKS = {"none": 1, "ep": 2, "tp": 2, "zero3": 2}
DTYPE = "bfloat16"
ROWS = (1, 2, 8, 32)  # that must launch as much

Run = dict[str, Any]
SEVERAL_ROWS = {"thinker": (SEVERAL,), "talker": ()}


def small_runs(mode: str, quantize: str = "none") -> list[Run]:
    """From which the table of a mode is made. Sampling is counted on one card alone, all numbers of rows there without
    8-bit weights."""
    ways = WAYS if mode == "none" else WAYS[:1]
    rows = {"thinker": ROWS, "talker": ROWS[1:]} if mode == quantize == "none" else SEVERAL_ROWS
    return [
        {"mode": mode, "quantize": quantize, "layers": layers, "ways": ways, "rows": rows}
        for layers, ways, rows in (
            (FEW, ways, rows),
            (MORE, WAYS[:1], SEVERAL_ROWS),
            (MORE_PREDICTOR, WAYS[:1], SEVERAL_ROWS),
        )
    ]


def count(runs: Sequence[Run], ranks: int) -> list[Run]:
    """The runs with what rank 0 counted, as counting.py writes them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts.json"
        words = [str(Path(__file__).parent / "counting.py"), str(out), DTYPE, *map(json.dumps, runs)]
        if ranks == 1:
            words = ["python", *words]
        else:
            size = f"--worker_num={ranks}", f"--local_worker_num={ranks}"
            words = ["msrun", *size, f"--master_port={free_port()}", "--join=True", f"--log_dir={folder}/logs", *words]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": paths}
        line = ["bash", str(ROOT / "launch/emulated.sh"), *words]
        done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
        found = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else []
        if done.returncode or len(found) < len(runs):
            logs = "".join(path.read_text()[-3000:] for path in Path(folder).glob("logs/worker_*.log"))
            raise SystemExit(f"counting: exit {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}\n{logs}")
        return found


def summed(counted: Mapping[str, int]) -> dict[str, int]:
    """What was counted under each name, by gauge; names of no gauge are left out."""
    found = dict.fromkeys(GAUGES, 0)
    for name, times in counted.items():
        if (gauge := gauge_of(name)) is not None:
            found[gauge] += times
    return found


def fitted(runs: Sequence[Run], one_card: Mapping[str, Any] | None = None) -> dict[str, dict[str, dict[str, int]]]:
    """By unit and gauge: "fixed", and by part what each of its layers adds. runs: of small_runs, counted. one_card: the
    same of one card, where sampling was counted; it adds as much to a greedy choice here."""
    few, more, more_predictor = (run["counts"] for run in runs)
    table: dict[str, dict[str, dict[str, int]]] = {}
    for unit, parts in UNITS.items():
        greedy = unit.replace("_sampled", "_greedy")
        is_counted = unit in few
        base, less = summed(few[unit if is_counted else greedy]), summed(few[greedy])
        table[unit] = {}
        for gauge in GAUGES:
            row = {}
            for part in parts:
                other = more_predictor if part == "predictor" else more
                row[part] = summed(other[greedy])[gauge] - less[gauge]
            row["fixed"] = base[gauge] - sum(each * FEW[part] for part, each in row.items())
            if not is_counted and one_card is not None:
                row["fixed"] += _fixed(one_card, unit, gauge) - _fixed(one_card, greedy, gauge)
            if any(row.values()):
                table[unit][gauge] = row
    return table


def _fixed(table: Mapping[str, Any], unit: str, gauge: str) -> int:
    return table[unit].get(gauge, {}).get("fixed", 0)


def by_rows(run: Run) -> dict[str, dict[str, dict[str, int]]]:
    """By decoder and way of picking, then by the number of rows, the gauges of a step, in `run`'s few layers."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for kind in ("thinker", "talker"):
        for way in WAYS:
            steps = {rows: run["counts"].get(f"rows {rows} {kind} {way}") for rows in ROWS}
            if kind == "talker":  # of one row a conversation's own
                steps[1] = run["counts"][f"talker_frame_{way}"]
            found[f"{kind} {way}"] = {str(rows): summed(counted) for rows, counted in steps.items() if counted}
    return found


def layer_operators(runs: Sequence[Run]) -> dict[str, int]:
    """The launches that a Thinker layer adds to a call, by kind and name."""
    few, more, _ = (run["counts"]["thinker_call_greedy"] for run in runs)
    added = {name: more[name] - few.get(name, 0) for name in more if gauge_of(name) in ("aclnn", "aclop", "internal")}
    return {name: times for name, times in sorted(added.items()) if times}


def differences(counts: LaunchCounts, run: Run) -> list[str]:
    """Where a run's counts are not those of the table, in words."""
    mode, quantize = run["mode"], run["quantize"]
    found = []
    for unit in filter(run["counts"].__contains__, UNITS):
        for gauge, counted in summed(run["counts"][unit]).items():
            if counted != (said := counts.gauge(mode, unit, gauge, run["layers"], quantize)):
                found.append(f"{mode} {unit} {gauge}: {counted} counted, {said} by the table")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", default="none,ep,tp,zero3")
    parser.add_argument("--quantize", default=",".join(COUNTED_QUANTIZE))
    parser.add_argument("--whole", default="", help="ways that are counted with the released number of layers too")
    arguments = parser.parse_args()
    import mindspore as ms

    document = json.loads(COUNTS_FILE.read_text(encoding="utf-8")) if COUNTS_FILE.is_file() else {"ways": {}}
    document |= {
        "mindspore": ms.__version__,
        "counted_on": "MindSpore's Ascend backend over emulated operators: an Ascend910B2, a host of 32 cores",
        "dtype": DTYPE,
        "ranks": RANKS,
    }
    for quantize in COUNTED_QUANTIZE[1:]:
        document.setdefault("quantized", {}).setdefault(quantize, {})
    modes = arguments.modes.split(",")
    for quantize in filter(None, arguments.quantize.split(",")):
        for ranks in sorted({RANKS[mode] for mode in modes}):
            add_ways(document, [mode for mode in modes if RANKS[mode] == ranks], ranks, quantize)
    for mode in filter(None, arguments.whole.split(",")):
        (run,) = count([{**small_runs(mode)[1], "layers": RELEASED_LAYERS}], RANKS[mode])
        document["ways"][mode]["whole"] = differences(LaunchCounts(document), run)
        write(document)
        print(f"{mode}: the released number of layers counted; not as foretold:", document["ways"][mode]["whole"])


def add_ways(document: dict[str, Any], modes: Sequence[str], ranks: int, quantize: str) -> None:
    """Counts `modes`, all of so many ranks, and writes what was found."""
    ways = LaunchCounts(document).ways(quantize)
    found = count([run for mode in modes for run in small_runs(mode, quantize)], ranks)
    for mode in modes:
        runs = [run for run in found if run["mode"] == mode]
        ways[mode] = {
            "units": fitted(runs, None if mode == "none" else ways["none"]["units"]),
            "thinker_layer": layer_operators(runs),
            "rows": by_rows(runs[0]) if mode == quantize == "none" else None,
            "whole": None,  # or the differences that were found with the released number of layers
        }
        write(document)
        print(f"{mode}, {quantize}: counted", flush=True)


def write(document: dict[str, Any]) -> None:
    COUNTS_FILE.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(as_markdown(document), encoding="utf-8")


if __name__ == "__main__":
    main()
