"""Ranks with different conversations come to the same collectives in the same order, whatever each of them wants."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_group import run_as_group, silent_world

from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.parallel.shards import ShardedReader
from ms_omni.parallel.sizes import TALKER, ModelSizes
from ms_omni.parallel.table import ZERO3_LAYERS, part

# Of every rank, (kind, size) in its order: 1 and 3 are prefills of so many chunks, 2 and 4 are steps
WANTED = [
    [(1, 2), (2, 1), (2, 1), (3, 1), (4, 1), (2, 1)],
    [(1, 3), (2, 1), (1, 1), (2, 1), (2, 1), (2, 1), (3, 4), (4, 1), (4, 1), (4, 1)],
    [],
]


def group_work(wanted):
    """A program for run_as_group: every rank does what `wanted` says, then takes part. What its own work returned, and
    all that it did, (kind, size, whether for itself)."""
    import mindspore as ms

    from ms_omni.parallel.collectives import all_gather
    from ms_omni.runtime.lockstep import Lockstep, Work

    def program(world):
        lockstep, did = Lockstep(replace(world, data_parallel=True)), []

        def work(kind, size, is_own):
            for _ in range(size):
                all_gather(ms.Tensor(np.zeros((1, 10 * kind), np.float32)), world)
            did.append((int(kind), size, is_own))
            return int(kind)

        for kind in Work:
            lockstep.register(kind, lambda size, kind=kind: work(kind, size, False))
        made = [
            lockstep.do(Work(kind), lambda size, kind=kind: work(kind, size, True), size)
            for kind, size in wanted[world.group_rank]
        ]
        lockstep.take_part()
        return made, did

    return program


def test_everybody_takes_part_in_what_anybody_wants(cpu):
    outputs, calls = run_as_group(3, group_work(WANTED))
    for (made, did), wanted in zip(outputs, WANTED, strict=True):
        assert made == [kind for kind, _ in wanted]
        assert [kind for kind, _, is_own in did if is_own] == made
    all_did = [[(kind, size) for kind, size, _ in did] for _, did in outputs]
    # Together where they want the same, at the larger size; else one thing after the other, by its number
    assert all_did[0] == all_did[1] == all_did[2]
    assert all_did[0] == [
        (1, 3), (2, 1), (1, 1), (2, 1), (2, 1), (3, 1), (2, 1), (4, 1), (2, 1), (3, 4), (4, 1), (4, 1), (4, 1),
    ]  # fmt: skip
    turns = [shape for _, shape in calls if shape == (1, 2)]
    assert len(turns) == max(map(len, WANTED)) + 1


def test_one_who_wants_nothing_ends_with_the_others(cpu):
    outputs, calls = run_as_group(2, group_work([[], []]))
    assert outputs == [([], [])] * 2 and calls == [("all_gather", (1, 2))]


def test_with_one_conversation_nobody_asks(cpu):
    from ms_omni.runtime.lockstep import Lockstep, Work

    lockstep = Lockstep(silent_world(0, 2))
    assert lockstep.do(Work.THINKER_STEP, lambda size: size + 1, 4) == 5
    lockstep.take_part()


def test_a_longer_prompt_of_another_rank_is_accompanied(cpu, monkeypatch):
    from ms_omni.runtime import lockstep as module

    monkeypatch.setattr(module, "PREFILL_CHUNK", 4)
    done = []

    def decoder(rank):
        return SimpleNamespace(
            prefill=lambda x, *rest: done.append((rank, "own", x.shape[0], rest)) or rank,
            accompany=lambda chunks: done.append((rank, "others", chunks)),
        )

    def program(world):
        import mindspore as ms

        done.clear()
        lockstep = module.Lockstep(replace(world, data_parallel=True))
        tokens = ms.Tensor(np.zeros(((5, 12)[world.group_rank], 2), np.float32))
        made = lockstep.prefill(module.Work.TALKER_PREFILL, decoder(world.group_rank), tokens, "cache")
        return made, [*done]

    (first, second), _ = run_as_group(2, program)
    assert first == (0, [(0, "own", 5, ("cache",)), (0, "others", 1)])
    assert second == (1, [(1, "own", 12, ("cache",)), (1, "others", 0)])


@pytest.mark.parametrize("size", [2, 3])
def test_every_rank_gets_the_experts_of_its_own_token(cpu, size):
    """Which ones anybody wants, and then these: two collectives."""
    import mindspore as ms

    from ms_omni.runtime.decoder_layer import DecoderLayer

    experts = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    chosen = [[4, 0], [0, 3], [2, 1]]

    def program(world):
        mine = np.ascontiguousarray(experts[:, part(6, world.group_rank, size)])
        layer = SimpleNamespace(world=replace(world, data_parallel=True), expert_rows=ms.Tensor(mine), top_k=2)
        ids = ms.Tensor(np.array([chosen[world.group_rank]], np.int32))
        return DecoderLayer.chosen_experts(layer, ids).asnumpy()

    outputs, calls = run_as_group(size, program)
    for rank, parts in enumerate(outputs):
        np.testing.assert_array_equal(np.concatenate(list(parts), axis=1), experts[chosen[rank]])
    assert [shape for _, shape in calls] == [(1, 2), (1, size, 2, 6 // size)]


def test_prompts_of_different_lengths_and_a_token_of_each(tiny_dir, cpu):
    """A prompt of one token, which gathers all experts as well, a longer one, and a rank that has none."""
    import mindspore as ms

    from ms_omni.runtime.decoder import StackedDecoder
    from ms_omni.runtime.decoder_spec import DecoderSpec
    from ms_omni.runtime.share import Share
    from ms_omni.runtime.token_step import TokenStep

    config, reader = read_config(tiny_dir), CheckpointReader(tiny_dir)
    spec, sizes = DecoderSpec.from_config(config.talker_config.text_config), ModelSizes.from_config(config)
    rows = np.random.default_rng(1).standard_normal((6, spec.hidden_size)).astype(np.float32)

    def last_states(decoder, prompt, token):
        """Of the prompt and of the token after it."""
        cache, count = decoder.new_cache(3, "cache"), len(prompt)
        if prompt:
            state, _ = decoder.prefill(ms.Tensor(rows[prompt]), np.arange(count, dtype=np.float32), cache, [2], [], -1)
        else:
            decoder.accompany(1)
        step = TokenStep(decoder, cache, "step", 1, 1)
        x, gathered = step.gather_before(ms.Tensor(rows[token : token + 1]))
        place = ms.Tensor([float(count)], ms.float32), ms.Tensor([count + 1], ms.int32), ms.Tensor([[2]], ms.int32)
        made, _ = step.decode(x, *place, gathered)
        return [state.asnumpy(), made.asnumpy()] if prompt else None

    questions = [([0], 1), ([2, 3, 4], 5), ([], 0)]

    def program(world):
        world = replace(world, data_parallel=True)
        share, own = Share(ZERO3_LAYERS, world), ShardedReader(reader, ZERO3_LAYERS, world, sizes)
        decoder = StackedDecoder(own, TALKER, spec, decoder_ops("CPU"), ms.float32, share)
        return last_states(decoder, *questions[world.group_rank])

    outputs, calls = run_as_group(3, program)
    whole = StackedDecoder(reader, TALKER, spec, decoder_ops("CPU"), ms.float32)
    for states, question in zip(outputs[:2], questions, strict=False):
        np.testing.assert_allclose(states, last_states(whole, *question), rtol=1e-4, atol=1e-5)
    assert len(calls) == 5 * spec.num_layers  # two for the prompts, three for the tokens
