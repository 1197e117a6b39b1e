"""Caches and graphs over emulated operators: where caches are made, what chunks of a prompt see, what a graph that
writes a cache and reads it copies, and views as inputs of graphs."""

import itertools

import numpy as np
import pytest

names = (f"test_ascend_caches_{i}" for i in itertools.count())


@pytest.fixture(scope="module")
def ops():
    from ms_omni.kernels import setup_device
    from ms_omni.kernels.decoder_ops import decoder_ops

    return decoder_ops(setup_device("Ascend"))


@pytest.fixture(scope="module")
def thinker(ops, tmp_path_factory):
    """The decoder of a small random Thinker, in float16."""
    import mindspore as ms

    from ms_omni.checkpoint.config import read_config
    from ms_omni.checkpoint.reader import CheckpointReader
    from ms_omni.checkpoint.tiny import write_tiny
    from ms_omni.runtime.decoder import Decoder
    from ms_omni.runtime.decoder_spec import DecoderSpec

    directory = write_tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")
    spec = DecoderSpec.from_config(read_config(directory).thinker_config.text_config)
    return Decoder(CheckpointReader(directory), "thinker.model.", spec, ops, ms.float16)


def counted(work):
    """What `work` returns, and what the card was asked for meanwhile: counts and bytes."""
    import mindspore as ms
    from ascend_emulator import trace

    ms.runtime.synchronize()
    trace.reset()
    made = work()
    ms.runtime.synchronize()
    return made, trace.counts(), trace.num_bytes()


def prompt(decoder, tokens):
    import mindspore as ms

    x = np.random.default_rng(tokens).standard_normal((tokens, decoder.spec.hidden_size), dtype=np.float32)
    return ms.Tensor(x, decoder.dtype)


def test_a_cache_is_made_on_the_card(thinker):
    import mindspore as ms

    cache, _, sizes = counted(lambda: thinker.new_cache(5, next(names)))
    shape = (5, 128, thinker.spec.num_kv_heads, thinker.spec.head_dim)
    assert {part.shape for part in (*cache.keys, *cache.values)} == {shape}
    whole = 2 * thinker.num_layers * np.prod(shape) * 2
    assert sum(size for name, size in sizes.items() if name.startswith("copy")) < whole / 100, sizes
    row, slots = ms.Tensor(np.full((1, *shape[2:]), 2), ms.float16), ms.Tensor([2 * 128 + 3], ms.int32)

    def use(cache):
        for keys, values in zip(cache.keys, cache.values, strict=True):
            thinker.ops.write_cache(keys, values, row, row, slots)

    _, _, sizes = counted(lambda: use(cache))
    assert sum(size for name, size in sizes.items() if name.startswith("copy")) < whole / 100, sizes
    held = cache.values[1].asnumpy()
    assert held[2, 3].min() == 2 and np.count_nonzero(held) == np.prod(shape[2:])


@pytest.mark.parametrize(("tokens", "chunk"), [(40, 16), (40, 39), (150, 64)])
def test_chunks_give_what_the_whole_prompt_gives(thinker, tokens, chunk):
    from ms_omni.runtime.prompt_chunk import PromptChunk

    def prefill(size):
        cache, blocks = thinker.new_cache(4, next(names)), [3, 1]
        for start in range(0, tokens, size):
            x, positions = prompt(thinker, tokens)[start : start + size], np.arange(tokens)[start : start + size]
            hidden, _ = thinker.prefill([PromptChunk(x, positions, blocks, start)], cache)
        caches = [np.concatenate(part.asnumpy()[[*blocks, 0, 2]]) for part in (*cache.keys, *cache.values)]
        return [x.astype(np.float32) for x in (hidden[-1:].asnumpy(), *caches)]

    whole = prefill(256)
    for made, expected in zip(prefill(chunk), whole, strict=True):
        np.testing.assert_allclose(made, expected, atol=1e-2 * np.abs(expected).max())
    keys = whole[1]
    assert np.abs(keys[:tokens]).max(-1).min() > 0 and not keys[tokens:].any()


def test_prompts_that_are_read_together_are_read_as_alone(thinker):
    """A whole prompt, the rest of one, and one token."""
    from ms_omni.runtime.prompt_chunk import PromptChunk

    blocks, starts, sizes = ([3], [1, 5], [4]), (0, 130, 0), (40, 20, 1)
    x = [prompt(thinker, start + size) for start, size in zip(starts, sizes, strict=True)]

    def piece(i, start, end):
        return PromptChunk(x[i][start:end], np.arange(start, end, dtype=np.float32), blocks[i], start)

    pieces = [piece(i, start, start + size) for i, (start, size) in enumerate(zip(starts, sizes, strict=True))]
    caches = [thinker.new_cache(6, next(names)) for _ in range(2)]
    for cache in caches:
        thinker.prefill([piece(1, 0, 130)], cache)
    together = thinker.prefill(pieces, caches[0])[0].asnumpy().astype(np.float32)
    alone = np.concatenate([thinker.prefill([each], caches[1])[0].asnumpy() for each in pieces]).astype(np.float32)
    np.testing.assert_allclose(together, alone, atol=1e-2 * np.abs(alone).max())
    for a, b in zip(*((*cache.keys, *cache.values) for cache in caches), strict=True):
        a, b = (part.asnumpy().astype(np.float32) for part in (a, b))
        np.testing.assert_allclose(a, b, atol=1e-2 * np.abs(b).max())


