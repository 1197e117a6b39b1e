"""The counts of ms_omni/assets/launch_counts.json as a page of tables: docs/benchmarks/launch-counts.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from counted_units import COUNTED_QUANTIZE, RELEASED_LAYERS, UNITS
from counting import SEVERAL

from ms_omni.limits import TOKENS_PER_CALL
from ms_omni.planning.counted import GAUGES, LAUNCHES, LaunchCounts

HEAD = """\
# What a token, a frame and a piece take on a card: counts

Made by `python tests/ascend/count_launches.py`; `ms-omni plan` reads the same figures
(`ms_omni/assets/launch_counts.json`).

{source}, {dtype}. Counts are of the host's calls; no time was measured, and CANN itself may do more for one of them.
Ways that share a model: rank 0 of two.

Each count is `fixed + layers x per layer`: three checkpoints of one to four layers with small widths tell both. {whole}
Widths matter only where an operator is chosen by them: head sizes and the numbers of chosen experts are as released.

| unit | what it is |
|---|---|
| thinker call | {tokens} tokens of one conversation by as many calls of a graph; greedy, or temperature, top-k, top-p |
| thinker rows | the next token of each of {several} conversations: one call of a graph |
| talker frame | one call of the Talker's graph: its step and 16 of the code predictor; greedy, or sampled as released |
| chunk | one chunk of a prompt through all layers, eagerly; later: with chunks before it |
| code2wav piece | frames to sound, eagerly; the first has no context |
| audio encoder | a sound of 1 s or 10 s (two attention windows) |
| vision encoder | one picture, three deepstack levels |

aclnn: CANN's operators with a call of their own. internal: MindSpore's internal kernels, in graphs only. legacy:
operators that are compiled for their shapes (aclop), which cost more than the others and stop launch capture.
"""
QUANTIZED = """\
## 8-bit weights

