"""What a step of several conversations launches on the emulated card: as much as one conversation's, and nothing that is
compiled for its shapes."""

from pathlib import Path

import pytest
from count_launches import FEW, ROWS, summed
from counting import Spans, count_rows, gauges, write_checkpoint

from ms_omni.planning.counted import LAUNCHES

MOST_OF_A_LAYER = 22


def steps(folder, layers, rows, ways):
    """The launches of the steps, by kind and name, by "rows N thinker greedy" and the like."""
    from ms_omni import OmniEngine

    write_checkpoint(layers, "bfloat16", folder)
    spans = Spans(gauges)
    with OmniEngine.from_pretrained(
        folder, device="Ascend", dtype="bfloat16", max_num_seqs=1, with_talker=bool(rows["talker"])
    ) as engine, spans.watching():
        count_rows(engine.executor, spans, ways, rows)
    return spans.last


def check(found, rows, ways):
    """Equal for all rows, and none legacy."""
    for kind, numbers in rows.items():
        for way in ways:
            counted = [summed(found[f"rows {number} {kind} {way}"]) for number in numbers]
            launches = [tuple(step[launch] for launch in LAUNCHES) for step in counted]
            assert len(set(launches)) == 1, (kind, way, launches)
            assert counted[0]["aclop"] == 0, (kind, way, found[f"rows {numbers[0]} {kind} {way}"])


def test_rows_of_a_step(ascend, tmp_path):
    rows = {"thinker": (1, 8), "talker": (1, 8)}
    check(steps(tmp_path, FEW, rows, ["sampled"]), rows, ["sampled"])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["greedy", "sampled"])
def test_as_many_rows_as_a_call_takes(ascend, tmp_path, way):
    rows = {"thinker": ROWS, "talker": ROWS}
    check(steps(tmp_path, FEW, rows, [way]), rows, [way])


def test_a_layer(ascend, tmp_path):
    """The difference of three layers and one."""
    rows = {"thinker": (8,), "talker": ()}
    one, three = (steps(tmp_path / str(layers), {**FEW, "thinker": layers}, rows, ["greedy"]) for layers in (1, 3))
    sums = [summed(found["rows 8 thinker greedy"]) for found in (one, three)]
    fewer, more = (sum(found[kind] for kind in LAUNCHES) for found in sums)
    assert 0 < (more - fewer) / 2 <= MOST_OF_A_LAYER
