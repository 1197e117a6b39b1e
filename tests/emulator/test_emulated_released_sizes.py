"""The limits at the sizes of Qwen3-Omni-30B-A3B, which the tiny model never reaches: what fits, and what does not.

Memory is asked for and never touched, so nothing is computed here.
"""

import numpy as np
import pytest
from ascend_emulator.device_tensor import BFLOAT16, FLOAT32, INT8, INT32, INT64, DeviceTensor
from emulated_calls import check, refused

FORMATS = {3: "NCL", 4: "NCHW", 5: "NCDHW"}
CARDS = ["Ascend910B2", "Ascend910_9392"]


def sized(*shape, dtype=BFLOAT16, name="x", form="ND"):
    return DeviceTensor(name, np.zeros(shape, dtype), form, 0, int(np.prod(shape)))


def attention(batch, rows, keys, heads, kv, dim, layout="BSND", mode=0, mask=None):
    def laid(length, count):
        shapes = {
            "BSND": (batch, length, count, dim),
            "BNSD": (batch, count, length, dim),
            "BSH": (batch, length, count * dim),
        }
        return sized(*shapes[layout])

    given = {
        "query": laid(rows, heads),
        "key": laid(keys, kv),
        "value": laid(keys, kv),
        "attentionOut": laid(rows, heads),
    }
    given |= {"numHeads": heads, "numKeyValueHeads": kv, "inputLayout": layout, "sparseMode": mode}
    check("aclnnPromptFlashAttentionV3", **given, attenMask=mask, preTokens=2147483647, nextTokens=2147483647)


TRIANGLE = sized(2048, 2048, dtype=bool)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("heads, kv", [(32, 4), (16, 2), (16, 8)])
def test_attention_of_the_decoders(monkeypatch, card, heads, kv):
    monkeypatch.setenv("EMULATED_SOC", card)
    for rows, keys in ((1, 1), (4097, 4097), (4096, 32768)):
        attention(1, rows, keys, heads, kv, 128, "BSH", 3, TRIANGLE)
    for capacity in (17, 512, 65536):
        attention(1, 1, capacity, heads, kv, 128, "BNSD", 0, sized(1, 1, 1, capacity, dtype=bool))


@pytest.mark.parametrize("card", CARDS)
def test_attention_of_the_encoders(monkeypatch, card):
    """Vision: 16 heads of 72; audio: 20 heads of 64, windows of 104; Code2Wav: 16 heads of 64."""
    monkeypatch.setenv("EMULATED_SOC", card)
    for heads, dim, rows in ((20, 64, 104), (16, 64, 372), (16, 80, 4096)):
        attention(200, rows, rows, heads, heads, dim, "BNSD")
    attention(128, 576, 576, 16, 16, 72, "BNSD")
    with refused("B 129, allowed with D 72: at most 128"):  # a video of 258 frames, unless D is padded to 80
        attention(129, 64, 64, 16, 16, 72, "BNSD")


@pytest.mark.parametrize("rows", [1, 4097])
@pytest.mark.parametrize("hidden, inner, experts, k", [(2048, 768, 128, 8), (1024, 384, 128, 6), (2048, 768, 16, 8)])
def test_experts(rows, hidden, inner, experts, k):
    total, chosen = rows * k, sized(rows, k, dtype=INT32)
    if experts == 128:
        weights = {"x": sized(rows, experts, dtype=FLOAT32), "yOut": sized(rows, k, dtype=FLOAT32)}
        check("aclnnMoeGatingTopKSoftmax", **weights, k=k, expertIdxOut=chosen, rowIdxOut=chosen)
    given = {"x": sized(rows, hidden), "expertIdx": chosen, "expertNum": experts, "expertTokensCountOrCumsumFlag": 2}
    given |= {"expandedXOut": sized(total, hidden), "expandedRowIdxOut": sized(total, dtype=INT32)}
    check("aclnnMoeInitRoutingV2", **given, expertTokensCountOrCumsumOut=sized(experts, dtype=INT32))
    for wide, out in ((hidden, 2 * inner), (inner, hidden)):
        product = {"x": [sized(total, wide)], "weight": [sized(experts, wide, out)], "out": [sized(total, out)]}
        check(
            "aclnnGroupedMatmulV4",
            **product,
            groupListOptional=sized(experts, dtype=INT64),
            splitItem=3,
            groupListType=1,
        )
    summed = {"permutedTokens": sized(total, hidden), "sortedIndices": sized(total, dtype=INT32)}
    check("aclnnMoeTokenUnpermute", **summed, probsOptional=sized(rows, k, dtype=FLOAT32), out=sized(rows, hidden))


