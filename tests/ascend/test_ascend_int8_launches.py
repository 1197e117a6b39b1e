"""What a decoding step with 8-bit weights launches on the emulated card: every operator of a Thinker token and of a
Talker frame, and the dtypes that those of 8 bits are given."""

import itertools
from collections import Counter

import pytest
from count_launches import FEW
from counted_units import UNITS
from counting import write_checkpoint
from launch_record import recorded

from ms_omni.planning.counted import LAUNCHES, launch_counts

# ---- operators whose operands are int8, by precision: the dtypes of each argument ------------------------------------
WEIGHT_ONLY = {
    "aclnnWeightQuantBatchMatmulV2": {"x": "bfloat16", "weight": "int8", "antiquantScale": "bfloat16"},
    "aclnnGroupedMatmulV4": {
        "x": "bfloat16",
        "weight": "int8",
        "antiquantScaleOptional": "bfloat16",
        "antiquantOffsetOptional": "bfloat16",
        "groupListOptional": "int64",
    },
}
ROUNDED_ROWS = {
    "aclnnQuantMatmulV4": {"x1": "int8", "x2": "int8", "scale": "bfloat16", "pertokenScaleOptional": "float32"},
    "aclnnGroupedMatmulV4": {
        "x": "int8",
        "weight": "int8",
        "scaleOptional": "bfloat16",
        "perTokenScaleOptional": "float32",
        "groupListOptional": "int64",
    },
}
DTYPES = {"int8": WEIGHT_ONLY, "int8-dynamic": ROUNDED_ROWS}
# ---- a Thinker token: one layer with experts, then the head and a greedy choice --------------------------------------
LAYER = {
    "aclnnRmsNorm": 2,
    "aclnnSplitWithSize": 1,
    "aclnnRotaryPositionEmbedding": 2,
    "ReshapeAndCache": 1,
    "PagedAttention": 1,
    "AddRmsNorm": 2,
    "Matmul": 1,  # the router
    "aclnnMoeGatingTopKSoftmax": 1,
    "aclnnReduceSum": 1,
    "aclnnDiv": 1,
    "aclnnCast": 3,  # logits, counts, shares
    "aclnnGroupedMatmulV4": 2,
    "aclnnSwiGlu": 1,
    "aclnnMoeTokenUnpermute": 1,
}
OF_8_BITS = {
    "int8": {"aclnnWeightQuantBatchMatmulV2": 2, "aclnnMoeInitRoutingV2": 1},
    "int8-dynamic": {"aclnnDynamicQuant": 3, "aclnnQuantMatmulV4": 2, "aclnnMoeInitRoutingQuantV2": 1},
}
# The embedding, the first norm, angles, slots, the head, the choice
AROUND = {
    "Gather": 1,
    "aclnnRmsNorm": 1,
    "aclnnMul": 1,
    "aclnnCat": 1,
    "aclnnCos": 1,
    "aclnnSin": 1,
    "aclnnCast": 4,
    "aclnnSub": 2,
    "aclnnFloorDivides": 1,
    "aclnnGather": 1,
    "aclnnMuls": 1,
    "aclnnAdd": 1,
    "Matmul": 1,
    "aclnnArgMax": 1,
}
# ---- a greedy Talker frame of one layer of the Talker and one of the code predictor ----------------------------------
# Linear layers: the Talker's q-k-v, o, and the shared expert's two; in each of 16 steps of the code predictor four
LINEAR = 4 + 16 * 4 - 3  # without o and the network of the first step: its output is not asked for
FRAME = {
    "aclnnRmsNorm": 50,
    "aclnnCast": 39,
    "aclnnRotaryPositionEmbedding": 33,
    "aclnnCat": 33,
    "AddRmsNorm": 32,
    "aclnnMatmul": 30,
    "Matmul": 20,
    "Gather": 17,
    "aclnnSplitWithSize": 17,
    "aclnnSwiGlu": 17,
    "aclnnMuls": 16,
    "aclnnArgMax": 16,
    "aclnnSoftmax": 15,
    "aclnnAdd": 5,
    "aclnnMul": 4,
    "aclnnInplaceZero": 2,
    "aclnnSigmoid": 2,
    "aclnnReduceSum": 2,
    "aclnnSub": 2,
    "aclnnDiv": 2,
    "aclnnGroupedMatmulV4": 2,
    "aclnnSWhere": 2,
    "aclnnFloorDivides": 1,
    "aclnnGather": 1,
    "aclnnCos": 1,
    "aclnnSin": 1,
    "ReshapeAndCache": 1,
    "PagedAttention": 1,
    "aclnnMoeGatingTopKSoftmax": 1,
    "aclnnMoeTokenUnpermute": 1,
    "aclnnLtTensor": 1,
    "aclnnGtTensor": 1,
    "aclnnEqTensor": 1,
    "aclnnMaximum": 1,
}
FRAME_OF_8_BITS = {
    "int8": {"aclnnWeightQuantBatchMatmulV2": LINEAR, "aclnnMoeInitRoutingV2": 1},
    "int8-dynamic": {"aclnnDynamicQuant": LINEAR + 1, "aclnnQuantMatmulV4": LINEAR, "aclnnMoeInitRoutingQuantV2": 1},
}


