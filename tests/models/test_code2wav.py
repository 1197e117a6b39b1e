"""Code2Wav in chunks: as long as the single shot, and the same."""

from types import SimpleNamespace

import numpy as np
import pytest

RELEASED = SimpleNamespace(upsample_rates=(8, 5, 4, 3), upsampling_ratios=(2, 2))


@pytest.fixture(scope="module")
def code2wav(engine):
    return engine.model.code2wav


@pytest.fixture(scope="module", params=["numpy", "operators"])
def decoder(request, code2wav):
    """What decodes on a CPU, and by mindone's operators what does on a card."""
    from ms_omni.models.code2wav_cpu import CpuWaveDecoder
    from ms_omni.models.code2wav_rings import WaveDecoder

    return (CpuWaveDecoder if request.param == "numpy" else WaveDecoder)(code2wav)


def random_codes(num_frames, seed=0):
    import mindspore as ms

    return ms.Tensor(codes_of(num_frames, seed)[None])


def codes_of(num_frames, seed=0):
    return np.random.default_rng(seed).integers(0, 2048, (16, num_frames)).astype(np.int32)


def by_mindone(code2wav, codes):
    """The single shot by mindone's own model, which has no state."""
    import mindspore as ms
    from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

    return Qwen3OmniMoeCode2Wav.construct(code2wav, ms.Tensor(codes[None])).asnumpy().reshape(-1)


def test_released_geometry():
    from ms_omni.models.code2wav_sizes import convolution_context_frames, missing_tail_samples, samples_per_frame

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


@pytest.mark.parametrize("num_frames", [1, 5, 200])
def test_the_wave_is_that_of_mindones_model(code2wav, decoder, num_frames):
    """Also beyond the attention window of 72 frames."""
    codes = codes_of(num_frames, seed=5)
    (wave,) = decoder.decode([decoder.new_stream()], [codes])
    np.testing.assert_allclose(wave, by_mindone(code2wav, codes), atol=2e-5)
    assert wave.dtype == np.float32 and np.abs(wave).max() > 1e-3


@pytest.mark.parametrize("frames", [71, 72, 73])
def test_a_ring_that_is_filled_and_wraps(code2wav, decoder, frames):
    """Pieces that end one frame before the end of the ring, at it and behind it, the first time and the second, and
    one that is longer than a ring."""
    codes = codes_of(frames + 72 + 3 + 150 + 2, seed=frames)
    cuts = np.cumsum([frames - 1, 1, 71, 1, 3, 150])
    stream = decoder.new_stream()
    pieces = [decoder.decode([stream], [part])[0] for part in np.split(codes, cuts, axis=1)]
    np.testing.assert_allclose(np.concatenate(pieces), by_mindone(code2wav, codes), atol=2e-5)


def test_streams_that_join_and_leave(code2wav, decoder):
    """Each has the wave that it has alone, piece by piece, whatever is decoded with it."""
    codes = [codes_of(num_frames, seed) for seed, num_frames in enumerate((90, 12, 130, 33))]
    # frames of each stream in each call; the third comes when the second has gone
    calls = ({0: 4, 1: 7}, {0: 25, 1: 5}, {2: 4, 0: 1}, {0: 60, 2: 100, 3: 30}, {3: 3, 2: 26})
    streams, done, pieces = {}, [0] * 4, [[] for _ in codes]
    for call in calls:
        for row in call:
            if row not in streams:
                streams[row] = decoder.new_stream()
        given = [codes[row][:, done[row] : done[row] + count] for row, count in call.items()]
        waves = decoder.decode([streams[row] for row in call], given)
        for (row, count), wave in zip(call.items(), waves, strict=True):
            assert len(wave) == 1920 * count - (0 if done[row] else 555)
            pieces[row].append(wave)
            done[row] += count
            if done[row] == codes[row].shape[1]:
                del streams[row]
    assert not streams
    for each, made in zip(codes, pieces, strict=True):
        (alone,) = decoder.decode([decoder.new_stream()], [each])
        np.testing.assert_allclose(np.concatenate(made), alone, atol=1e-5)


def num_bytes(state):
    if isinstance(state, np.ndarray):
        return state.nbytes
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list) else vars(state).values()
    return sum(num_bytes(part) for part in parts if not isinstance(part, int))


def test_the_state_of_a_stream_does_not_grow(code2wav):
    from ms_omni.models.code2wav_cpu import CpuWaveDecoder

    decoder = CpuWaveDecoder(code2wav)
    stream, sizes = decoder.new_stream(), set()
    for frames in (1, 4, 25, 100, 300, 2):
        decoder.decode([stream], [codes_of(frames)])
        sizes.add(num_bytes(stream))
    assert len(sizes) == 1 and sizes.pop() > 2 * 2 * 72 * 16 * 4


