"""The built-in model in half precision over emulated operators: held-out conversations answered word by word as on a
CPU, and its own speech understood."""

import json

import pytest
from half_cases import DTYPES, HELD_OUT, held_out_answers
from half_runs import answers

CASES = json.loads(HELD_OUT.read_text(encoding="utf-8"))
# Picture, sound, both with a film; two pictures, question asked aloud, film with sound
FEW = {"bfloat16": ("0", "9", "36"), "float16": ("6", "28", "33")}
SPOKEN = tuple(str(number) for number in range(0, len(CASES), max(1, len(CASES) // 20)))  # as on the CPU
MOST_WRONG = 0.02
MOST_WORSE = 0.01  # word error rate beyond the CPU's


def different(dtype, numbers):
    made = answers(dtype, "held_out", numbers)
    return [(int(n), made[n]["text"], CASES[int(n)]["transformers"]) for n in numbers
            if made[n]["text"] != CASES[int(n)]["transformers"]]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_in_half_precision_answers_as_in_float32(dtype):
    """So that the demand on the next tests is a fair one."""
    assert held_out_answers()[dtype] == [case["transformers"] for case in CASES]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_some_answers_are_the_cpus(dtype):
    assert different(dtype, FEW[dtype]) == []


@pytest.mark.long
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_but_a_fiftieth_are_the_cpus(dtype):
    wrong = different(dtype, tuple(str(number) for number in range(len(CASES))))
    assert len(wrong) <= MOST_WRONG * len(CASES), wrong


def word_error_rate(dtype):
    made = answers(dtype, "speech", SPOKEN)
    words = sum(said["words"] for said in made.values())
    assert len(made) == len(SPOKEN) and words > 80
    return sum(said["errors"] for said in made.values()) / words


@pytest.mark.long
@pytest.mark.parametrize("dtype", DTYPES)
def test_its_own_speech_is_understood_as_on_the_cpu(dtype):
    assert word_error_rate(dtype) <= word_error_rate("float32") + MOST_WORSE


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_spoken_word_is_understood(dtype):
    said = answers(dtype, "speech", ("12",))["12"]
    assert said["said"] == "I hear the word boat."
    assert said["errors"] == 0, said
    assert 0.02 < said["rms"] < 0.3
