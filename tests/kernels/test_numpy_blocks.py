"""Rows through a layer in numpy against the same token by token, in decoding and in prompts."""

from itertools import pairwise

import numpy as np
import pytest
from numpy_layer import BLOCK, DIM, EPS, EXPERTS, HIDDEN, INV_FREQ, KV_HEADS, TOP_K, RandomLayer, norm

from ms_omni.kernels import host_threads, numpy_attention, numpy_blocks
from ms_omni.kernels.numpy_attention import Segment, attention
from ms_omni.kernels.numpy_blocks import Experts, layer_blocks
from ms_omni.kernels.numpy_cache import Rows, Sequence
from ms_omni.kernels.numpy_math import FEW_ROWS, gate_share, joined_product, product, route, silu
from ms_omni.kernels.numpy_step import StepBlocks

LENGTHS = [1, 4, 5, 11, 2, 8, 3, 9]  # of the sequences before and with their newest token
MAX_BLOCKS = 3
EMPTY = -7.0  # what stands in blocks that nothing wrote
KINDS = [("dense", False), ("dense", True), ("experts", False), ("experts", True), ("shared", True)]


def caches(num_blocks):
    return [np.full((num_blocks, BLOCK, KV_HEADS, DIM), EMPTY, np.float32) for _ in "kv"]


def tables(count, scattered):
    blocks = 1 + np.arange(count * MAX_BLOCKS)
    if scattered:
        blocks = np.random.default_rng(2).permutation(blocks)
    return blocks.reshape(count, MAX_BLOCKS).astype(np.int32)


def prompt(length, seed):
    return np.random.default_rng([7, seed]).standard_normal((length, HIDDEN)).astype(np.float32)


def plain(layer, x):
    """A whole sequence, (length, hidden), token by token, in float64."""
    history = []
    return np.array([layer(row.astype(np.float64), place, history) for place, row in enumerate(x)])


def chunk(blocks, x, start, table):
    """Rows of a prompt through both blocks of a layer."""
    angles = np.arange(start, start + len(x), dtype=np.float32)[:, None] * INV_FREQ
    rows = Rows.of_chunks(angles, [(start, len(angles), table)], BLOCK)
    for block in blocks:
        x = x + block.work(norm(x, block.norm), rows)
    return x


def step(blocks, x, positions, block_tables):
    work = StepBlocks(blocks, INV_FREQ, EPS, BLOCK)
    positions = np.array(positions, np.int32)
    made = work(x, np.zeros_like(x), positions.astype(np.float32), positions + 1, block_tables)
    return made[0] + made[1]


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize(("kind", "has_bias"), KINDS)
def test_a_token_of_each_of_several_sequences(kind, has_bias, scattered, count):
    layer = RandomLayer(kind, has_bias)
    keys, values = caches(1 + count * MAX_BLOCKS)
    blocks, table = layer_blocks(layer.stored(), layer.vectors["norm"], keys, values), tables(count, scattered)
    prompts = [prompt(length, seed) for seed, length in enumerate(LENGTHS[:count])]
    for x, own in zip(prompts, table, strict=True):
        if len(x) > 1:
            np.testing.assert_allclose(chunk(blocks, x[:-1], 0, own), plain(layer, x)[:-1], rtol=1e-4, atol=1e-5)
    made = step(blocks, np.array([x[-1] for x in prompts]), [len(x) - 1 for x in prompts], table)
    expected = [plain(layer, x)[-1] for x in prompts]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    assert (keys[0] == EMPTY).all() and (values[0] == EMPTY).all()


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("edges", [(0, 11), (0, 4, 11), (0, 1, 2, 9, 11), (0, 10, 11)])
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_prompt_in_chunks(monkeypatch, scattered, edges, in_parts):
    if in_parts:
        monkeypatch.setattr(numpy_attention, "QUERIES_AT_ONCE", 4)
        monkeypatch.setattr(numpy_attention, "KEYS_AT_ONCE", 3)
        monkeypatch.setattr(numpy_blocks, "PAIRS_AT_ONCE", 5)
        for name in ("LEAST_ROWS", "LEAST_VALUES", "LEAST_A_THREAD"):
            monkeypatch.setattr(host_threads, name, 1)
        monkeypatch.setattr(host_threads, "ROWS_AT_ONCE", 3)
    layer, x, table = RandomLayer("shared"), prompt(11, 0), tables(3, scattered)[1]
    keys, values = caches(10)
    blocks = layer_blocks(layer.stored(), layer.vectors["norm"], keys, values)
    made = [chunk(blocks, x[a:b], a, table) for a, b in pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(made), plain(layer, x), rtol=1e-4, atol=1e-5)
    others = sorted(set(range(10)) - set(table.tolist()))
    assert (keys[others] == EMPTY).all() and (values[others] == EMPTY).all()
    assert (keys[table].reshape(-1, KV_HEADS, DIM)[11:] == EMPTY).all()


