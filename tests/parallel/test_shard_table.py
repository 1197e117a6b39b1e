"""Which part of which weight a rank stores: exact slices for rank r of n, and nothing lost when put together again."""

import math

import numpy as np
import pytest

from ms_omni.checkpoint.presets import PRESETS, build_config
from ms_omni.checkpoint.weight_specs import weight_specs
from ms_omni.errors import OmniError
from ms_omni.parallel.sizes import PREDICTOR, TALKER, THINKER, DecoderSizes, ModelSizes
from ms_omni.parallel.table import (
    MODES,
    applied_rule,
    check_world,
    expert_range,
    head_part,
    padded_shape,
    part,
    rule,
    shard_slices,
    shares_talker,
)

RELEASED = ModelSizes(
    {THINKER: DecoderSizes(32, 4, 128), TALKER: DecoderSizes(16, 2, 128), PREDICTOR: DecoderSizes(16, 8)}
)
LAYER = "thinker.model.layers.7."


@pytest.fixture(scope="module")
def tiny():
    """(sizes, shapes by name) of the tiny checkpoint."""
    from transformers import Qwen3OmniMoeConfig

    from ms_omni.checkpoint.config import quiet_transformers

    with quiet_transformers():
        config = Qwen3OmniMoeConfig(**build_config(PRESETS["tiny"]))
    return ModelSizes.from_config(config), {spec.name: spec.shape for spec in weight_specs(config)}


def slices(name, shape, mode, rank, world_size, sizes=RELEASED):
    found = shard_slices(LAYER + name if not name.startswith("t") else name, shape, mode, rank, world_size, sizes)
    return None if found is None else tuple((s.start, s.stop) for s in found)


@pytest.mark.parametrize(
    ("total", "world_size", "expected"),
    [
        (8, 2, [(0, 4), (4, 8)]),
        (8, 3, [(0, 3), (3, 6), (6, 8)]),
        (5, 4, [(0, 2), (2, 4), (4, 5), (5, 5)]),
        (1, 3, [(0, 1), (1, 1), (1, 1)]),
    ],
)
def test_parts_are_blocks_in_order(total, world_size, expected):
    assert [(p.start, p.stop) for p in (part(total, r, world_size) for r in range(world_size))] == expected


