"""The random checkpoints' reference conversations in float16 over emulated operators: every choice of an id or code
with the CPU's past, equal wherever the CPU's margin is above the rounding that torch's float16 shows.

Each choice that differs is found (half_answers.py); none is left out. The bounds are those of docs/half-precision.md.
"""

import pytest
from forced import talker_place
from half_cases import decisions, name_of
from half_runs import answers
from reference_cases import CASES

# Logits. Of the margins of the recorded choices in torch's float16, the largest difference from float32's:
# with the experts of float32, and with an expert that falls the other way by rounding, which changes the function.
ROUNDING = {"thinker": 0.93, "talker": 2.4, "predictor": 2.9}
FEW = ("deep-text",)
ALL = tuple(name_of(case) for case in CASES if name_of(case) in decisions())
SETS = [pytest.param(FEW, id="few"), pytest.param(ALL, id="all", marks=pytest.mark.long)]


def choices(name):
    """(stage, place) -> what chose, and float32's margin: stages and places as half_answers.py counts them."""
    stages = decisions()[name]
    found = {("thinker", i): ("thinker", margin) for i, margin in enumerate(stages["thinker"][0]["float32"])}
    if "talker" in stages:
        num_groups = len(stages["predictor"][0]["ids"]) + 1
        first, frames = stages["talker"][0]["float32"], stages["predictor"]
        found |= {("talker", talker_place(f, 0, num_groups)): ("talker", margin) for f, margin in enumerate(first)}
        for f, call in enumerate(frames):
            for i, margin in enumerate(call["float32"], start=1):
                found["talker", talker_place(f, i, num_groups)] = ("predictor", margin)
    return found


@pytest.mark.parametrize("names", SETS)
def test_choices_are_the_cpus_wherever_it_was_sure(names):
    made = answers("float16", "references", names)
    wrong, compared, sure, different = [], 0, 0, 0
    for name in names:
        margins = choices(name)
        assert made[name]["tokens"] == sum(stage == "thinker" for stage, _ in margins)
        compared += len(margins)
        sure += sum(margin > ROUNDING[kind] for kind, margin in margins.values())
        for stage, place, wanted, got in made[name]["different"]:
            kind, margin = margins[stage, place]
            different += 1
            if margin > ROUNDING[kind]:
                wrong.append((name, kind, place, wanted, got, margin))
    print(f"{compared} choices, {sure} above the rounding, {different} different")
    assert not wrong
    assert different <= 0.03 * compared + 2  # torch's own float16: 38 of 2718