@pytest.fixture(scope="module", params=["int8", "int8-dynamic"])
def steps(request, ascend, tmp_path_factory):
    """(precision, launches of a Thinker's step of 8 rows and of a Talker's frame of 8), greedy, compiled before."""
    from ms_omni import OmniEngine
    from ms_omni.runtime.sampling import GREEDY
    from ms_omni.runtime.talker_sampling import GREEDY_TALKER

    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(FEW, "bfloat16", folder)
    made = {}
    settings = {"device": "Ascend", "dtype": "bfloat16", "max_num_seqs": 1, "quantize": request.param}
    with OmniEngine.from_pretrained(folder, **settings) as engine:
        work = {"thinker": (engine.executor.thinker, GREEDY), "talker": (engine.executor.talker, GREEDY_TALKER)}
        for name, (decoder, sampling) in work.items():
            decoder.warm_up(8, sampling)
            with recorded() as made[name]:
                decoder.warm_up(8, sampling)
    return request.param, made


def test_a_thinker_token(steps):
    quantize, made = steps
    expected = Counter(LAYER) + Counter(OF_8_BITS[quantize]) + Counter(AROUND)
    assert Counter(launch.name for launch in made["thinker"]) == expected


def test_a_talker_frame(steps):
    quantize, made = steps
    assert Counter(launch.name for launch in made["talker"]) == Counter(FRAME) + Counter(FRAME_OF_8_BITS[quantize])


def test_dtypes_at_the_card(steps):
    """Of every operator that is given int8; and no weight of decoder layers goes into a product of floats."""
    quantize, made = steps
    found = {}
    for launch in made["thinker"] + made["talker"]:
        if "int8" in launch.dtypes.values():
            found.setdefault(launch.name, []).append(launch.dtypes)
    assert {name: each[0] for name, each in found.items()} == DTYPES[quantize]
    assert all(other == each[0] for each in found.values() for other in each)


# ---- what `plan` says of them ----------------------------------------------------------------------------------------
# More than with plain weights, of each layer and step: a split that is part of a plain product of q, k and v; and
# with int8-dynamic a rounding before each product of attention and of the dense or shared expert, and one between the
# experts' two (their first is part of the routing)
MORE = {
    "int8": {"thinker": 1, "talker": 1, "predictor": 16 * 1},
    "int8-dynamic": {"thinker": 1 + 3, "talker": 1 + 5, "predictor": 16 * (1 + 4)},
}
TAKEN_SCALES = 2  # zero3: of the chosen experts, taken beside their values


def of_each_layer(quantize, mode, unit, part):
    rows = launch_counts().ways(quantize)[mode]["units"][unit]
    return sum(rows.get(kind, {}).get(part, 0) for kind in LAUNCHES)


@pytest.mark.parametrize("quantize", MORE)
def test_the_table_has_the_layer_that_is_launched_here(quantize):
    layer = Counter(LAYER) + Counter(OF_8_BITS[quantize])
    assert of_each_layer(quantize, "none", "thinker_rows_greedy", "thinker") == layer.total()


@pytest.mark.parametrize("quantize", MORE)
def test_what_a_layer_takes_more_than_with_plain_weights(quantize):
    for mode, unit in itertools.product(launch_counts().ways(), ("thinker_rows_greedy", "talker_frame_sampled")):
        for part in UNITS[unit]:
            more = of_each_layer(quantize, mode, unit, part) - of_each_layer("none", mode, unit, part)
            has_experts = part != "predictor"
            expected = MORE[quantize][part] + (TAKEN_SCALES if mode == "zero3" and has_experts else 0)
            assert more == expected, (mode, unit, part)
