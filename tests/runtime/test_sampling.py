"""Picking tokens: the distribution that transformers' warpers describe, drawn by numbers from the host."""

import numpy as np
import pytest

LOGITS = np.array([[2.0, 1.0, 0.0, -1.0, 3.0, 0.5]], np.float32)
SETTINGS = [(1.0, 0, 1.0), (0.7, 3, 1.0), (1.3, 0, 0.8), (1.0, 4, 0.6), (1.0, 50, 1e-6), (0.9, 1, 1.0), (0.0, 5, 0.5)]


@pytest.fixture
def operators(cpu):
    """The CPU's; tests/ascend/test_ascend_sampling.py has the card's."""
    from ms_omni.kernels.decoder_ops import decoder_ops

    return decoder_ops("CPU")


def warped(logits, temperature, top_k, top_p):
    """The distribution by definition, in numpy."""
    if not temperature:
        return np.eye(len(logits))[logits.argmax()]
    scores = logits.astype(np.float64) / temperature
    order = np.argsort(-scores)
    kept = order[: top_k or len(order)]
    chances = np.exp(scores[kept] - scores[kept].max())
    chances /= chances.sum()
    before = np.cumsum(chances) - chances
    chances = np.where(before < top_p, chances, 0)
    out = np.zeros(len(scores))
    out[kept] = chances / chances.sum()
    return out


def draw(operators, logits, rows, uniform, compiled=False):
    """What every row of `rows` picks for each of `uniform`, int (len(uniform), rows)."""
    import mindspore as ms

    from ms_omni.runtime.sampling import Sampling, SamplingTensors

    settings = SamplingTensors.of([Sampling(*row) for row in rows], logits.shape[1], operators)
    sampler = operators.Sampler(len(rows), logits.shape[1], settings.num_kept, "test")

    def pick(*inputs):
        return sampler(*inputs)

    run = ms.jit(pick, jit_level="O0") if compiled else pick
    scores = ms.Tensor(np.broadcast_to(logits, (len(rows), logits.shape[1])).copy())
    numbers = [ms.Tensor(np.full(len(rows), u, np.float32)) for u in uniform]
    return np.array([run(scores, number, *settings.tensors).asnumpy() for number in numbers])


@pytest.mark.parametrize("compiled", [False, True])
def test_evenly_spread_numbers_give_every_row_its_own_distribution(operators, compiled):
    """Inverting the cumulative distribution at the middles of equal steps: every share within a step."""
    steps = 60 if compiled else 400
    made = draw(operators, LOGITS, SETTINGS, (np.arange(steps) + 0.5) / steps, compiled)
    for row, settings in enumerate(SETTINGS):
        shares = np.bincount(made[:, row], minlength=LOGITS.shape[1]) / steps
        np.testing.assert_allclose(shares, warped(LOGITS[0], *settings), atol=1.5 / steps, err_msg=str(settings))


@pytest.mark.parametrize("row", [(0.8, 50, 1.0), (1.0, 128, 0.9), (1.2, 200, 0.7), (0.7, 0, 0.95), (1.1, 0, 1.0)])
def test_a_large_vocabulary(operators, row):
    """The same picks alone and beside rows of other settings, and those of the definition, the likeliest first."""
    logits = np.random.default_rng(3).standard_normal((1, 1000)).astype(np.float32) * 3
    uniform = np.linspace(0.003, 0.997, 25)
    alone = draw(operators, logits, [row], uniform)[:, 0]
    np.testing.assert_array_equal(draw(operators, logits, [(0.0, 0, 1.0), row, (0.5, 7, 1.0)], uniform)[:, 1], alone)
    order = np.argsort(-logits[0])
    reached = np.cumsum(warped(logits[0], *row)[order])
    np.testing.assert_array_equal(alone, [order[np.searchsorted(reached, u)] for u in uniform])


def test_greedy_takes_the_largest_whatever_the_number(operators):
    assert (draw(operators, LOGITS, [(0.0, 5, 0.5)], (0.0, 0.999999)) == 4).all()


def test_equal_logits_are_drawn_alike(operators):
    made = draw(operators, np.zeros((1, 8), np.float32), [(1.0, 0, 1.0), (1.0, 4, 1.0)], (np.arange(80) + 0.5) / 80)
    np.testing.assert_array_equal(np.bincount(made[:, 0], minlength=8), 10)
    np.testing.assert_array_equal(np.sort(np.bincount(made[:, 1], minlength=8)), [0] * 4 + [20] * 4)


def test_outside_graphs_no_operator_of_mindspore_picks(operators):
    """It would call the function of an operator that is gone, in a process with several engines."""
    import mindspore as ms

    from ms_omni.runtime.sampling import GREEDY, SamplingTensors

    class Operator:
        def __init__(self, operator):
            self.function = operator.function

        def __call__(self, inputs):
            raise AssertionError("the operator was called")

    settings = SamplingTensors.of([GREEDY], LOGITS.shape[1], operators)
    sampler = operators.Sampler(1, LOGITS.shape[1], settings.num_kept, "test")
    sampler.kernel = Operator(sampler.kernel)
    uniform = ms.Tensor(np.zeros(1, np.float32))
    assert sampler(ms.Tensor(LOGITS), uniform, *settings.tensors).asnumpy().tolist() == [4]


def test_a_card_has_three_graphs_whatever_the_settings():
    from ms_omni.kernels.decoder_ops import decoder_ops

    num_kept = decoder_ops("Ascend").num_kept
    assert {num_kept(top_k, 152_064) for top_k in (1, 2, 50, 128, 129, 152_064)} == {1, 128, 152_064}
    assert {num_kept(top_k, 100) for top_k in (1, 2, 100)} == {1, 100}


def test_repetition_penalty_as_transformers(cpu):
    import mindspore as ms

    from ms_omni.runtime.sampling import penalize_repeated

    seen = ms.Tensor(np.array([[1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], np.float32))
    logits = ms.Tensor(np.concatenate([LOGITS, LOGITS]))
    got = penalize_repeated(logits, seen, ms.Tensor([1.25, 1.0], ms.float32)).asnumpy()
    np.testing.assert_allclose(got[0], [1.6, 1.0, 0.0, -1.25, 3.0, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(got[1], LOGITS[0])


def test_another_setting_is_no_other_graph(fused):
    from ms_omni import SamplingParams
    from ms_omni.parallel.graph_counts import compiled_graphs

    lengths = {"thinker_max_new_tokens": 3, "talker_max_new_tokens": 3}
    fused.generate("Hello", sampling=SamplingParams(**lengths, thinker_temperature=0.0, talker_temperature=0.0))
    before = compiled_graphs()
    for top_k in (0, 2, 60):
        for temperature, top_p in ((0.3, 0.5), (1.7, 1.0)):
            settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
            both = {f"{stage}_{name}": value for stage in ("thinker", "talker") for name, value in settings.items()}
            fused.generate("Hello", sampling=SamplingParams(**lengths, **both, talker_repetition_penalty=temperature))
    fused.generate("Hello", sampling=SamplingParams(**lengths, ignore_eos=True))
    assert compiled_graphs() == before
