"""Caches and graphs over emulated operators: where caches are made, what chunks of a prompt see, what a graph that
writes a cache several times copies, and views as inputs of graphs."""

import itertools
import os
import subprocess
import sys

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
    from ms_omni.runtime.decoder import StackedDecoder
    from ms_omni.runtime.decoder_spec import DecoderSpec

    directory = write_tiny(tmp_path_factory.mktemp("checkpoints") / "tiny")
    spec = DecoderSpec.from_config(read_config(directory).thinker_config.text_config)
    return StackedDecoder(CheckpointReader(directory), "thinker.model.", spec, ops, ms.float16)


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

    whole = 2 * thinker.spec.num_layers * np.prod(thinker.ops.cache_shape(thinker.spec.num_kv_heads, 512, 32)) * 2
    assert thinker.spec.head_dim == 32
    cache, _, sizes = counted(lambda: thinker.new_cache(512, next(names)))
    assert sum(size for name, size in sizes.items() if name.startswith("copy")) < whole / 100, sizes
    rows = ms.Tensor(np.full((thinker.spec.num_kv_heads, 32), 2), ms.float16)

    def use(cache):
        for rows_of_layer in (*cache.keys, *cache.values):
            thinker.ops.write_cache(rows_of_layer, rows, cache.rows(3, 4))

    _, _, sizes = counted(lambda: use(cache))
    assert sum(size for name, size in sizes.items() if name.startswith("copy")) < whole / 100, sizes
    held = cache.values[1].asnumpy()
    assert held[:, :, 3].min() == 2 and np.count_nonzero(held) == thinker.spec.num_kv_heads * 32


@pytest.mark.parametrize(("tokens", "chunk"), [(40, 16), (40, 39), (33, 32)])
def test_chunks_give_what_the_whole_prompt_gives(thinker, monkeypatch, tokens, chunk):
    from ms_omni.runtime import decoder as module

    def prefill(size):
        monkeypatch.setattr(module, "PREFILL_CHUNK", size)
        cache = thinker.new_cache(64, next(names))
        hidden, _ = thinker.prefill(prompt(thinker, tokens), np.arange(tokens), cache, [], -1)
        return [x.asnumpy().astype(np.float32) for x in (hidden, *cache.keys, *cache.values)]

    whole = prefill(64)
    for made, expected in zip(prefill(chunk), whole, strict=True):
        np.testing.assert_allclose(made, expected, atol=1e-2 * np.abs(expected).max())
    keys = whole[1]
    assert np.abs(keys[:, :, :tokens]).max(-1).min() > 0 and not keys[:, :, tokens:].any()


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


def test_several_tokens_of_a_graph_copy_no_cache(thinker):
    """MindSpore would copy a Parameter that is written and read several times before each read."""
    import mindspore as ms
    from mindspore import nn

    from ms_omni.runtime.token_step import TokenStep

    class Steps(nn.Cell):
        def __init__(self, cache):
            super().__init__()
            self.step = TokenStep(thinker, cache, cache.name)

        def run(self, x, position, rope_position):
            for ahead in range(3):
                x, _ = self.step.decode(x, rope_position + ahead, position + ahead)
            return x

    cache = thinker.new_cache(64, next(names))
    thinker.prefill(prompt(thinker, 5), np.arange(5), cache, [], -1)
    steps = ms.jit(Steps(cache).run, **thinker.ops.JIT_OPTIONS)
    inputs = (prompt(thinker, 1), ms.Tensor(5, ms.int32), ms.Tensor(5, ms.float32))
    _, counts, _ = counted(lambda: steps(*inputs))
    assert not [name for name in counts if "TensorMove" in name], counts
    assert counts["aclnn aclnnInplaceScatterUpdate"] == 3 * 2 * thinker.num_layers
    assert cache.keys[0].asnumpy()[:, :, 7].any() and not cache.keys[0].asnumpy()[:, :, 8:].any()


@pytest.mark.parametrize("boost", [True, False])
def test_views_as_inputs_of_graphs(ops, boost):
    """In every order of a view, another one and a tensor of its own, to graphs of aclnn and of internal operators."""
    import mindspore as ms
    from mindspore import ops as mindspore_ops

    from ms_omni.runtime.graph_cache import compiled

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
        adding, gathering = compiled(add, options, None, "add"), compiled(gather, options, None, "gather")
        assert [int(adding(inputs[i]).asnumpy()[0]) for i in order] == [i + 1 for i in order]
        looked_up = [i for i in order if i < 64]
        assert [float(gathering(inputs[i]).asnumpy()[0, 0]) for i in looked_up] == looked_up
    columns = compiled(add, options, None, "columns")
    np.testing.assert_array_equal(columns(square[:, 1:3]).asnumpy(), square.asnumpy()[:, 1:3] + 1)


@pytest.mark.slow
def test_on_a_host_with_few_cores(tmp_path):
    """All of the above where MindSpore runs graphs in another way."""
    line = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", __file__, "-k", "not few_cores"]
    environment = {**os.environ, "EMULATED_CORES": "2"}
    result = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]
