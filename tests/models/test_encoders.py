"""The corrected encoders: what one segment holds does not reach another, under eager and flash attention alike."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest


@contextmanager
def by_operators():
    """What a card runs: mindone's operators, one after the other."""
    from ms_omni.models import audio_encoder, vision_encoder

    with pytest.MonkeyPatch.context() as patch:
        for module in (audio_encoder, vision_encoder):
            patch.setattr(module, "on_cpu", lambda: False)
        yield


@contextmanager
def flash_stand_in(*towers):
    """Runs the towers through the flash branch, with a kernel that has flash attention's manners: no mask, no lengths,
    everything it is handed attends to everything. Counts its calls."""
    from mindone.transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import eager_attention_forward

    calls = []

    def kernel(module, query, key, value, attention_mask, scaling, **kwargs):
        assert attention_mask is None and kwargs["is_causal"] is False
        calls.append(query.shape)
        return eager_attention_forward(module, query, key, value, None, scaling=scaling)

    configs = [cell.config for tower in towers for _, cell in tower.cells_and_names() if hasattr(cell, "config")]
    original = ALL_ATTENTION_FUNCTIONS["flash_attention_2"]
    ALL_ATTENTION_FUNCTIONS["flash_attention_2"] = kernel
    for config in configs:
        config._attn_implementation_internal = "flash_attention_2"
    try:
        with by_operators():
            yield calls
    finally:
        ALL_ATTENTION_FUNCTIONS["flash_attention_2"] = original
        for config in configs:
            config._attn_implementation_internal = "eager"


@pytest.fixture(scope="module")
def towers(engine):
    thinker = engine.model.thinker
    return thinker.audio_tower, thinker.visual


def mel(num_frames, seed=0):
    return np.random.default_rng(seed).standard_normal((128, num_frames)).astype(np.float32)


def encode_audio(tower, features, lengths):
    import mindspore as ms

    return tower(ms.Tensor(features), feature_lens=np.array(lengths)).last_hidden_state.asnumpy()


def encode_vision(tower, patches, grid):
    import mindspore as ms

    features, deepstack = tower(ms.Tensor(patches), grid_thw=np.array(grid))
    return [x.asnumpy() for x in (features, *deepstack)]


@pytest.mark.parametrize(("frames", "tokens"), [(1, 1), (45, 6), (100, 13), (101, 14), (850, 111), (2050, 267)])
def test_audio_tokens_of_any_length(towers, frames, tokens):
    from ms_omni.models.audio_encoder import audio_token_counts

    assert encode_audio(towers[0], mel(frames), [frames]).shape[0] == tokens
    assert audio_token_counts(np.array([frames])).tolist() == [tokens]


def test_audio_windows_do_not_leak(towers):
    """800 mel frames (8 s) fill a window: what comes after cannot change it, what is inside can."""
    features = mel(1700)
    full = encode_audio(towers[0], features, [1700])
    later = features.copy()
    later[:, 800:] += 1
    np.testing.assert_allclose(encode_audio(towers[0], later, [1700])[:104], full[:104], atol=1e-5)
    inside = features.copy()
    inside[:, 700:] += 1
    assert np.abs(encode_audio(towers[0], inside, [1700])[:80] - full[:80]).max() > 1e-3


def test_packed_clips_equal_single_ones(towers):
    first, second = mel(340, 1), mel(260, 2)
    both = encode_audio(towers[0], np.concatenate([first, second], axis=1), [340, 260])
    alone = [encode_audio(towers[0], x, [x.shape[1]]) for x in (first, second)]
    np.testing.assert_allclose(both, np.concatenate(alone), atol=1e-5)