Counted likewise with `--quantize int8` and `int8-dynamic`, sampling on one card again. "launches" are aclnn, internal
and legacy together. Encoders and Code2Wav {same}. In graphs MindSpore makes one
operator (MultiWeightMatmul) of a float product of q, k and v and of its split, and none of one in 8 bits.
"""
COLUMNS = ("aclnn", "internal", "legacy", "waits", "host to card", "card to host", "on the card", "collectives")
TITLES = {"none": "One card", "ep": "`--parallel ep`", "tp": "`--parallel tp`", "zero3": "`--parallel zero3`"}


def as_markdown(document: Mapping[str, Any]) -> str:
    counts = LaunchCounts(document)
    source = counts.source[0].upper() + counts.source[1:]
    head = HEAD.format(
        source=source, dtype=document["dtype"], tokens=TOKENS_PER_CALL, several=SEVERAL, whole=_checks(document["ways"])
    )
    blocks = [head, *(_way(counts, mode) for mode in TITLES if mode in document["ways"])]
    if "none" in document["ways"]:
        blocks.append(_rows(document["ways"]["none"]["rows"]))
        blocks.append(_operators(document["ways"]["none"]["thinker_layer"]))
    blocks += _quantized(counts)
    return "\n".join(blocks)


def _checks(ways: Mapping[str, Any]) -> str:
    """What was counted with the released number of layers, in sentences."""
    checked = {mode: way["whole"] for mode, way in ways.items() if way["whole"] is not None}
    if not checked:
        return "The released number of layers was not counted."
    found = [f"{mode}: {'; '.join(wrong) or 'all as foretold'}." for mode, wrong in checked.items()]
    return "With the released number of layers, greedy, the counts are these but for: " + " ".join(found)


def _way(counts: LaunchCounts, mode: str) -> str:
    layers = ", ".join(f"{part} {count}" for part, count in RELEASED_LAYERS.items())
    lines = [f"## {TITLES[mode]}", "", f"Together, with the released number of layers ({layers}):", ""]
    lines += _table(("unit", *COLUMNS), _totals(counts, mode))
    lines += ["", "Of these, fixed and for each layer:", ""]
    lines += _table(("unit", "part", *COLUMNS), _parts(counts, mode))
    return "\n".join(lines) + "\n"


def _totals(counts: LaunchCounts, mode: str) -> Iterator[tuple[str, ...]]:
    for unit in UNITS:
        yield (unit.replace("_", " "), *(str(counts.gauge(mode, unit, gauge, RELEASED_LAYERS)) for gauge in GAUGES))


def _parts(counts: LaunchCounts, mode: str) -> Iterator[tuple[str, ...]]:
    for unit, parts in UNITS.items():
        rows = counts.document["ways"][mode]["units"][unit]
        for part in ("fixed", *parts):
            name = "fixed" if part == "fixed" else f"{part} layer"
            yield (unit.replace("_", " "), name, *(str(rows.get(gauge, {}).get(part, 0)) for gauge in GAUGES))


def _rows(counted: Mapping[str, Any]) -> str:
    """A step of so many conversations, fewest first."""
    rows = [
        (name, count, *(str(steps[count][gauge]) for gauge in GAUGES))
        for name, steps in sorted(counted.items())
        for count in sorted(steps, key=int)
    ]
    lines = ["## Rows of a step, one card, a checkpoint of one layer of each decoder", ""]
    return "\n".join(lines + _table(("step", "rows", *COLUMNS), rows)) + "\n"


def _operators(added: Mapping[str, int], title: str = "## A Thinker layer, one token, one card") -> str:
    """What a Thinker layer launches for one token, one card."""
    rows = [(*name.split(" ", 1), f"{times / TOKENS_PER_CALL:g}") for name, times in added.items()]
    total = sum(added.values()) / TOKENS_PER_CALL
    lines = [f"{title}: {total:g} launches", ""]
    lines += _table(("kind", "operator", "launches"), rows)
    return "\n".join(lines) + "\n"


def _quantized(counts: LaunchCounts) -> Iterator[str]:
    """8-bit weights: steps of both decoders in every precision, the layers' shares, and a Thinker layer's operators."""
    precisions = [each for each in COUNTED_QUANTIZE if counts.ways(each)]
    if len(precisions) < 2:
        return
    same = [unit for unit in UNITS if not unit.startswith(("thinker", "talker"))]
    yield QUANTIZED.format(same=_same(counts, precisions, same))
    for mode in TITLES:
        counted = [each for each in precisions if mode in counts.ways(each)]
        columns = ("unit", "`--quantize`", "launches", "of these for each layer", *COLUMNS)
        lines = [f"### {TITLES[mode]}", "", *_table(columns, _steps(counts, mode, counted))]
        yield "\n".join(lines) + "\n"
    for each in precisions[1:]:
        title = f"### A Thinker layer, one token, one card, {each}"
        yield _operators(counts.ways(each)["none"]["thinker_layer"], title)


def _steps(counts: LaunchCounts, mode: str, precisions: list[str]) -> Iterator[tuple[str, ...]]:
    """launches: with the released number of layers."""
    for unit, parts in UNITS.items():
        if not unit.startswith(("thinker", "talker")):
            continue
        for each in precisions:
            gauges = [counts.gauge(mode, unit, gauge, RELEASED_LAYERS, each) for gauge in GAUGES]
            rows = counts.ways(each)[mode]["units"][unit]
            shares = (f"{part} {sum(rows.get(kind, {}).get(part, 0) for kind in LAUNCHES)}" for part in parts)
            total = str(sum(gauges[: len(LAUNCHES)]))
            yield (unit.replace("_", " "), each, total, ", ".join(shares), *map(str, gauges))


def _same(counts: LaunchCounts, precisions: list[str], units: list[str]) -> str:
    """Whether encoders and Code2Wav, which have no 8-bit weights, take the same in every precision, as they should."""
    differing = [
        f"{mode} {unit} {each}"
        for each in precisions[1:]
        for mode, way in counts.ways(each).items()
        for unit in units
        if way["units"][unit] != counts.ways()[mode]["units"][unit]
    ]
    return "take the same in all of them" if not differing else f"differ: {', '.join(differing)}"


def _table(columns: tuple[str, ...], rows: Any) -> list[str]:
    return [_line(columns), _line(("---",) * len(columns)), *(_line(row) for row in rows)]


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
