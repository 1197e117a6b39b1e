"""Long inputs: parts give what the whole gives, and no tensor grows with the square of a length."""

from dataclasses import replace

import numpy as np
import pytest

from ms_omni import SamplingParams
from ms_omni.kernels import numpy_attention
from ms_omni.kernels.numpy_attention import Segment
from ms_omni.limits import PREFILL_CHUNK

SHORT = SamplingParams(thinker_max_new_tokens=6, talker_max_new_tokens=4, talker_temperature=0.0)
QUESTION = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}]}]


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tensor(array):
    import mindspore as ms

    return ms.Tensor(array)


@pytest.fixture
def thinker(fused):
    return fused.executor._thinker


def prefill(decoder, num_tokens, accept_layer=1, chunk=PREFILL_CHUNK):
    """Normed and accepted hidden states, and the cache, of a random prompt with deepstack features."""
    from ms_omni.runtime.prompt_chunk import PromptChunk

    cache = decoder.new_cache(12, f"test_{num_tokens}_{chunk}", 8)
    size, made = decoder.spec.hidden_size, []
    x, deepstack = tensor(random(num_tokens, size)), tensor(random(num_tokens, size, seed=1))
    positions = np.arange(num_tokens) + np.array([[0.0], [1.0], [2.0]], np.float32)
    for start in range(0, num_tokens, chunk):
        part, blocks = slice(start, start + chunk), [11, 3, 4, 5, 1, 7, 8, 9, 10]
        made.append(
            decoder.prefill(
                [PromptChunk(x[part], positions[:, part], blocks, start, (deepstack[part],))], cache, accept_layer
            )
        )
    states = [np.concatenate([state.asnumpy() for state in kind]) for kind in zip(*made, strict=True)]
    return *states, [row.asnumpy() for row in (*cache.keys, *cache.values)]


@pytest.mark.parametrize(("num_tokens", "chunk"), [(37, 8), (32, 16), (9, 1)])
@pytest.mark.parametrize("accept_layer", [0, 1, 99])
def test_prompt_in_chunks_equals_the_whole(thinker, num_tokens, chunk, accept_layer):
    whole = prefill(thinker.decoder, num_tokens, accept_layer)
    parts = prefill(thinker.decoder, num_tokens, accept_layer, chunk)
    assert whole[0].shape == whole[1].shape == (num_tokens, thinker.decoder.spec.hidden_size)
    for a, b in zip([*whole[:2], *whole[2]], [*parts[:2], *parts[2]], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=3e-5)


def test_prompts_that_are_read_together_are_read_as_alone(thinker):
    """A first piece, a later one of a prompt that is partly in the cache, and one token; only one has deepstack
    features, and blocks in any order."""
    from ms_omni.runtime.prompt_chunk import PromptChunk

    decoder, spec = thinker.decoder, thinker.decoder.spec
    blocks, starts, sizes = ([11, 3], [4, 2, 9], [7]), (0, 13, 0), (12, 8, 1)
    x = [
        tensor(random(start + size, spec.hidden_size, seed=i))
        for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]
    level = tensor(random(sizes[1], spec.hidden_size, seed=9))

    def piece(i, start, levels=()):
        positions = np.arange(start, x[i].shape[0]) + np.array([[0.0], [1.0], [2.0]], np.float32) * (i == 1)
        return PromptChunk(x[i][start:], positions if i == 1 else positions[0], blocks[i], start, levels)

    def cache(name):
        made = decoder.new_cache(12, name, 8)
        decoder.prefill([PromptChunk(x[1][:13], np.arange(13, dtype=np.float32), blocks[1], 0)], made)
        return made

    pieces = [piece(i, start, (level,) if i == 1 else ()) for i, start in enumerate(starts)]
    alone, together = cache("each alone"), cache("together")
    expected = [[state.asnumpy() for state in decoder.prefill([each], alone, 1)] for each in pieces]
    made = decoder.prefill(pieces, together, 1)
    for kind, states in enumerate(made):
        np.testing.assert_allclose(
            states.asnumpy(), np.concatenate([each[kind] for each in expected]), rtol=1e-5, atol=3e-5
        )
    for a, b in zip((*together.keys, *together.values), (*alone.keys, *alone.values), strict=True):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-5, atol=3e-5)


