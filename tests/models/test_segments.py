"""Attention windows: which tokens see each other, and that batching segments changes nothing."""

import numpy as np
import pytest

from ms_omni.models.segments import attend_in_segments, audio_segment_lengths, vision_segment_lengths


def test_audio_windows_hold_eight_chunks_and_end_with_the_clip():
    # 20.5 s: 2050 mel frames -> 20 * 13 + 7 = 267 tokens = 104 + 104 + 59; 1 s -> 13
    assert audio_segment_lengths([267, 13], 13, 50, 800) == [104, 104, 59, 13]
    assert audio_segment_lengths([208], 13, 50, 800) == [104, 104]
    # Every clip shorter than a chunk: the window shrinks with the longest chunk, as in transformers.
    assert audio_segment_lengths([6, 3], 6, 50, 800) == [6, 3]


def test_vision_segments_are_frames():
    assert vision_segment_lengths(np.array([[1, 4, 6], [3, 2, 2]])) == [24, 4, 4, 4]


def _numpy_attention(q, k, v, scaling):
    scores = np.einsum("hqd,hkd->hqk", q, k) * scaling
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hqk,hkd->qhd", weights / weights.sum(-1, keepdims=True), v)


@pytest.mark.parametrize("lengths", [[7], [4, 4, 4], [5, 5, 2], [2, 5, 5, 1, 1]])
def test_segments_equal_attention_alone(cpu, lengths):
    import mindspore as ms

    from ms_omni.models.segments import attention_function

    class Config:
        _attn_implementation = "eager"

    class Module:
        config = Config
        num_key_value_groups = 1
        training = False

    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 2, sum(lengths), 8)).astype(np.float32)
    got = attend_in_segments(
        attention_function(Config), Module(), *(ms.Tensor(x[None]) for x in (q, k, v)), lengths, 0.35
    ).asnumpy()[0]
    ends = np.cumsum(lengths)
    want = np.concatenate(
        [
            _numpy_attention(*(x[:, end - n : end] for x in (q, k, v)), 0.35)
            for n, end in zip(lengths, ends, strict=True)
        ]
    )
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_lengths_must_cover_the_sequence(cpu):
    import mindspore as ms

    x = ms.Tensor(np.zeros((1, 1, 5, 2), np.float32))
    with pytest.raises(ValueError, match="segments of 4 tokens in all for a sequence of 5"):
        attend_in_segments(None, None, x, x, x, [2, 2], 1.0)
