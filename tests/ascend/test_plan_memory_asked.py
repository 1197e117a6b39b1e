"""`plan`'s memory of the released model against what MindSpore's allocator asked for in dry runs."""

import json

import pytest
from plan_memory import PAGE, RESULTS, as_markdown, asked, inside, planned_memory, run, stage_pairs

FOUND = json.loads(RESULTS.read_text(encoding="utf-8"))
MOST_OFF = 0.10


@pytest.mark.parametrize("result", FOUND, ids=lambda result: f"{result['mode']}-{result['cards']}-{result['quantize']}")
def test_the_plan_is_within_a_tenth(result):
    plan = planned_memory(result)
    assert result["loaded"] == pytest.approx(plan.weight_bytes, rel=0.01)
    assert inside(plan) == pytest.approx(asked(result), rel=MOST_OFF)
    assert all(own > 0 for pair in stage_pairs(result).values() for own in pair)


def test_a_stage_is_not_planned_a_tenth_of_a_gigabyte_too_small():
    for result in FOUND:
        for stage, (planned, own) in stage_pairs(result).items():
            assert own <= planned + 0.1e9, (result["mode"], result["cards"], stage)


def test_the_page_shows_what_plan_says_now():
    assert PAGE.read_text(encoding="utf-8") == as_markdown(FOUND)


@pytest.mark.long
def test_a_dry_run_of_the_released_sizes_as_it_was():
    case = "zero3", 2, "none"
    before = next(result for result in FOUND if (result["mode"], result["cards"], result["quantize"]) == case)
    again = run(*case, tokens=1, frames=1)
    assert again["loaded"] == pytest.approx(before["loaded"], rel=0.001)
    assert again["peaks"]["thinker_prefill"] == pytest.approx(before["peaks"]["thinker_prefill"], rel=0.01)
    assert again["host_gb"] < 5
