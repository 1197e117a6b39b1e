"""zero3: every conversation has an owner, which alone keeps its keys and values and computes its rows."""

import numpy as np
import pytest
from fake_group import run_as_group

from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.parallel.shards import ShardedReader
from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.world import World
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.scheduling.sequence import Sequence, random_numbers

pytestmark = pytest.mark.usefixtures("cpu")

PREFIX = "talker.model."
BLOCK, PROMPTS = 8, (5, 11, 3)
OWNERS, BLOCKS = (1, 0, 1), ([1], [1, 2], [3])  # block 1 is two owners'


@pytest.fixture(scope="module")
def config(tiny_dir):
    return read_config(tiny_dir)


def decoder_of(tiny_dir, config, world):
    import mindspore as ms

    from ms_omni.runtime.decoder import Decoder
    from ms_omni.runtime.sharding import DecoderSharding

    spec, sizes = DecoderSpec.from_config(config.talker_config.text_config), ModelSizes.from_config(config)
    sharding = DecoderSharding.of(PREFIX, "zero3", world, sizes)
    reader = ShardedReader(CheckpointReader(tiny_dir), sharding.mode, world, sizes)
    return Decoder(reader, PREFIX, spec, decoder_ops("CPU"), ms.float32, sharding)


def tokens_of(decoder, row):
    """(tokens, hidden) of a prompt and one more."""
    shape = PROMPTS[row] + 1, decoder.spec.hidden_size
    return np.random.default_rng([5, row]).standard_normal(shape, dtype=np.float32)


def read(decoder, cache, more=0):
    """The normed states of all prompts, with as many tokens behind each, and what enters the second layer."""
    import mindspore as ms

    from ms_omni.runtime.prompt_chunk import PromptChunk, row_slices

    pieces = []
    for row, (blocks, owner) in enumerate(zip(BLOCKS, OWNERS, strict=True)):
        x, owner = tokens_of(decoder, row)[: PROMPTS[row] + more], owner if decoder.num_owners > 1 else 0
        pieces.append(PromptChunk(ms.Tensor(x), np.arange(len(x)), blocks, 0, owner=owner))
    made = [states.asnumpy() for states in decoder.prefill(pieces, cache, 1)]
    return [[states[rows] for states in made] for rows in row_slices(pieces)]


def eager(kernel, seen):
    """A kernel outside graphs. seen: gets the rows of its first input."""
    import mindspore as ms

    def call(*tensors):
        arrays = [tensor.asnumpy() for tensor in tensors]
        seen.append(len(arrays[0]))
        return tuple(ms.Tensor(made) for made in kernel.function(*arrays))

    return call


def step_of(decoder, cache, seen):
    """A token of each: states that the last layer leaves."""
    import mindspore as ms

    from ms_omni.runtime.decode_rows import RowLayout, TokenPositions, block_tables
    from ms_omni.runtime.token_step import TokenStep

    sequences = [
        Sequence("talker", count, 9, (), random_numbers(0, "talker"), blocks, token_ids=[0])
        for count, blocks in zip(PROMPTS, BLOCKS, strict=True)
    ]
    rows = RowLayout.of(OWNERS, decoder.num_owners)
    step = TokenStep(decoder, cache, "dealt", rows.bucket, 3)
    step.pairs = tuple(tuple(eager(kernel, seen) for kernel in pair) for pair in step.pairs)
    step.last_norm = eager(step.last_norm, seen)
    x = rows.spread([tokens_of(decoder, row)[-1] for row in range(3)], np.zeros(decoder.spec.hidden_size, np.float32))
    lengths, rope = TokenPositions.of(sequences, rows, decoder.owner).tensors()
    made = step.decode(ms.Tensor(np.array(x)), rope, lengths, block_tables(sequences, rows, 3)).asnumpy()
    assert not made[[row for row in range(len(rows)) if row not in rows.numbers]].any()
    return made[list(rows.numbers)]


def test_a_rank_computes_and_keeps_what_it_owns_and_gets_the_experts_of_its_rows(tiny_dir, config, monkeypatch):
    whole = decoder_of(tiny_dir, config, World())
    monkeypatch.setattr(f"{__name__}.BLOCKS", ([1], [2, 3], [4]))
    expected = read(whole, whole.new_cache(5, "whole", BLOCK), 1)
    monkeypatch.undo()

    def program(world):
        decoder, seen = decoder_of(tiny_dir, config, world), []
        cache = decoder.new_cache(5, f"dealt {world.rank}", BLOCK)
        prompts = read(decoder, cache)
        states = step_of(decoder, cache, seen)
        written = [int(np.abs(block).sum((1, 2)).astype(bool).sum()) for block in cache.keys[0].asnumpy()]
        return prompts, states, seen, written

    outputs, calls = run_as_group(3, program)
    for prompts, states, seen, _ in outputs:
        for row in range(3):
            np.testing.assert_allclose(states[row], expected[row][0][-1], rtol=2e-4, atol=2e-5)
            for made, right in zip(prompts[row], expected[row], strict=True):
                np.testing.assert_allclose(made, right[:-1], rtol=2e-4, atol=2e-5)
        assert set(seen) == {2}  # of the six rows of the call
    # A prompt and a new token each: rank 1 has two sequences, rank 0 one, rank 2 none
    assert [written for *_, written in outputs] == [[0, 8, 4, 0, 0], [0, 6, 0, 4, 0], [0] * 5]
    layers, spec = whole.num_layers, whole.spec
    # Weights and all experts for the prompts, twice the states of two owners; a step
    assert len(calls) == 2 * layers + 4 + 3 * layers + 1
    told = [(f"broadcast {owner}", (count, spec.hidden_size)) for owner, count in ((0, 11), (1, 8))]
    assert calls[2 * layers :][:4] == 2 * told
    expert = -(-3 * spec.hidden_size * config.talker_config.text_config.moe_intermediate_size // 3)  # a rank's part
    for i in range(layers):
        weights, chosen, experts = calls[-1 - 3 * (layers - i) :][:3]
        assert weights[0] == "all_gather" and chosen == ("all_gather", (2, spec.experts_per_token))
        assert experts[0] == "all_to_all" and experts[1][0] == 3 * 2 * spec.experts_per_token
        assert expert <= experts[1][1] < 1.1 * expert
    assert calls[-1] == ("all_gather", (2, spec.hidden_size))