def test_pictures_and_frames_do_not_leak(towers):
    patches = np.random.default_rng(3).standard_normal((24 + 3 * 16, 3 * 2 * 16 * 16)).astype(np.float32)
    grid = [[1, 4, 6], [3, 4, 4]]
    full = encode_vision(towers[1], patches, grid)
    changed = patches.copy()
    changed[24 + 16 : 24 + 32] += 1  # the second frame of the video
    for before, after in zip(full, encode_vision(towers[1], changed, grid), strict=True):
        moved = np.abs(after - before).max(axis=1) > 1e-4
        assert moved.tolist() == [False] * 6 + [False] * 4 + [True] * 4 + [False] * 4


def test_arrays_equal_operators(towers):
    """Both encoders in numpy give what mindone's operators give: clips with a padded tail, pictures, frames."""
    audio, vision = towers
    patches = np.random.default_rng(5).standard_normal((24 + 2 * 16, 3 * 2 * 16 * 16)).astype(np.float32)
    calls = [
        lambda: [encode_audio(audio, mel(1290), [950, 45, 295])],
        lambda: encode_vision(vision, patches, [[1, 4, 6], [2, 4, 4]]),
    ]
    for call in calls:
        arrays = call()
        with by_operators():
            operators = call()
        for a, b in zip(arrays, operators, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_flash_attention_gives_what_eager_gives(towers):
    audio, vision = towers
    patches = np.random.default_rng(4).standard_normal((24 + 2 * 16, 3 * 2 * 16 * 16)).astype(np.float32)
    grid = [[1, 4, 6], [2, 4, 4]]
    eager = [encode_audio(audio, mel(1000), [1000]), *encode_vision(vision, patches, grid)]
    with flash_stand_in(audio, vision) as calls:
        flash = [encode_audio(audio, mel(1000), [1000]), *encode_vision(vision, patches, grid)]
    # One call a layer and run of equal lengths: audio 104 + 26 tokens, vision 24 patches and 2 frames of 16.
    assert {shape[0] for shape in calls} == {1, 2} and len(calls) == 2 * len(audio.layers) + 2 * len(vision.blocks)
    for a, b in zip(eager, flash, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)


def test_position_embedding_is_the_table_itself_at_its_own_size(towers):
    vision = towers[1]
    side = vision.num_grid_per_side
    import mindspore as ms

    got = vision._position_embedding(np.array([[1, side, side]]), ms.float32).asnumpy()
    table = vision.pos_embed.weight.asnumpy().reshape(side // 2, 2, side // 2, 2, -1).transpose(0, 2, 1, 3, 4)
    np.testing.assert_allclose(got, table.reshape(side * side, -1), atol=1e-6)


def test_float16_is_limited_by_numbers(cpu, monkeypatch):
    """A layer whose parts pass everything on doubles its input twice: 4 times 30000 is more than float16 holds."""
    import mindspore as ms
    from mindspore import mint

    from ms_omni.models.audio_encoder import AudioEncoderLayer

    limits = []

    def clamp(values, min, max):
        limits.append((min, max))
        return ms.Tensor(np.clip(values.asnumpy(), min, max))

    parts = ("self_attn_layer_norm", "final_layer_norm", "fc1", "activation_fn", "fc2")
    layer = SimpleNamespace(**{name: lambda hidden: hidden for name in parts})
    layer.self_attn = lambda hidden_states, **_: hidden_states
    monkeypatch.setattr(mint, "clamp", clamp)
    out = AudioEncoderLayer.construct(layer, ms.Tensor(np.float16([[30000, -30000, 100]])), None)[0]
    assert limits == [(-64504.0, 64504.0)] and all(type(limit) is float for limit in limits[0])
    np.testing.assert_array_equal(out.asnumpy(), np.float16([[64504, -64504, 400]]))
    wide = AudioEncoderLayer.construct(layer, ms.Tensor(np.float32([[30000]])), None)[0]
    assert wide.asnumpy().item() == 120000 and len(limits) == 1


def test_audio_layers_are_the_corrected_ones(towers):
    from ms_omni.models.audio_encoder import AudioEncoderLayer

    assert all(type(layer) is AudioEncoderLayer for layer in towers[0].layers)