def test_a_chunk_bounds_the_rows_of_every_block(thinker, monkeypatch):
    """With chunks of 16, no block of a layer sees more than 16 tokens of a prompt of 70."""
    from ms_omni.kernels import numpy_blocks

    rows = {}

    def watched(kind):
        original = getattr(numpy_blocks, kind).__call__

        def call(self, x, places):
            rows[kind] = max(rows.get(kind, 0), len(x))
            return original(self, x, places)

        return call

    for kind in ("Attention", "Experts"):
        monkeypatch.setattr(getattr(numpy_blocks, kind), "__call__", watched(kind))
    prefill(thinker.decoder, 70, chunk=16)
    assert rows == {"Attention": 16, "Experts": 16}


def test_same_answer_from_chunks(fused, monkeypatch):
    whole = fused.generate(QUESTION, sampling=SHORT)
    monkeypatch.setattr(fused._loop._scheduler, "_limits", replace(fused.executor.limits, prefill_chunk=5))
    parts = fused.generate(QUESTION, sampling=SHORT)
    assert parts.token_ids == whole.token_ids and len(whole.token_ids) == 6
    np.testing.assert_array_equal(parts.audio.codes, whole.audio.codes)


def test_layers_are_kept_as_long_as_their_cache(thinker):
    import gc

    from ms_omni.runtime import numpy_layers

    gc.collect()  # what tests before this one left
    cache, before = thinker.decoder.new_cache(3, "kept", 8), len(numpy_layers._kept)
    layers = numpy_layers._layers(thinker.decoder, cache)
    assert numpy_layers._layers(thinker.decoder, cache) is layers and len(numpy_layers._kept) == before + 1
    del cache, layers
    gc.collect()
    assert len(numpy_layers._kept) == before


def test_decoder_attention_keeps_few_scores(kept_scores):
    """And hardly makes those of keys behind a query."""
    keys, values = random(2, 1900, 8), random(2, 1900, 8)
    numpy_attention.attention(random(2, 1500, 3, 8), [Segment(slice(0, 1500), keys, values)], is_causal=True)
    assert max(kept_scores) <= numpy_attention.QUERIES_AT_ONCE * numpy_attention.KEYS_AT_ONCE
    seen = 6 * sum(range(401, 1901))
    assert seen < sum(kept_scores) < 1.1 * seen


@pytest.fixture
def kept_scores(monkeypatch):
    """How many scores an attention in numpy keeps, each time."""
    kept, original = [], numpy_attention.row_sums
    monkeypatch.setattr(numpy_attention, "row_sums", lambda scores: kept.append(scores.size) or original(scores))
    return kept


@pytest.fixture
def attention_calls(monkeypatch):
    """The encoders by operators, as on a card: shapes of queries and keys of every eager attention call."""
    import ms_omni.models.audio_encoder as audio
    import ms_omni.models.vision_encoder as vision

    calls, original = [], audio.attention_function

    def function(config):
        def call(module, query, key, value, **options):
            calls.append((query.shape, key.shape))
            return original(config)(module, query, key, value, **options)

        return call

    for module in (audio, vision):
        monkeypatch.setattr(module, "attention_function", function)
        monkeypatch.setattr(module, "on_cpu", lambda: False)
    return calls


def encode_video(fused, patches, grid):
    features, deepstack = fused.model.thinker.visual(tensor(patches), grid_thw=np.array(grid))
    return [x.asnumpy() for x in (features, *deepstack)]


@pytest.mark.parametrize(("scores", "rows"), [(1 << 24, 40), (1000, 16384), (1, 1), (2 * 16 * 16 * 2, 40)])
def test_vision_in_parts_equals_the_whole(fused, attention_calls, monkeypatch, scores, rows):
    from ms_omni import limits

    patches, grid = random(24 + 5 * 16, 3 * 2 * 16 * 16), [[1, 4, 6], [5, 4, 4]]
    whole = encode_video(fused, patches, grid)
    attention_calls.clear()
    monkeypatch.setattr(limits, "SCORES_PER_CALL", scores)
    monkeypatch.setattr(limits, "ROWS_PER_GROUP", rows)
    for a, b in zip(whole, encode_video(fused, patches, grid), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)
    for (count, heads, queries, _), (_, _, keys, _) in attention_calls:
        assert count * heads * queries * keys <= scores or count == queries == 1
        assert count * queries <= max(rows, 24)


def test_a_large_picture_is_attended_in_parts(fused, attention_calls):
    """4096 patches: all scores would be more than one call may keep."""
    from ms_omni.limits import SCORES_PER_CALL

    encode_video(fused, np.zeros((4096, 3 * 2 * 16 * 16), np.float32), [[1, 64, 64]])
    sizes = [count * heads * queries * keys for (count, heads, queries, _), (_, _, keys, _) in attention_calls]
    heads = attention_calls[0][0][1]
    assert heads * 4096 * 4096 > SCORES_PER_CALL >= max(sizes)