def test_key_value_heads_are_repeated_where_ranks_outnumber_them():
    assert [head_part(4, r, 8).start for r in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [(head_part(4, r, 2).start, head_part(4, r, 2).stop) for r in range(2)] == [(0, 2), (2, 4)]


@pytest.mark.parametrize(
    ("name", "shape", "world_size", "rank", "expected"),
    [
        ("self_attn.q_proj.weight", (4096, 2048), 4, 1, ((1024, 2048), (0, 2048))),
        ("self_attn.k_proj.weight", (512, 2048), 4, 3, ((384, 512), (0, 2048))),
        ("self_attn.v_proj.weight", (512, 2048), 8, 5, ((256, 384), (0, 2048))),
        ("self_attn.v_proj.bias", (512,), 8, 5, ((256, 384),)),
        ("self_attn.o_proj.weight", (2048, 4096), 8, 7, ((0, 2048), (3584, 4096))),
        ("self_attn.o_proj.bias", (2048,), 8, 7, ((0, 2048),)),
        ("self_attn.q_norm.weight", (128,), 8, 7, ((0, 128),)),
        ("mlp.gate.weight", (128, 2048), 2, 1, ((0, 128), (0, 2048))),
        ("mlp.experts.99.gate_proj.weight", (768, 2048), 8, 2, ((192, 288), (0, 2048))),
        ("mlp.experts.99.down_proj.weight", (2048, 768), 8, 2, ((0, 2048), (192, 288))),
        ("thinker.lm_head.weight", (152064, 2048), 2, 1, ((76032, 152064), (0, 2048))),
        ("talker.model.codec_embedding.weight", (3072, 1024), 2, 1, ((0, 3072), (0, 1024))),
        ("talker.model.layers.0.mlp.shared_expert.up_proj.weight", (768, 1024), 4, 3, ((576, 768), (0, 1024))),
        ("talker.code_predictor.model.layers.0.mlp.up_proj.weight", (3072, 1024), 4, 3, ((0, 3072), (0, 1024))),
        ("thinker.visual.blocks.0.attn.qkv.weight", (3456, 1152), 4, 3, ((0, 3456), (0, 1152))),
    ],
)
def test_tensor_parallel(name, shape, world_size, rank, expected):
    assert slices(name, shape, "tp", rank, world_size) == expected


def test_query_heads_stay_with_their_key_value_head():
    for world_size in (2, 4, 8, 16, 32):
        for rank in range(world_size):
            q, kv = head_part(32, rank, world_size), head_part(4, rank, world_size)
            assert {head // 8 for head in range(q.start, q.stop)} == set(range(kv.start, kv.stop))


@pytest.mark.parametrize(("world_size", "rank", "first", "last"), [(2, 0, 0, 63), (8, 7, 112, 127), (3, 2, 86, 127)])
def test_expert_parallel_keeps_whole_experts(world_size, rank, first, last):
    stored = [
        e
        for e in range(128)
        if slices(f"mlp.experts.{e}.up_proj.weight", (768, 2048), "ep", rank, world_size) is not None
    ]
    assert stored == list(range(first, last + 1)) == list(expert_range(128, rank, world_size))
    assert slices(f"mlp.experts.{first}.up_proj.weight", (768, 2048), "ep", rank, world_size)[0] == (0, 768)
    assert slices("self_attn.q_proj.weight", (4096, 2048), "ep", rank, world_size)[0] == (0, 4096)


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("thinker.model.layers.0.self_attn.q_proj.weight", (4096, 2048), "split"),
        ("thinker.model.layers.0.mlp.experts.0.up_proj.weight", (768, 2048), "split"),
        ("thinker.visual.blocks.0.attn.qkv.weight", (3456, 1152), "split"),
        ("code2wav.decoder.0.conv.weight", (1536, 1024, 7), "split"),
        ("thinker.model.layers.0.mlp.gate.weight", (128, 2048), "replicated"),
        ("thinker.model.norm.weight", (2048,), "replicated"),
        ("talker.model.layers.0.mlp.shared_expert_gate.weight", (1, 1024), "replicated"),
        ("code2wav.decoder.6.conv.weight", (1, 96, 7), "replicated"),
        ("thinker.audio_tower.conv2d1.bias", (480,), "replicated"),
    ],
)
def test_zero3_splits_all_but_small_tensors(name, shape, kind):
    assert applied_rule(name, shape, "zero3", 2, RELEASED).kind == kind