def test_rings_are_used_again(code2wav):
    """Of streams that are dropped, by the ones after them, which see nothing that was left there."""
    from ms_omni.models.code2wav_rings import WaveDecoder

    decoder = WaveDecoder(code2wav)
    codes = codes_of(5, seed=2)
    first = [decoder.new_stream() for _ in range(3)]
    (alone,) = decoder.decode(first[:1], [codes])
    assert sorted(stream.number for stream in first) == [1, 2, 3]
    for rings in (*decoder._windows.keys, *decoder._windows.values, decoder._hidden):
        assert rings._rows.shape[0] == 4
        rings._rows[1:].fill_(float("nan"))
    del first
    for _ in range(20):
        stream = None
        stream = decoder.new_stream()
        (wave,) = decoder.decode([stream], [codes])
        np.testing.assert_array_equal(wave, alone)
    assert decoder._hidden._rows.shape[0] == 4


def test_no_two_rows_go_to_one_place():
    """A card says nothing about which of them would stay. What pads a call, and what would be overwritten, is given to
    nobody."""
    import mindspore as ms

    from ms_omni.models.code2wav_rings import Rings, Stream

    rings = Rings(5, (2,), ms.float32)
    places = rings.places([Stream(2, 3), Stream(1, 9)], [2, 12], 12).asnumpy().reshape(2, 12)
    assert places[0].tolist() == [13, 14] + [0] * 10
    assert places[1].tolist() == [0] * 7 + [6, 7, 8, 9, 5]


def test_pieces_that_are_decoded_together():
    from ms_omni.models.code2wav_sizes import together

    assert list(together([25] * 8, 11, 300)) == [[0, 1, 2, 3, 4, 5, 6, 7]]
    assert list(together([4, 300, 25, 299, 4], 11, 300)) == [[1], [3], [2, 0, 4]]
    assert list(together([500, 1], 0, 300)) == [[0], [1]] and list(together([], 0, 300)) == []
    rng = np.random.default_rng(0)
    for context in (0, 11):
        lengths = rng.integers(1, 301, 50).tolist()
        groups = list(together(lengths, context, 300))
        assert sorted(number for group in groups for number in group) == list(range(50))
        for group in groups:
            assert len(group) * (context + max(lengths[number] for number in group)) <= context + 300


def test_waves_come_with_their_numbers(code2wav):
    """Longer pieces are decoded first, and by themselves."""
    codes = [codes_of(frames, seed=frames) for frames in (3, 290, 1, 40)]
    waves = dict(code2wav.decode([code2wav.new_stream() for _ in codes], codes))
    assert len(waves) == 4
    for number, each in enumerate(codes):
        ((_, alone),) = code2wav.decode([code2wav.new_stream()], [each])
        np.testing.assert_allclose(waves[number], alone, atol=1e-5)


def test_context_is_no_longer_than_needed_nor_shorter(code2wav, monkeypatch):
    from ms_omni.models import code2wav_rings

    codes = codes_of(80, seed=1)
    whole = by_mindone(code2wav, codes)
    enough = code2wav_rings.convolution_context_frames(code2wav.config)
    monkeypatch.setattr(code2wav_rings, "convolution_context_frames", lambda config: enough // 2)
    decoder = code2wav_rings.WaveDecoder(code2wav)
    stream = decoder.new_stream()
    too_short = np.concatenate([decoder.decode([stream], [part])[0] for part in np.split(codes, 2, axis=1)])
    assert too_short.shape == whole.shape and np.abs(too_short - whole).max() > 2e-5


def test_chunked_decode_is_the_single_shot(code2wav):
    """mindone's and transformers' signature, where 25 frames of context lose 555 samples at each boundary."""
    codes = random_codes(160, seed=3)
    made = code2wav.chunked_decode(codes, chunk_size=60, left_context_size=25).asnumpy()
    np.testing.assert_allclose(made, code2wav(codes).asnumpy(), atol=1e-4)


def test_seventy_seconds(code2wav):
    wave = code2wav.chunked_decode(random_codes(880, seed=4))
    assert wave.shape == (1, 1, 1920 * 880 - 555)


def test_wrong_number_of_codebooks(code2wav):
    import mindspore as ms

    with pytest.raises(ValueError, match="expected 16 codes a frame, got 15"):
        code2wav(ms.Tensor(np.zeros((1, 15, 4), np.int32)))