def test_the_chunks_of_the_product_at_4097_tokens(ops):
    """2048 queries of 4096 keys, and one of 4097: the last chunk's attention, beyond the fixed mask's size."""
    import mindspore as ms

    rng = np.random.default_rng(0)
    keys, values = rng.standard_normal((2, 4097, 1, 16)).astype(np.float16)
    for first, last in ((2048, 4096), (4096, 4097)):
        q = rng.standard_normal((last - first, 2, 16)).astype(np.float16)
        k, v = (ms.Tensor(x[:last]) for x in (keys, values))
        got = ops.prefill_attention(ms.Tensor(q), k, v, 0.25).asnumpy().reshape(last - first, 2, 16)
        for row in {0, (last - first) // 2, last - first - 1}:
            seen = slice(0, first + row + 1)
            shares = np.exp(keys[seen, 0].astype(np.float64) @ q[row].T.astype(np.float64) * 0.25)
            expected = (shares / shares.sum(0)).T @ values[seen, 0].astype(np.float64)
            np.testing.assert_allclose(got[row], expected, atol=2e-3)


def test_a_graph_copies_no_cache(thinker):
    """MindSpore may copy a Parameter that is written before it reads it."""
    import mindspore as ms
    from mindspore import nn

    from ms_omni.runtime.prompt_chunk import PromptChunk
    from ms_omni.runtime.token_step import TokenStep

    class Step(nn.Cell):
        def __init__(self, cache):
            super().__init__()
            self.step = TokenStep(thinker, cache, cache.name, 1, 1)

        def run(self, x, batch_valid_length, rope_position, table):
            return self.step.decode(x, rope_position, batch_valid_length, table)

    cache = thinker.new_cache(2, next(names))
    thinker.prefill([PromptChunk(prompt(thinker, 5), np.arange(5), [1], 0)], cache)
    step = ms.jit(Step(cache).run, **thinker.ops.JIT_OPTIONS)
    table = ms.Tensor([[1]], ms.int32)

    def call(x, place):
        return step(x, ms.Tensor([place + 1], ms.int32), ms.Tensor([place], ms.float32), table)

    x = call(prompt(thinker, 1), 5)
    _, counts, _ = counted(lambda: call(call(x, 6), 7))
    assert not [name for name in counts if "TensorMove" in name or name.startswith("aclop")], counts
    assert counts["internal ReshapeAndCache"] == counts["internal PagedAttention"] == 2 * thinker.num_layers
    assert cache.keys[0].asnumpy()[1, 7].any() and not cache.keys[0].asnumpy()[1, 8:].any()


@pytest.mark.parametrize("boost", [True, False])
def test_views_as_inputs_of_graphs(ops, boost):
    """In every order of a view, another one and a tensor of its own, to graphs of aclnn and of internal operators."""
    import mindspore as ms
    from mindspore import ops as mindspore_ops

    from ms_omni.runtime.graph_cache import CompiledGraph

    options = ops.JIT_OPTIONS if boost else {"jit_level": "O0"}
    made = ms.Tensor(np.arange(1, 65), ms.int32) + 0
    table = ms.Tensor(np.arange(64.0).reshape(64, 1), ms.float32)
    square = ms.Tensor(np.arange(16).reshape(4, 4), ms.int32) + 0

    def add(i):
        return i + 1

    def gather(i):
        return mindspore_ops.gather(table, i, 0)

    inputs = {4: made[3:4], 10: made[9:10], 20: ms.Tensor([20], ms.int32), 64: made[-1:]}
    for order in ((4, 10, 4), (4, 20, 4), (20, 10, 20), (64, 20, 64)):
        adding, gathering = CompiledGraph(add, options, None, "add"), CompiledGraph(gather, options, None, "gather")
        assert [int(adding(inputs[i]).asnumpy()[0]) for i in order] == [i + 1 for i in order]
        looked_up = [i for i in order if i < 64]
        assert [float(gathering(inputs[i]).asnumpy()[0, 0]) for i in looked_up] == looked_up
    columns = CompiledGraph(add, options, None, "columns")
    np.testing.assert_array_equal(columns(square[:, 1:3]).asnumpy(), square.asnumpy()[:, 1:3] + 1)
