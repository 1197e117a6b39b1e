"""A token of each row through a decoder's kernels in a graph, against the same tokens as a prompt outside graphs."""

import gc
import weakref

import numpy as np
import pytest

from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.prompt_chunk import PromptChunk

PREFIXES = ("thinker.model.", "talker.model.", "talker.code_predictor.model.")
BLOCK, NEW = 8, 5
PROMPTS = (7, 12, 1)  # tokens of the prompts of the rows
TABLES = np.array([[1, 2, 0], [5, 3, 6], [4, 0, 0]], np.int32)


@pytest.fixture(scope="module")
def decoders(tiny_dir, cpu):
    import mindspore as ms

    from ms_omni.runtime.decoder import Decoder

    config = read_config(tiny_dir)
    talker = config.talker_config
    configs = (config.thinker_config.text_config, talker.text_config, talker.code_predictor_config)
    reader = CheckpointReader(tiny_dir)
    return {
        prefix: Decoder(reader, prefix, DecoderSpec.from_config(part), decoder_ops("CPU"), ms.float32)
        for prefix, part in zip(PREFIXES, configs, strict=True)
    }


def tokens_of(decoder, row):
    """(tokens, hidden) of a whole sequence."""
    shape = PROMPTS[row] + NEW, decoder.spec.hidden_size
    return np.random.default_rng([3, row]).standard_normal(shape, dtype=np.float32)


def as_a_prompt(decoder, row, shift):
    """Normed states of the new tokens, (NEW, hidden)."""
    import mindspore as ms

    x = tokens_of(decoder, row)
    cache = decoder.new_cache(4, f"whole {row}", BLOCK)
    positions = np.arange(len(x), dtype=np.float32) + shift
    normed, _ = decoder.prefill([PromptChunk(ms.Tensor(x), positions, [2, 3, 1], 0)], cache)
    return normed.asnumpy()[PROMPTS[row] :]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_steps_of_rows_give_what_prompts_give(decoders, prefix):
    """A row of nobody is between them."""
    import mindspore as ms

    from ms_omni.runtime.token_step import TokenStep

    decoder, shift = decoders[prefix], 2.0
    cache = decoder.new_cache(7, "rows", BLOCK)
    for row, length in enumerate(PROMPTS):
        x, positions = tokens_of(decoder, row)[:length], np.arange(length, dtype=np.float32) + shift
        decoder.prefill([PromptChunk(ms.Tensor(x), positions, TABLES[row], 0)], cache)
    step = TokenStep(decoder, cache, "rows", 4, 3)
    graph = ms.jit(step.decode, **decoder.ops.JIT_OPTIONS)
    places = [0, 1, 3]
    made = []
    for ahead in range(NEW):
        x, positions, tables = (
            np.zeros((4, decoder.spec.hidden_size), np.float32),
            np.zeros(4, np.int32),
            np.zeros((4, 3)),
        )
        for row, place in enumerate(places):
            x[place], positions[place] = tokens_of(decoder, row)[PROMPTS[row] + ahead], PROMPTS[row] + ahead
            tables[place] = TABLES[row]
        given = (x, (positions + shift).astype(np.float32), positions + 1, tables.astype(np.int32))
        made.append(graph(*map(ms.Tensor, given)).asnumpy()[places])
    for row in range(3):
        np.testing.assert_allclose(np.array(made)[:, row], as_a_prompt(decoder, row, shift), rtol=2e-4, atol=2e-5)
    for written in (*cache.keys, *cache.values):
        assert not written.asnumpy()[0].any()


def test_hidden_states_of_other_dtypes_are_computed_in_float32(tiny_dir, cpu):
    import mindspore as ms

    from ms_omni.runtime.decoder import Decoder
    from ms_omni.runtime.token_step import TokenStep

    spec = DecoderSpec.from_config(read_config(tiny_dir).talker_config.code_predictor_config)
    made = []
    for dtype in (ms.float32, ms.bfloat16):
        decoder = Decoder(CheckpointReader(tiny_dir), PREFIXES[2], spec, decoder_ops("CPU"), dtype)
        x = ms.Tensor(tokens_of(decoder, 0)[:3]).astype(ms.bfloat16).astype(dtype)
        cache = decoder.new_cache(2, "half", BLOCK)
        prompt = decoder.prefill([PromptChunk(x[:2], np.arange(2, dtype=np.float32), [1], 0)], cache)[0][-1:]
        step = ms.jit(TokenStep(decoder, cache, "half", 1, 1).decode, **decoder.ops.JIT_OPTIONS)
        places = ms.Tensor([2.0], ms.float32), ms.Tensor([3], ms.int32), ms.Tensor([[1]], ms.int32)
        states = [prompt, step(x[2:] + 0, *places)]
        assert all(state.dtype == dtype for state in states) and cache.keys[0].dtype == ms.float32
        made.append(np.array([state.float().asnumpy() for state in states]))
    np.testing.assert_allclose(made[1], made[0], rtol=2.0**-8)
    assert not np.array_equal(*made)


def test_mindspore_keeps_no_weights_of_a_kernel_that_is_gone(cpu):
    import mindspore as ms

    from ms_omni.kernels.host_kernel import host_kernel

    class Double:
        def __call__(self, x):
            return (2 * x,)

    spec = (ms.float32, (2,))
    kernel = host_kernel(Double(), [spec], [spec], "double")
    np.testing.assert_array_equal(kernel(ms.Tensor([1.0, 2.0], ms.float32))[0].asnumpy(), [2, 4])
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
