"""Code2Wav in chunks: as long as the single shot, and the same."""

from types import SimpleNamespace

import numpy as np
import pytest

RELEASED = SimpleNamespace(upsample_rates=(8, 5, 4, 3), upsampling_ratios=(2, 2))


@pytest.fixture(scope="module")
def code2wav(engine):
    return engine.model.code2wav


@pytest.fixture
def by_operators(monkeypatch):
    """What a card runs: mindone's operators, one after the other."""
    import ms_omni.models.code2wav as module

    monkeypatch.setattr(module, "on_cpu", lambda: False)


def random_codes(num_frames, seed=0):
    import mindspore as ms

    return ms.Tensor(np.random.default_rng(seed).integers(0, 2048, (1, 16, num_frames)).astype(np.int32))


def test_released_geometry():
    from ms_omni.models.code2wav import convolution_context_frames, missing_tail_samples, samples_per_frame

    assert samples_per_frame(RELEASED) == 1920
    assert missing_tail_samples(RELEASED) == 555
    assert 9 < convolution_context_frames(RELEASED) < 16


@pytest.mark.parametrize(("num_frames", "chunk"), [(1, 300), (7, 1), (130, 40), (130, 129)])
def test_chunks_equal_the_single_shot(code2wav, num_frames, chunk):
    codes = random_codes(num_frames)
    whole = code2wav(codes).asnumpy()
    pieces = [piece.asnumpy() for piece in code2wav.chunks(codes, chunk)]
    assert whole.shape == (1, 1, 1920 * num_frames - 555) and len(pieces) == -(-num_frames // chunk)
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(np.concatenate(pieces, axis=-1), whole, atol=1e-5)


def test_chunks_by_operators_equal_the_single_shot(code2wav, by_operators):
    from ms_omni.models.code2wav import WaveDecoder

    codes = random_codes(130)
    assert type(code2wav.new_decoder()) is WaveDecoder
    pieces = [piece.asnumpy() for piece in code2wav.chunks(codes, 40)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=-1), code2wav(codes).asnumpy(), atol=1e-5)


@pytest.mark.parametrize("num_frames", [1, 5, 200])
def test_arrays_equal_operators(code2wav, monkeypatch, num_frames):
    """The wave in numpy is that of mindone's operators, also beyond the attention window of 72 frames."""
    import ms_omni.models.code2wav as module

    codes = random_codes(num_frames, seed=5)
    arrays = code2wav(codes).asnumpy()
    monkeypatch.setattr(module, "on_cpu", lambda: False)
    np.testing.assert_allclose(arrays, code2wav(codes).asnumpy(), atol=2e-5)


def test_two_streams_in_one_call(code2wav):
    """A batch of two gives what either gives alone, piece by piece."""
    import mindspore as ms

    from ms_omni.models.code2wav_cpu import CpuWaveDecoder

    codes = [random_codes(90, seed).asnumpy() for seed in (6, 7)]
    both, alone = CpuWaveDecoder(code2wav, code2wav._parts, batch=2), [code2wav.new_decoder() for _ in codes]
    for part in (slice(0, 4), slice(4, 84), slice(84, 90)):
        together = both.decode(ms.Tensor(np.concatenate(codes)[..., part])).asnumpy()
        for row, (decoder, one) in enumerate(zip(alone, codes, strict=True)):
            np.testing.assert_allclose(together[row], decoder.decode(ms.Tensor(one[..., part])).asnumpy()[0], atol=1e-5)
        assert np.abs(together[0] - together[1]).max() > 1e-3


def test_context_is_no_longer_than_needed_nor_shorter(code2wav, by_operators, monkeypatch):
    import ms_omni.models.code2wav as module

    codes = random_codes(80, seed=1)
    whole = code2wav(codes).asnumpy()
    enough = module.convolution_context_frames(code2wav.config)
    monkeypatch.setattr(module, "convolution_context_frames", lambda config: enough // 2)
    too_short = np.concatenate([piece.asnumpy() for piece in code2wav.chunks(codes, 40)], axis=-1)
    assert too_short.shape == whole.shape and np.abs(too_short - whole).max() > 1e-6


def test_chunked_decode_with_given_context_loses_nothing(code2wav):
    """mindone's and transformers' signature: 300 frames with 25 of context lose 555 samples there, none here; with as
    much context as the attention windows reach it is the single shot."""
    codes = random_codes(160, seed=3)
    whole = code2wav(codes).asnumpy()
    assert code2wav.chunked_decode(codes, chunk_size=60, left_context_size=25).shape == whole.shape
    reach = code2wav.config.num_hidden_layers * (code2wav.config.sliding_window - 1) + 16
    exact = code2wav.chunked_decode(codes, chunk_size=150, left_context_size=reach).asnumpy()
    np.testing.assert_allclose(exact, whole, atol=1e-4)


def test_seventy_seconds(code2wav):
    wave = code2wav.chunked_decode(random_codes(880, seed=4))
    assert wave.shape == (1, 1, 1920 * 880 - 555)


def test_wrong_number_of_codebooks(code2wav):
    import mindspore as ms

    with pytest.raises(ValueError, match="expected 16 codes a frame, got 15"):
        code2wav(ms.Tensor(np.zeros((1, 15, 4), np.int32)))
