"""Ranks of one conversation go on from the same codes, also where one of them would have picked others."""

from copy import copy
from dataclasses import replace

import numpy as np

from ms_omni.parallel.collectives import GroupOps
from ms_omni.parallel.world import World


def rank(number, broadcast):
    """Of two, which call nothing but `broadcast`."""
    ops = GroupOps(None, None, (broadcast,), widens=False, sums_integers=True)
    return replace(World(number, 2, 2), ops=ops)


def test_the_talker_reads_the_codes_that_are_agreed_on(fused, monkeypatch):
    import mindspore as ms

    from ms_omni.runtime.talker_graph import TalkerGraph
    from ms_omni.runtime.talker_sampling import GREEDY_TALKER

    talker = fused.executor.talker
    settings = talker.tensors([GREEDY_TALKER])
    sent, work = [], talker.frames.work

    class Lower(ms.nn.Cell):
        def __init__(self, sampler, by):
            super().__init__()
            self.sampler, self.by = sampler, by

        def construct(self, *inputs):
            return ms.ops.abs(self.sampler(*inputs) - self.by)

    def frame(world, other_codes):
        """What a rank makes of one frame. It picks codes that are `other_codes` lower."""
        lower = copy(work)
        lower.sample = lambda *inputs: np.abs(work.sample(*inputs) - other_codes)
        monkeypatch.setattr(talker.frames, "work", lower)
        graph = TalkerGraph(talker, 1, settings.num_kept)
        graph.world = world
        graph.sampler = Lower(graph.sampler, other_codes)
        rng = np.random.default_rng(5)
        hidden = ms.Tensor(rng.standard_normal((1, talker.decoder.spec.hidden_size), np.float32))
        seen = ms.Tensor(np.zeros((1, talker.config.text_config.vocab_size), np.float32))
        uniform = ms.Tensor(np.zeros((talker.config.num_code_groups, 1), np.float32))
        table = np.eye(1, talker.max_blocks, dtype=np.int32)  # block 1, which is nobody's now
        places = ms.Tensor([1], ms.int32), ms.Tensor([0.0], ms.float32), ms.Tensor(table)
        inputs = hidden, ms.Tensor([3], ms.int32), seen, ms.Tensor([20], ms.int32), *places, uniform
        made, state, _ = graph.construct(*inputs, *settings.first_code, *settings.predictor.tensors)
        return made.asnumpy(), state.asnumpy()

    def send(x):
        sent.append(x)
        return x

    codes, state = frame(rank(0, send), 0)
    received = iter(sent)
    others_codes, others_state = frame(rank(1, lambda x: next(received)), 1)
    np.testing.assert_array_equal(others_codes, codes)
    np.testing.assert_array_equal(others_state, state)
    assert next(received, None) is None
    own_codes, own_state = frame(World(), 1)
    assert (own_codes[1:-1] != codes[1:-1]).any() and np.abs(own_state - state).max() > 1e-3