def test_experts_of_this_rank_are_dealt_out_evenly(monkeypatch):
    """Pairs of other ranks' experts lie before and behind, and do not count."""
    monkeypatch.setattr(numpy_blocks, "threads_for", lambda work: 2)
    weight = np.zeros((2, 2), np.float32)
    chosen = np.array([-3] * 9 + [0, 0, 1, 1, 2, 2, 3, 3] + [4] * 20)
    batches = list(numpy_blocks._batches(chosen, [((weight,), weight)] * 4))
    assert batches == [[(0, 9, 11), (1, 11, 13)], [(2, 13, 15), (3, 15, 17)]]


def test_rows_of_nobody_cost_nothing_and_write_nothing(monkeypatch):
    layer = RandomLayer("experts")
    keys, values = caches(7)
    blocks = layer_blocks(layer.stored(), layer.vectors["norm"], keys, values)
    table = np.array([[0, 0], [1, 0], [0, 0], [2, 0]], np.int32)
    x, seen = prompt(4, 0), []
    monkeypatch.setattr(numpy_blocks, "route", lambda logits, *rest: seen.append(len(logits)) or route(logits, *rest))
    made = step(blocks, x, [0, 0, 0, 0], table)
    expected = [
        np.zeros(HIDDEN) if not own else plain(layer, x[row : row + 1])[0] for row, own in enumerate(table[:, 0])
    ]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    assert seen == [2] and (keys[[0, 3, 4, 5, 6]] == EMPTY).all() and (values[0] == EMPTY).all()
    np.testing.assert_array_equal(step(blocks, x, [0, 0, 0, 0], 0 * table), np.zeros_like(x))
    assert (keys[0] == EMPTY).all()


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("normalize", [True, False])
def test_ranks_that_have_a_part_of_the_experts(count, normalize):
    """What they add is what one with all of them adds; only one of them brings the shared one."""
    layer, x = RandomLayer("shared", normalize=normalize), prompt(count, 1)
    parts = [range(0, 3), range(3, 4), range(4, EXPERTS)]
    ranks = [Experts(layer.stored(part, adds_shared=not part.start)) for part in parts]
    expected = np.array([layer.feed_forward(row) for row in x])
    np.testing.assert_allclose(sum(rank(x, None) for rank in ranks), expected, rtol=1e-4, atol=1e-6)
    only_experts = RandomLayer("experts", normalize=normalize)
    alone = Experts(only_experts.stored(parts[1]))(x, None)
    np.testing.assert_allclose(alone, [only_experts.feed_forward(row, parts[1]) for row in x], rtol=1e-4, atol=1e-6)


def test_a_sequence_of_consecutive_blocks_is_read_without_a_copy():
    cache = np.arange(6 * BLOCK * KV_HEADS * DIM, dtype=np.float32).reshape(6, BLOCK, KV_HEADS, DIM)
    cases = (
        ([2, 3, 4], 3, True),
        ([2, 3, 0], 2, True),
        ([4, 0, 0], 1, True),
        ([1, 4, 3], 3, False),
        ([4, 3, 5], 2, False),
    )
    for table, count, is_view in cases:
        table, length = np.array(table, np.int32), count * BLOCK - 1
        read = Sequence.of(slice(0, 1), length, table, BLOCK).read(cache.reshape(-1, KV_HEADS, DIM))
        np.testing.assert_array_equal(read, cache[table[:count]].reshape(-1, KV_HEADS, DIM)[:length])
        assert np.shares_memory(read, cache) == is_view


@pytest.mark.parametrize("rows", [1, 2, FEW_ROWS, FEW_ROWS + 1, 20])
def test_products_of_stored_and_of_turned_weights(rows):
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((rows, 6), np.float32), [rng.standard_normal((6, n), np.float32) for n in (5, 3)]
    turned = [np.ascontiguousarray(weight.T).T for weight in weights]
    for given in (weights, turned):
        np.testing.assert_allclose(product(x, given[0]), x @ weights[0], rtol=1e-4, atol=1e-6)
        out = np.zeros((rows + 2, 8), np.float32)
        joined_product(x, given, out[1:-1])
        np.testing.assert_allclose(out[1:-1], x @ np.concatenate(weights, 1), rtol=1e-4, atol=1e-6)
        assert not out[[0, -1]].any()