@pytest.mark.parametrize("rows", [1, 4097])
@pytest.mark.parametrize("hidden, inner, experts, k", [(2048, 768, 128, 8), (1024, 384, 128, 6), (2048, 768, 16, 8)])
def test_experts_of_8_bit_weights(monkeypatch, rows, hidden, inner, experts, k):
    total = rows * k
    for card in CARDS:
        monkeypatch.setenv("EMULATED_SOC", card)
        given = {"x": sized(rows, hidden), "expertIdx": sized(rows, k, dtype=INT32), "expertNum": experts}
        given |= {"quantMode": 1, "expandedXOut": sized(total, hidden, dtype=INT8), "expertTokensCountOrCumsumFlag": 2}
        given |= {
            "expandedRowIdxOut": sized(total, dtype=INT32),
            "dynamicQuantScaleOutOptional": sized(total, dtype=FLOAT32),
        }
        counts = sized(experts, dtype=INT32)
        check("aclnnMoeInitRoutingQuantV2", **given, expertTokensCountOrCumsumOutOptional=counts)
        rounding(total, inner)
        for wide, out in ((hidden, 2 * inner), (inner, hidden)):
            product = {"weight": [sized(experts, wide, out, dtype=INT8)], "out": [sized(total, out)], "splitItem": 3}
            product |= {"groupListOptional": sized(experts, dtype=INT64), "groupListType": 1}
            each = [sized(experts, out)]
            check(
                "aclnnGroupedMatmulV4",
                **product,
                x=[sized(total, wide)],
                antiquantScaleOptional=each,
                antiquantOffsetOptional=each,
            )
            tokens = [sized(total, dtype=FLOAT32)]
            check(
                "aclnnGroupedMatmulV4",
                **product,
                x=[sized(total, wide, dtype=INT8)],
                scaleOptional=each,
                perTokenScaleOptional=tokens,
            )


def rounding(rows, width):
    check(
        "aclnnDynamicQuant",
        x=sized(rows, width),
        yOut=sized(rows, width, dtype=INT8),
        scaleOut=sized(rows, dtype=FLOAT32),
    )


@pytest.mark.parametrize("rows", [1, 4097])
@pytest.mark.parametrize(
    "hidden, heads, kv, inner",
    [(2048, 32, 4, 768), (1024, 16, 2, 768), (1024, 16, 8, 3072)],
    ids=["Thinker", "Talker", "codes"],
)
def test_8_bit_weights_outside_of_experts(monkeypatch, rows, hidden, heads, kv, inner):
    """qkv, o, gate and up, down; on 1 to 8 cards under tp."""
    for card in CARDS:
        monkeypatch.setenv("EMULATED_SOC", card)
        for cards in (1, 2, 4, 8):
            queries, share = heads * 128 // cards, inner // cards
            qkv = queries + 2 * max(1, kv // cards) * 128
            for wide, out in ((hidden, qkv), (queries, hidden), (hidden, 2 * share), (share, hidden)):
                stored = np.zeros((out, wide), np.int8)
                made = sized(rows, out)
                weight = DeviceTensor("weight", stored.T, "ND", 0, stored.size)
                given = {"x": sized(rows, wide), "weight": weight, "antiquantScale": sized(out), "y": made}
                check("aclnnWeightQuantBatchMatmulV2", **given)
                rounding(rows, wide)
                given = {"x1": sized(rows, wide, dtype=INT8), "x2": sized(out, wide, dtype=INT8), "transposeX2": True}
                given |= {"scale": sized(out), "pertokenScaleOptional": sized(rows, dtype=FLOAT32), "out": made}
                check("aclnnQuantMatmulV4", **given, transposeX1=False)


@pytest.mark.parametrize("rows", [1, 17, 4097])
@pytest.mark.parametrize("heads", [2, 4, 8, 16, 32])
def test_rotary_and_caches(rows, heads):
    x, turn = sized(1, rows, heads, 128), sized(1, rows, 1, 128)
    check("aclnnRotaryPositionEmbedding", x=x, cos=turn, sin=turn, out=x)
    if heads <= 8:
        cache, place = sized(1, heads, 65536, 128), sized(1, dtype=INT64)
        check("aclnnInplaceScatterUpdate", data=cache, indices=place, updates=sized(1, heads, rows, 128), axis=-2)


def conv(length, channels, outputs, kernel, **more):
    out = more.pop("out")
    given = {"input": sized(1, channels, length, form="NCL"), "output": sized(1, outputs, out, form="NCL")}
    shape = (
        (channels, outputs, kernel) if more.get("transposed") else (outputs, channels // more.get("groups", 1), kernel)
    )
    given |= {
        "weight": sized(*shape, form="NCL"),
        "bias": sized(outputs),
        "stride": [1],
        "padding": [0],
        "dilation": [1],
    }
    check("aclnnConvolution", **(given | {"groups": 1, "cubeMathType": 3} | more))


def test_convolutions_of_code2wav():
    """Pieces of 300 frames with 72 of context; the last convolutions have 1,920 values a frame."""
    frames = 372
    conv(frames + 6, 1024, 1024, 7, groups=1024, out=frames)
    for upsampled, rate, channels in ((1, 8, 1536), (8, 5, 768), (40, 4, 384), (160, 3, 192)):
        length = frames * 4 * upsampled
        conv(length, channels, channels // 2, 2 * rate, transposed=True, stride=[rate], out=(length + 1) * rate)
        conv(length * rate + 54, channels // 2, channels // 2, 7, dilation=[9], out=length * rate)
    conv(520 * 1920, 96, 1, 1, out=520 * 1920)
    with refused("at most 1000000 an axis"):  # of 42 s in one shot
        conv(521 * 1920, 96, 1, 1, out=521 * 1920)
