"""Measuring as several processes that share a model, under msrun."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "parallel"))
from rank_measure import LATE_S
from ranks import run_ranks

THINKER_LAYERS, TALKER_LAYERS = 4, 2


@pytest.mark.long
def test_every_rank_measures_and_the_slowest_counts(tiny_dir, tmp_path):
    program = Path(__file__).with_name("rank_measure.py")
    reports = run_ranks(program, tmp_path, tiny_dir, "fused:ep", "fused:zero3")
    assert [report["skipped"] for report in reports] == [{}, {}]
    for ours, theirs in zip(*(report["runs"] for report in reports), strict=True):
        assert ours["repeats"] == theirs["repeats"] and ours["ranks"] == theirs["ranks"]
    for run in reports[0]["runs"]:
        assert (run["cards"], run["group_size"], run["answer_digest"]) == (2, 2, reports[1]["runs"][0]["answer_digest"])
        early, late = run["ranks"]
        assert late["skew_s"] == 0 and abs(early["skew_s"] - LATE_S) < LATE_S / 2
        assert run["figures"]["wall_s"]["median"] == late["wall_s"]
    ep, zero3 = reports[0]["runs"]
    # One sum a layer, and the token that rank 0 has picked
    assert (ep["per_token"]["all_reduce"], ep["per_token"]["broadcast"]) == (THINKER_LAYERS, 1)
    assert ep["per_token"]["collectives"] == THINKER_LAYERS + 1
    assert ep["per_frame"]["all_reduce"] == TALKER_LAYERS
    assert zero3["per_token"]["all_gather"] <= 3 * THINKER_LAYERS
    assert zero3["per_token"]["collective_bytes"] > ep["per_token"]["collective_bytes"]
