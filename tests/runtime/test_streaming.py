"""Speech while the text is still being made, with nothing lost and nothing different."""

import numpy as np
import pytest

from ms_omni import AudioChunk, OmniError, SamplingParams, StreamEnd, TextDelta

HELLO = [{"role": "user", "content": "Tell me a story."}]
LONG = SamplingParams(thinker_max_new_tokens=40, talker_max_new_tokens=31, talker_temperature=0.0, ignore_eos=True)


@pytest.fixture(scope="module")
def chunks(fused):
    return list(fused.stream(HELLO, sampling=LONG, first_chunk_frames=3, chunk_frames=8))


def test_first_audio_comes_before_the_text_has_ended(chunks):
    kinds = [type(chunk) for chunk in chunks]
    assert kinds.index(AudioChunk) < len(kinds) - 1 - kinds[::-1].index(TextDelta)
    stats = chunks[-1].output.stats
    assert 0 < stats["first_token_s"] < stats["first_audio_s"] < stats["total_s"]


def test_pieces_have_the_sizes_asked_for(chunks):
    sizes = [len(chunk.samples) for chunk in chunks if isinstance(chunk, AudioChunk)]
    # 30 frames; the first piece misses the 555 samples that need a next frame
    assert sizes[0] == 3 * 1920 - 555 and sum(sizes) == 30 * 1920 - 555
    assert all(size % 1920 == 0 and 3 * 1920 <= size <= 8 * 1920 for size in sizes[1:-1]) and sizes[-1] <= 8 * 1920


def test_the_whole_is_that_of_one_after_the_other(fused, baseline, chunks):
    output = chunks[-1].output
    assert isinstance(chunks[-1], StreamEnd)
    at_once = fused.generate(HELLO, sampling=LONG)
    assert output.token_ids == at_once.token_ids
    np.testing.assert_array_equal(output.audio.codes, at_once.audio.codes)
    streamed = np.concatenate([chunk.samples for chunk in chunks if isinstance(chunk, AudioChunk)])
    np.testing.assert_array_equal(streamed, output.audio.samples)
    import mindspore as ms

    single_shot = baseline.model.code2wav(ms.Tensor(output.audio.codes[None])).asnumpy().reshape(-1)
    np.testing.assert_allclose(streamed, single_shot, atol=1e-5)


@pytest.mark.parametrize("frames", [0, 301])
@pytest.mark.parametrize("name", ["first_chunk_frames", "chunk_frames"])
def test_pieces_that_no_convolution_takes_are_refused(fused, name, frames):
    with pytest.raises(OmniError, match=f"^{name} {frames}: expected 1 to 300$"):
        list(fused.stream(HELLO, sampling=LONG, **{name: frames}))