def put_together(name, values, mode, world_size, sizes):
    """The weight from all ranks' parts."""
    found = applied_rule(name, values.shape, mode, world_size, sizes)
    parts = []
    for rank in range(world_size):
        index = shard_slices(name, values.shape, mode, rank, world_size, sizes)
        if index is None:
            continue
        stored, padded = values[index], padded_shape(name, values.shape, mode, world_size, sizes)
        assert all(have <= room for have, room in zip(stored.shape, padded, strict=True))
        parts.append(stored)
    if found.kind != "split":
        assert len(parts) == (1 if found.kind == "experts" else world_size)
        return parts[0]
    if found.unit == "kv_head":  # every part once
        heads = sizes.of(name)[1].num_kv_heads
        parts = parts[:: max(1, world_size // heads)]
    return np.concatenate(parts, axis=found.axis)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_all_parts_make_the_whole(tiny, mode, world_size):
    sizes, shapes = tiny
    for name, shape in shapes.items():
        values = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
        assert np.array_equal(put_together(name, values, mode, world_size, sizes), values), name


@pytest.mark.parametrize("world_size", [3, 5, 7])
def test_all_parts_make_the_whole_where_nothing_divides(tiny, world_size):
    sizes, shapes = tiny
    for mode in ("zero3", "ep"):
        for name, shape in shapes.items():
            values = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
            assert np.array_equal(put_together(name, values, mode, world_size, sizes), values), (mode, name)


def test_gathered_padded_parts_begin_with_the_whole():
    values = np.arange(5 * 200).reshape(5, 200)
    name, gathered = LAYER + "self_attn.q_proj.weight", []
    for rank in range(4):
        stored = values[shard_slices(name, values.shape, "zero3", rank, 4, RELEASED)]
        room = np.zeros(padded_shape(name, values.shape, "zero3", 4, RELEASED), int)
        room[: len(stored)] = stored
        gathered.append(room)
    assert np.array_equal(np.concatenate(gathered)[:5], values)


@pytest.mark.parametrize(("mode", "world_size"), [("zero3", 2), ("zero3", 4), ("ep", 2), ("ep", 4)])
def test_no_rank_stores_more_than_its_share(tiny, mode, world_size):
    sizes, shapes = tiny

    def count(rank, only=""):
        found = {n: shard_slices(n, s, mode, rank, world_size, sizes) for n, s in shapes.items() if only in n}
        return sum(math.prod(s.stop - s.start for s in index) for index in found.values() if index is not None)

    def whole(only=""):
        return sum(math.prod(s) for n, s in shapes.items() if only in n)

    for rank in range(world_size):
        if mode == "zero3":
            assert count(rank) <= whole() * (1 / world_size + 0.05)
        else:
            assert count(rank, ".experts.") == whole(".experts.") // world_size


def test_a_talker_that_cannot_be_shared_is_whole_everywhere():
    few = ModelSizes({THINKER: DecoderSizes(32, 4, 128), TALKER: DecoderSizes(6, 2, 4)})
    name, shape = "talker.model.layers.0.mlp.experts.3.up_proj.weight", (384, 1024)
    assert not shares_talker("ep", 8, few) and shares_talker("ep", 4, few)
    assert slices(name, shape, "ep", 5, 8, few) == ((0, 384), (0, 1024))
    assert not shares_talker("tp", 4, few) and slices(name, shape, "tp", 3, 4, few) == ((0, 384), (0, 1024))
    assert shares_talker("tp", 2, few) and slices(name, shape, "tp", 1, 2, few) == ((192, 384), (0, 1024))


@pytest.mark.parametrize(
    ("mode", "world_size", "parts"),
    [
        ("ep", 129, ["--parallel ep", "--cards 129", "128 experts"]),
        ("tp", 3, ["--parallel tp", "--cards 3", "32 heads", "2, 4, 8, 16, 32 cards"]),
        ("zero3", 0, ["--cards 0", "at least 1"]),
        ("zero", 2, ["--parallel zero", "none, zero3, ep, tp"]),
    ],
)
def test_what_cannot_be_shared_is_named(mode, world_size, parts):
    with pytest.raises(OmniError) as error:
        check_world(mode, world_size, RELEASED)
    assert all(words in str(error.value) for words in parts), error.value


def test_every_decoder_matrix_of_the_thinker_has_a_rule(tiny):
    _, shapes = tiny
    for name, shape in shapes.items():
        if name.startswith("thinker.model.layers.") and len(shape) == 2 and not name.endswith("mlp.gate.weight"):
            assert rule(name, "tp").kind == "split" and rule(name, "zero3").kind == "split"
            assert (rule(name, "ep").kind == "experts") == (".experts." in name)


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        ("self_attn.q_proj", "tp", ((1024, 2048), (0, 1))),
        ("self_attn.o_proj", "tp", ((0, 4096), (0, 1))),  # its columns are split, so that every rank has all rows
        ("mlp.experts.5.down_proj", "tp", ((0, 4096), (0, 1))),
        ("mlp.experts.5.up_proj", "tp", ((1024, 2048), (0, 1))),
        ("mlp.experts.5.up_proj", "ep", None),
        ("mlp.experts.40.up_proj", "ep", ((0, 4096), (0, 1))),
        ("self_attn.q_proj", "zero3", ((0, 4096), (0, 1))),
        ("mlp.experts.5.up_proj", "none", ((0, 4096), (0, 1))),
    ],
)
def test_scales_of_8_bit_weights_follow_their_rows(name, mode, expected):
    assert slices(f"{name}.weight_scale", (4096, 1), mode, 1, 4) == expected
