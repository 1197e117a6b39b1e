"""What a step of several conversations launches on the emulated card: as much as one conversation's, and nothing that
is compiled for its shapes; and what is left to the host where launches are captured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from card_ranks import run_card_ranks
from count_launches import FEW, ROWS, summed
from counting import Spans, count_rows, gauges, write_checkpoint

from ms_omni.planning.counted import LAUNCHES, PACKING, launch_counts

MOST_OF_A_LAYER = 22
CAPTURED_ROWS = "1,2,4,8"
# Two projections and SwiGLU; the gate's projection, its sigmoid, product and sum
OF_A_SHARED_EXPERT = 7


@pytest.fixture(autouse=True)
def unwatched(monkeypatch):
    """What Spans put into classes goes with the test."""
    from ms_omni.runtime.fused_talker import FusedTalker
    from ms_omni.runtime.fused_thinker import FusedThinker

    for owner in (FusedThinker, FusedTalker):
        monkeypatch.setattr(owner, "_decoded", owner._decoded)


def steps(folder, layers, rows, ways):
    """The launches of the steps, by kind and name, by "rows N thinker greedy" and the like."""
    from ms_omni import OmniEngine

    write_checkpoint(layers, "bfloat16", folder)
    spans = Spans(gauges)
    spans.watch_decoding()
    settings = {"device": "Ascend", "dtype": "bfloat16", "max_num_seqs": 1, "with_talker": bool(rows["talker"])}
    with OmniEngine.from_pretrained(folder, **settings) as engine:
        count_rows(engine.executor, spans, ways, rows)
    return dict(spans.last)  # spans of another engine count on


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decoder", "quantize"),
    [
        ("thinker", "none"),
        ("talker", "none"),
        pytest.param("thinker", "int8", marks=pytest.mark.long),
        pytest.param("talker", "int8", marks=pytest.mark.long),
        pytest.param("thinker", "int8-dynamic", marks=pytest.mark.long),
        pytest.param("talker", "int8-dynamic", marks=pytest.mark.long),
    ],
)
def test_captured_answers(tmp_path, decoder, quantize):
    program = [sys.executable, str(Path(__file__).with_name("captured_answers.py")), str(tmp_path), decoder, "none"]
    line = [*program, quantize, CAPTURED_ROWS]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    check_captured(json.loads((tmp_path / "rank_0.json").read_text()), decoder, "none", quantize)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "decoder"),
    [
        ("ep", "thinker"),
        pytest.param("tp", "thinker", marks=pytest.mark.long),
        pytest.param("ep", "talker", marks=pytest.mark.long),
        pytest.param("tp", "talker", marks=pytest.mark.long),
    ],
)
def test_captured_answers_of_two_cards(tmp_path, monkeypatch, mode, decoder):
    """On every rank, with work that runs as late as it may."""
    monkeypatch.setenv("EMULATED_LATE", "1")
    made = run_card_ranks("captured_answers.py", tmp_path, decoder, mode, "none", CAPTURED_ROWS, cards=2)
    for rank, report in enumerate(made):
        assert report["captured"] == made[0]["captured"]
        check_captured(report, decoder, mode, rank=rank)


def check_captured(made, decoder, mode, quantize="none", rank=0):
    """The ids and codes are those without capture, and of a step what `plan` says of captured launches is left to the
    host: a replay and an attention a layer, and two calls for each collective, it and the replay that it cuts off."""
    assert made["captured"] == made["plain"]
    assert all(ids and (decoder == "thinker" or codes[0]) for found in made["plain"].values() for ids, codes in found)
    assert set(made["steps"]) == set(made["captured"]) == set(CAPTURED_ROWS.split(","))
    unit, packing = ("thinker_rows_sampled", 0) if decoder == "thinker" else ("talker_frame_sampled", PACKING)
    layers = made["layers"][decoder]
    said = launch_counts().work(mode, unit, made["layers"], quantize=quantize).captured(layers, packing)
    # Counts are rank 0's, which alone adds the Talker's shared experts under ep
    is_without_shared = mode == "ep" and decoder == "talker" and rank > 0
    expected = said.replayed - (OF_A_SHARED_EXPERT * layers if is_without_shared else 0)
    for counted in made["steps"].values():
        assert counted["internal PagedAttention"] == layers
        sums = summed(counted)
        assert (sum(sums[kind] for kind in LAUNCHES), sums["collectives"]) == (said.launches, said.collectives)
        assert counted["capture execute"] == said.replays == layers + said.collectives + 1
        replayed = sum(times for name, times in counted.items() if name.startswith("replayed "))
        assert replayed == expected > 15 * layers, rank


def test_a_layer(ascend, tmp_path):
    """The difference of three layers and one."""
    rows = {"thinker": (8,), "talker": ()}
    one, three = (steps(tmp_path / str(layers), {**FEW, "thinker": layers}, rows, ["greedy"]) for layers in (1, 3))
    sums = [summed(found["rows 8 thinker greedy"]) for found in (one, three)]
    fewer, more = (sum(found[kind] for kind in LAUNCHES) for found in sums)
    assert 0 < (more - fewer) / 2 <= MOST_OF_A_LAYER
