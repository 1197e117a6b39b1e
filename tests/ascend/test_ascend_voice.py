"""Code2Wav for several conversations in one call on the emulated card: the waves that each has alone, and launches."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def decoder(ascend, tiny_dir):
    import mindspore as ms

    from ms_omni.models.code2wav_rings import WaveDecoder
    from ms_omni.models.load import load_network

    model = load_network(tiny_dir, dtype=ms.float16, with_decoders=False)
    assert type(model.code2wav._decoder) is WaveDecoder
    return model.code2wav._decoder


def codes_of(num_frames, seed):
    return np.random.default_rng(seed).integers(0, 2048, (16, num_frames)).astype(np.int32)


def launched(decoder, lengths, *, later):
    """Launches of a piece of so many frames of each stream, the first or a later one."""
    import mindspore as ms
    from ascend_emulator import trace

    streams = [decoder.new_stream() for _ in lengths]
    for _ in range(1 + later):
        ms.runtime.synchronize()
        trace.reset()
        decoder.decode(streams, [codes_of(length, seed) for seed, length in enumerate(lengths)])
        ms.runtime.synchronize()
    return trace.launches()


@pytest.mark.parametrize("later", [False, True], ids=["first", "later"])
def test_as_many_launches_for_any_number_of_rows(decoder, later):
    """What is no copy for one row, whose first axis has a single place, is one for two and more."""
    one, two = launched(decoder, [3], later=later), launched(decoder, [2, 3], later=later)
    assert launched(decoder, [3, 2, 1, 3, 3], later=later) == two
    copies = two.pop("aclnn aclnnInplaceCopy") - one.pop("aclnn aclnnInplaceCopy")
    assert two == one and 0 <= copies < 0.02 * sum(one.values())
    assert sum(one.values()) > 100 and not [name for name in one if name.startswith("aclop")]


def test_streams_together_and_alone(decoder):
    """Pieces that differ in length and go round the ring of 72, of streams that join and leave."""
    codes = [codes_of(frames, frames) for frames in (80, 9, 6)]
    alone = []
    for each in codes:
        (wave,) = decoder.decode([decoder.new_stream()], [each])
        alone.append(wave)
        assert np.abs(wave).max() > 0.1
    streams, done, pieces = {}, [0, 0, 0], [[], [], []]
    for call in ({0: 70, 1: 4}, {1: 5, 0: 3}, {2: 6, 0: 7}):
        for row in call:
            if row not in streams:
                streams[row] = decoder.new_stream()
        given = [codes[row][:, done[row] : done[row] + count] for row, count in call.items()]
        for row, wave in zip(call, decoder.decode([streams[row] for row in call], given), strict=True):
            pieces[row].append(wave)
            done[row] += call[row]
            if done[row] == codes[row].shape[1]:
                del streams[row]
    for made, wave in zip(pieces, alone, strict=True):
        np.testing.assert_allclose(np.concatenate(made), wave, atol=0.02 * np.abs(wave).max())
