"""Half precision over emulated operators is as near to float32, layer by layer, as transformers' own half precision.

The recorded side is transformers 4.57.1 on torch (tests/reference/record_half.py); docs/half-precision.md says what is
compared and where the two differ in kind.
"""

from math import sqrt

import pytest
from half_cases import DTYPES, LAYER_CASES, layers, name_of
from half_compare import DECODERS, compare, first_flips
from half_runs import states

# The greatest margin, in float32 logits, of an expert that may fall the other way by rounding: about four steps of the
# dtype at the routers' logits, which are below 8.
CLOSE_EXPERTS = {"bfloat16": 0.125, "float16": 0.02}
# Root mean square error of one array of one conversation, and of all conversations together, relative to torch's own.
MOST_OF_ONE, MOST_OF_ALL = 1.7, 1.15
LEAST_VALUES = 4  # rows below which one array's ratio is chance
ACCEPT_LAYERS = {"tiny": 3, "wide": 2, "deep": 5, "built_in": 4}

FEW = {"bfloat16": ("tiny-red",), "float16": ("built_in-shapes",)}
ALL = tuple(name_of(case) for case in LAYER_CASES)
SETS = [
    pytest.param("bfloat16", FEW["bfloat16"], id="bfloat16-few"),
    pytest.param("float16", FEW["float16"], id="float16-few", marks=pytest.mark.long),
    *(pytest.param(dtype, ALL, id=f"{dtype}-all", marks=pytest.mark.long) for dtype in DTYPES),
]


def compared(dtype, names):
    """Conversation -> name -> Errors."""
    made = states(dtype, names)
    found = {}
    for case in (case for case in LAYER_CASES if name_of(case) in names):
        recorded = layers(case)
        accept = ACCEPT_LAYERS[case.checkpoint]
        found[name_of(case)] = compare(made[name_of(case)], recorded[dtype], recorded["float32"], accept)
    return found


@pytest.mark.parametrize(("dtype", "names"), SETS)
def test_every_layer_is_as_near_to_float32_as_torch_is(dtype, names):
    far = {}
    for conversation, arrays in compared(dtype, names).items():
        for name, errors in arrays.items():
            if errors.rows >= LEAST_VALUES and errors.ours > MOST_OF_ONE**2 * errors.torch:
                far[conversation, name] = sqrt(errors.ours), sqrt(errors.torch)
    assert not far, f"errors in {dtype}, ours and torch's: {far}"


@pytest.mark.parametrize(("dtype", "names"), SETS)
def test_all_conversations_together_are_nearer(dtype, names):
    parts = {}
    for arrays in compared(dtype, names).values():
        for name, errors in arrays.items():
            ours, torch, rows = parts.get(name.split(".")[0], (0.0, 0.0, 0))
            parts[name.split(".")[0]] = ours + errors.ours, torch + errors.torch, rows + errors.rows
    assert {"thinker", "talker", "predictor", "wave"} <= set(parts)
    far = {part: sums for part, sums in parts.items() if sums[0] > MOST_OF_ALL**2 * sums[1]}
    assert not far, f"squared errors in {dtype}, ours, torch's, and rows: {far}"
    assert parts["thinker"][2] > 20  # rows that were compared


@pytest.mark.parametrize(("dtype", "names"), SETS)
def test_experts_fall_otherwise_only_where_they_were_close(dtype, names):
    made = states(dtype, names)
    for case in (case for case in LAYER_CASES if name_of(case) in names):
        truth = layers(case)["float32"]
        for decoder in DECODERS:
            wide = [flip for flip in first_flips(made[name_of(case)], truth, decoder) if flip[2] > CLOSE_EXPERTS[dtype]]
            assert not wide, f"{name_of(case)} {decoder}: layer, token, margin {wide}"


@pytest.mark.parametrize(("dtype", "names"), [SETS[0], *SETS[2:]])
def test_the_sum_of_a_frames_codes_is_rounded_once(dtype, names):
    """Sixteen embeddings and the text: rounded at every step, the error was 1.5 to 1.8 times torch's."""
    made = states(dtype, names)
    ours = torch = 0.0
    for case in (case for case in LAYER_CASES if name_of(case) in names and case.checkpoint != "built_in"):
        recorded = layers(case)
        truth, frames = recorded["float32"]["talker.embeds"], recorded["float32"]["codes"].shape[1]
        ours += ((made[name_of(case)]["talker.embeds"] - truth)[-frames:] ** 2).sum()
        torch += ((recorded[dtype]["talker.embeds"] - truth)[-frames:] ** 2).sum()
    assert 0 < ours < 1.2**2 * torch
