"""One token through a decoder in numpy kernels, against the same by operators, which is what an NPU runs."""

import gc
import weakref

import numpy as np
import pytest

from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.kernels import decoder_ops_cpu
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.runtime.decoder_spec import DecoderSpec

PREFIXES = ("thinker.model.", "talker.model.", "talker.code_predictor.model.")
CAPACITY, PROMPT, NEW = 24, 7, 5


@pytest.fixture(scope="module")
def decoders(tiny_dir, cpu):
    import mindspore as ms

    from ms_omni.runtime.decoder import StackedDecoder

    config = read_config(tiny_dir)
    talker = config.talker_config
    configs = (config.thinker_config.text_config, talker.text_config, talker.code_predictor_config)
    reader = CheckpointReader(tiny_dir)
    return {
        prefix: StackedDecoder(reader, prefix, DecoderSpec.from_config(part), decoder_ops("CPU"), ms.float32)
        for prefix, part in zip(PREFIXES, configs, strict=True)
    }


def run(decoder, accept_layer, name):
    """A prompt and some tokens after it: normed and accepted states, and the cache in the end."""
    import mindspore as ms

    from ms_omni.runtime.token_step import TokenStep

    rng = np.random.default_rng(3)
    cache = decoder.new_cache(CAPACITY, name)
    step = TokenStep(decoder, cache, name, accept_layer)
    graph = ms.jit(step.decode, **decoder.ops.JIT_OPTIONS)
    prompt = ms.Tensor(rng.standard_normal((PROMPT, decoder.spec.hidden_size), dtype=np.float32))
    decoder.prefill(prompt, np.arange(PROMPT, dtype=np.float32), cache, [], -1)
    states = []
    for position in range(PROMPT, PROMPT + NEW):
        x = ms.Tensor(rng.standard_normal((1, decoder.spec.hidden_size), dtype=np.float32))
        made = graph(x, ms.Tensor(position + 2.0, ms.float32), ms.Tensor(position, ms.int32))
        states.append([state.asnumpy() for state in made])
    return np.array(states), np.array([rows.asnumpy() for rows in (*cache.keys, *cache.values)]), step


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("accept_layer", [-1, 1, 99])
def test_kernels_give_what_the_operators_give(decoders, monkeypatch, prefix, accept_layer):
    decoder = decoders[prefix]
    states, cache, step = run(decoder, accept_layer, "kernels")
    monkeypatch.setattr(decoder_ops_cpu, "TOKENS_IN_NUMPY", False)
    expected, expected_cache, by_operator = run(decoder, accept_layer, "operators")
    assert step.kernels and not by_operator.kernels
    assert not np.array_equal(states, expected)  # two ways to compute it, which round differently
    np.testing.assert_allclose(states, expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(cache, expected_cache, rtol=2e-4, atol=2e-5)


def test_other_dtypes_go_by_operators(tiny_dir, cpu):
    import mindspore as ms

    from ms_omni.runtime.decoder import StackedDecoder
    from ms_omni.runtime.token_step import TokenStep

    spec = DecoderSpec.from_config(read_config(tiny_dir).talker_config.code_predictor_config)
    decoder = StackedDecoder(CheckpointReader(tiny_dir), PREFIXES[2], spec, decoder_ops("CPU"), ms.float16)
    assert not TokenStep(decoder, decoder.new_cache(CAPACITY, "half"), "half").kernels


def test_a_grown_cache_is_seen_by_its_kernels(decoders):
    import mindspore as ms

    from ms_omni.runtime.token_step import TokenStep

    decoder = decoders[PREFIXES[0]]
    rng = np.random.default_rng(5)
    row = ms.Tensor(rng.standard_normal((1, decoder.spec.hidden_size), dtype=np.float32))
    prompt = ms.Tensor(rng.standard_normal((PROMPT, decoder.spec.hidden_size), dtype=np.float32))
    small, large = decoder.new_cache(CAPACITY, "small"), decoder.new_cache(2 * CAPACITY, "large")
    steps = [ms.jit(TokenStep(decoder, cache, "grown").decode, **decoder.ops.JIT_OPTIONS) for cache in (small, large)]
    decoder.prefill(prompt, np.arange(PROMPT, dtype=np.float32), small, [], -1)
    large.take_over(small)
    place = (ms.Tensor(float(PROMPT), ms.float32), ms.Tensor(PROMPT, ms.int32))
    np.testing.assert_array_equal(*(step(row, *place)[0].asnumpy() for step in steps))


def test_mindspore_keeps_no_weights_of_a_kernel_that_is_gone(cpu):
    import mindspore as ms

    from ms_omni.kernels.host_kernel import host_kernel

    class Double:
        def __call__(self, x):
            return (2 * x,)

    spec = (ms.float32, (2,))
    kernel = host_kernel(Double(), [spec], [spec], "double")
    np.testing.assert_array_equal(kernel((ms.Tensor([1.0, 2.0], ms.float32),))[0].asnumpy(), [2, 4])
    held = weakref.ref(kernel.function)
    del kernel
    gc.collect()
    assert held() is None


def test_a_collective_over_sockets_is_found_by_a_number_not_an_address(cpu):
    from ms_omni.kernels import host_kernel
    from ms_omni.parallel.collectives import _host_operator

    def function(x):
        return x

    numbers = []
    for _ in range(2):  # as two processes would count
        host_kernel._made.clear()
        numbers.append(_host_operator("a kind", function, 1).attrs["fn_id"])
    assert numbers[0] == numbers[1] != id(function)
