"""Differences in roundings, by hand; and the formulas against the kernels that every answer on a CPU is made with."""

import math

import ml_dtypes
import numpy as np
import pytest

from ms_omni.acceptance import formulas
from ms_omni.acceptance.compare import close, close_rms, equal, in_roundings, rounding, worst_of
from ms_omni.acceptance.findings import DIFFERS, OK, Finding


def values(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


@pytest.mark.parametrize("dtype, kind", [("bfloat16", ml_dtypes.bfloat16), ("float16", np.float16)])
def test_one_rounding_is_at_most_one(dtype, kind):
    x = values(5000)
    once = in_roundings(x.astype(kind).astype(np.float64), x, dtype)
    assert 0.5 < once <= 1
    assert in_roundings(x + 3 * rounding(dtype) * np.abs(x).max(), x, dtype) > 3


def test_a_difference_is_measured_at_the_size_of_the_whole():
    right = np.array([1.0, -1.0, 1.0, 0.0])
    made = right + np.array([0.0, 0.0, 0.0, 2.0**-8])
    assert in_roundings(made, right, "bfloat16") == pytest.approx(1 / math.sqrt(0.75))


@pytest.mark.parametrize("wrong", [np.zeros(3), np.array([1.0, np.nan]), np.array([1.0, np.inf])])
def test_other_shapes_and_no_numbers_differ_by_everything(wrong):
    right = np.ones(2)
    assert close([(wrong, right)], "float16", 1e9).verdict == DIFFERS
    assert close_rms([(wrong, right)], "float16", 1e9).verdict == DIFFERS


def test_equal_counts():
    found = equal([(np.arange(4), np.array([0, 1, 9, 9])), (np.ones(2), np.ones(2))])
    assert (found.difference, found.verdict) == (2, DIFFERS)
    assert equal([(np.ones((2, 2)), np.ones(4))]).verdict == DIFFERS


def test_together_takes_the_furthest_beyond():
    findings = [Finding(3.0, 8.0, "a"), Finding(1.0, 0.0, "b"), Finding(9.0, 8.0, "c")]
    assert worst_of(findings).unit == "b"
    assert worst_of(findings[:1]).verdict == OK


def test_formulas_are_the_cpus_kernels():
    from ms_omni.kernels import numpy_math
    from ms_omni.kernels.numpy_attention import Segment, attention

    x, norm = values(5, 32).astype(np.float32), values(32, seed=1).astype(np.float32)
    assert in_roundings(numpy_math.rms_norm(x, norm, 1e-6), formulas.rms_norm(x, norm, 1e-6), "float32") < 16
    q, k, v = (values(n, heads, 16, seed=n + heads).astype(np.float32) for n, heads in ((5, 4), (9, 2), (9, 2)))
    right = formulas.attention(q, k, v, 0.25)
    queries = (np.float32(0.25) * q).reshape(5, 2, 2, 16).swapaxes(0, 1)
    attended = attention(queries, [Segment(slice(0, 5), k.swapaxes(0, 1), v.swapaxes(0, 1))], is_causal=True)
    assert in_roundings(attended.reshape(right.shape), right, "float32") < 64
    some = formulas.attention(q, k, v, 0.25, queries=np.array([1, 4]))
    np.testing.assert_allclose(some, right[[1, 4]], rtol=1e-5, atol=1e-6)
    angles = formulas.rotary_angles(np.arange(5.0), 16, 1e4, None)
    turned = numpy_math.rotate(q, numpy_math.rotary_of(angles[:, :8].astype(np.float32)))
    assert in_roundings(turned, formulas.rotate(q, angles), "float32") < 64


def test_angles_of_three_axes_are_the_decoders():
    from ms_omni.runtime.decoder_spec import DecoderSpec

    spec = DecoderSpec(64, 1, 4, 2, 128, 1e-6, 1e6, mrope_section=(24, 20, 20))
    positions = np.stack([np.arange(9), np.arange(9) % 4, np.arange(9) % 3]).astype(np.float32)
    made = formulas.rotary_angles(positions, 128, 1e6, (24, 20, 20))
    np.testing.assert_allclose(made, spec.angles(positions), atol=1e-5)


@pytest.mark.parametrize("warp", [(0, 0, 1.0), (0.9, 5, 1.0), (1.0, 20, 0.7), (1.5, 0, 1.0)])
def test_picks_are_the_cpus(cpu, warp):
    import mindspore as ms
    from mindspore import Tensor

    from ms_omni.kernels import decoder_ops_cpu
    from ms_omni.runtime.sampling import Sampling, SamplingTensors

    logits = values(40) * 3
    settings = SamplingTensors.of([Sampling(*warp)], 40, decoder_ops_cpu)
    sampler = decoder_ops_cpu.Sampler(1, 40, settings.num_kept, "test")
    for uniform in (0.01, 0.37, 0.93):
        scores = Tensor(logits[None].astype(np.float32))
        made = sampler(scores, Tensor([uniform], ms.float32), *settings.tensors)
        assert int(made.asnumpy()[0]) == formulas.sample(logits.astype(np.float32), uniform, *warp)