@pytest.mark.parametrize("normalize", [True, False])
def test_routing(normalize):
    logits = np.random.default_rng(0).standard_normal((5, EXPERTS)).astype(np.float32)
    chosen, shares = route(logits, TOP_K, normalize)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for row in range(5):
        best = np.argsort(-logits[row])[:TOP_K]
        assert sorted(chosen[row]) == sorted(best)
        total = chances[row, best].sum() if normalize else 1
        np.testing.assert_allclose(shares[row], chances[row, chosen[row]] / total, rtol=1e-5)


@pytest.mark.parametrize("largest", [1e3, 0.0])
@pytest.mark.parametrize("at_once", [(3, 2), (40, 7), (256, 512)])
def test_attention_of_the_last_queries(monkeypatch, at_once, largest):
    """Queries that begin in the middle see the keys before them: the last rows of the whole. Scores that need no
    maximum, and others."""
    for name, value in zip(("QUERIES_AT_ONCE", "KEYS_AT_ONCE", "LARGEST_SCORE"), (*at_once, largest), strict=True):
        monkeypatch.setattr(numpy_attention, name, value)
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((20, heads, 8)).astype(np.float32) for heads in (6, 2, 2))
    scores = np.einsum("qhd,khd->hqk", q, k.repeat(3, axis=1))
    scores[:, np.triu(np.ones((20, 20), bool), 1)] = -np.inf
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = np.einsum("hqk,khd->qhd", weights, v.repeat(3, axis=1))
    by_group, keys, values = q.reshape(20, 2, 3, 8).swapaxes(0, 1), k.swapaxes(0, 1), v.swapaxes(0, 1)
    for first in (0, 13, 19):
        segments = [Segment(slice(0, 20 - first), keys, values)]
        made = attention(by_group[:, first:], segments, is_causal=True)
        np.testing.assert_allclose(made.reshape(-1, 6, 8), expected[first:], atol=1e-5)
    # A segment of some rows beside another one, each with keys of its own
    segments = [Segment(slice(0, 12), keys[:, :12], values[:, :12]), Segment(slice(12, 20), keys, values)]
    made = attention(by_group, segments, is_causal=True)
    np.testing.assert_allclose(made.reshape(-1, 6, 8), expected, atol=1e-5)


def test_scores_that_exp_cannot_take_are_no_trouble():
    q = np.full((1, 3, 1, 4), 100, np.float32)
    k = np.array([[[1.0] * 4, [-1.0] * 4, [0.5] * 4]], np.float32)
    made = attention(q, [Segment(slice(0, 3), k, k)], is_causal=True)
    np.testing.assert_allclose(made[:, 0, 0, 0], 1, rtol=1e-6)  # the first key's value, which outweighs the others


def test_what_saturates_gives_no_overflow():
    with np.errstate(over="raise"):
        assert abs(silu(np.full((1, 2), -1e4, np.float32))).max() < 1e-20
        shares = gate_share(np.array([[1.0]], np.float32), np.array([[-1e4], [0], [1e4]], np.float32))
    np.testing.assert_allclose(shares[:, 0], [0, 0.5, 1], atol=1e-7)


@pytest.mark.parametrize("kind", ["dense", "shared"])
def test_a_row_is_the_same_to_the_last_bit_whatever_is_beside_it(kind):
    """So that a conversation's answer does not depend on the others."""
    count = min(FEW_ROWS, len(LENGTHS))
    layer, table = RandomLayer(kind, has_bias=True), tables(count, scattered=True)
    blocks = layer_blocks(layer.stored(), layer.vectors["norm"], *caches(1 + count * MAX_BLOCKS))
    prompts = [prompt(length, seed) for seed, length in enumerate(LENGTHS[:count])]
    for x, own in zip(prompts, table, strict=True):
        if len(x) > 1:
            chunk(blocks, x[:-1], 0, own)
    newest, places = np.array([x[-1] for x in prompts]), [len(x) - 1 for x in prompts]
    together = step(blocks, newest, places, table)
    for row in range(count):
        one = slice(row, row + 1)
        np.testing.assert_array_equal(step(blocks, newest[one], places[one], table[one]), together[one])