def test_the_cpu_keeps_few_scores_of_a_large_picture(fused, kept_scores):
    encode_video(fused, np.zeros((4096, 3 * 2 * 16 * 16), np.float32), [[1, 64, 64]])
    assert kept_scores and max(kept_scores) <= numpy_attention.QUERIES_AT_ONCE * numpy_attention.KEYS_AT_ONCE


def test_audio_in_parts_equals_the_whole(fused, attention_calls, monkeypatch):
    from ms_omni import limits

    tower, clips = fused.model.thinker.audio_tower, [1730, 45, 801]
    features = tensor(random(128, sum(clips)))

    def encode():
        return tower(features, feature_lens=np.array(clips)).last_hidden_state.asnumpy()

    whole = encode()
    attention_calls.clear()
    monkeypatch.setattr(limits, "ROWS_PER_GROUP", 110)
    monkeypatch.setattr(limits, "SCORES_PER_CALL", 5000)
    monkeypatch.setattr(limits, "CHUNKS_PER_CONVOLUTION", 2)
    convolved = []
    convolve = tower._convolve_chunks
    monkeypatch.setattr(tower, "_convolve_chunks", lambda x: convolved.append(x.shape) or convolve(x))
    np.testing.assert_allclose(encode(), whole, atol=1e-5)
    # 18 + 1 + 9 chunks, two at a time, all padded to the longest
    assert convolved == [(2, 1, 128, 100)] * 14
    assert max(q[0] * q[1] * q[2] * k[2] for q, k in attention_calls) <= 5000


def test_spectrogram_in_parts_equals_the_whole(fused, monkeypatch):
    import ms_omni.inputs.components as module

    extractor = fused.processor.processor.feature_extractor
    sound = 0.1 * random(16000 * 3 + 77)
    parent = type(extractor).__mro__[1]._np_extract_fbank_features(extractor, [sound])[0]
    for frames in (8192, 64, 7):
        monkeypatch.setattr(module, "FRAMES_AT_ONCE", frames)
        np.testing.assert_array_equal(module.log_mel(sound, extractor), parent)


def test_sound_is_not_cut_at_five_minutes(fused):
    sound = 0.1 * random(16000 * 310)
    prepared = fused.processor.prepare([{"role": "user", "content": [{"type": "audio", "audio": sound}]}])
    assert prepared.arrays["feature_attention_mask"].sum() == 31000
    assert prepared.usage_counts["audio_tokens"] == 310 * 13


def test_frames_are_patched_a_few_at_a_time(fused, monkeypatch):
    """Frames stay bytes; two of them at a time become floats."""
    import ms_omni.inputs.components as module

    seen, pixels = [], module._pixels
    monkeypatch.setattr(module, "_pixels", lambda x, *rest: seen.append((x.dtype, len(x))) or pixels(x, *rest))
    frames = np.random.default_rng(0).integers(0, 256, (9, 3, 70, 100), dtype=np.uint8)
    content = [{"type": "video", "video": frames}]
    fused.processor.prepare([{"role": "user", "content": content}])
    assert seen == [(np.dtype(np.uint8), 2)] * 5  # nine frames and the last one again


def test_media_are_encoded_once(fused, monkeypatch):
    thinker, calls = fused.model.thinker, []
    for tower in ("audio_tower", "visual"):
        encode = getattr(thinker, tower)._encode
        monkeypatch.setattr(
            getattr(thinker, tower),
            "_encode",
            lambda *args, tower=tower, encode=encode: calls.append(tower) or encode(*args),
        )
    frames = np.zeros((4, 3, 64, 64), np.uint8)
    content = [{"type": "video", "video": frames}, {"type": "audio", "audio": 0.1 * random(16000)}]
    out = fused.generate([{"role": "user", "content": content}], sampling=SHORT)
    assert out.audio.codes.shape[1] and sorted(calls) == ["audio_tower", "visual"]


def test_no_talker_is_loaded_for_text(fused, tiny_dir):
    from ms_omni import OmniEngine

    text_only = OmniEngine.from_pretrained(tiny_dir, engine="fused", device="CPU", with_talker=False)
    names = [name for name, _ in text_only.model.parameters_and_names()]
    assert names and not [name for name in names if name.startswith(("talker", "code2wav"))]
    assert set(text_only.executor.limits.pools) == {"thinker"}
    with_speech = [name for name, _ in fused.model.parameters_and_names()]
    assert {name.split(".")[0] for name in with_speech} == {"thinker", "talker", "code2wav"}
