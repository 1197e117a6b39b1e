"""load_model and load_processor: what a script that was written for mindone gets."""

import gc
import threading
from weakref import ref

import numpy as np
import pytest

from ms_omni import OmniError, SamplingParams, cast_inputs, load_model, load_processor, process_mm_info
from ms_omni.mindone_model import _sampling

pytestmark = pytest.mark.usefixtures("cpu")
CONVERSATION = [{"role": "user", "content": [{"type": "text", "text": "What is your name?"}]}]
LENGTHS = {"thinker_max_new_tokens": 6, "talker_max_new_tokens": 5}


@pytest.fixture(scope="module")
def processor():
    return load_processor()


@pytest.fixture(scope="module")
def inputs(processor):
    text = processor.apply_chat_template(CONVERSATION, add_generation_prompt=True, tokenize=False)
    audios, images, videos = process_mm_info(CONVERSATION, use_audio_in_video=False)
    return processor(text=text, audio=audios, images=images, videos=videos, return_tensors="np")


@pytest.fixture(scope="module")
def fused_model():
    return load_model(engine="fused")


@pytest.fixture(scope="module")
def mindone_model():
    return load_model()


def test_both_give_the_same_answer_and_print_nothing(fused_model, mindone_model, inputs, capfd):
    capfd.readouterr()
    cast = cast_inputs(inputs, fused_model.dtype)
    found = [
        model.generate(**cast, **LENGTHS, talker_do_sample=False, thinker_return_dict_in_generate=True)
        for model in (fused_model, mindone_model)
    ]
    (mine, wave), (theirs, other_wave) = found
    np.testing.assert_array_equal(mine.sequences.asnumpy(), theirs.sequences.asnumpy())
    np.testing.assert_allclose(wave.asnumpy(), other_wave.asnumpy(), atol=1e-4)
    assert wave.shape == (1, 1, 4 * 1920 - 555)
    assert mine.sequences.shape[1] == inputs["input_ids"].shape[1] + 6
    assert capfd.readouterr() == ("", "")


def test_both_know_where_a_text_ends(fused_model, mindone_model, processor, inputs):
    cast = cast_inputs(inputs, "float32")
    for model in (fused_model, mindone_model):
        ids, wave = model.generate(**cast, return_audio=False, thinker_return_dict_in_generate=True)
        new = ids.sequences.asnumpy()[0, inputs["input_ids"].shape[1] :]
        text = processor.decode(new, skip_special_tokens=True)
        assert text == "I am a tiny model. I know shapes, colours, words and sounds." and wave is None


def test_a_seed_repeats_the_speech(fused_model, inputs):
    hot = {**LENGTHS, "talker_temperature": 10.0}  # at 0.9 the tiny model leaves nothing to chance
    waves = [fused_model.generate(**inputs, **hot, seed=seed)[1].asnumpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(waves[0], waves[1])
    assert not np.array_equal(waves[0], waves[2])


@pytest.mark.parametrize(
    ("options", "thinker", "talker"),
    [
        ({}, None, None),
        ({"thinker_do_sample": True, "talker_do_sample": True}, 1.0, 0.9),
        ({"thinker_do_sample": True, "thinker_temperature": 0.5}, 0.5, None),
        ({"talker_do_sample": False, "talker_temperature": 0.5}, None, 0.0),
    ],
)
def test_whether_to_sample_means_a_temperature(options, thinker, talker):
    """Of a checkpoint that says greedy, as the built-in one does."""
    sampling = _sampling(options, {"thinker_temperature": 0.0, "talker_do_sample": False})
    assert (sampling.thinker_temperature, sampling.talker_temperature) == (thinker, talker) and not options


@pytest.mark.parametrize("engine", ["fused", "mindone"])
def test_nothing_is_left_of_a_model_that_is_dropped(inputs, engine):
    before = set(threading.enumerate())
    model = load_model(engine=engine, with_talker=False)
    model.generate(**cast_inputs(inputs, "float32"), thinker_max_new_tokens=2, return_audio=False)
    weight = ref(model.thinker.lm_head)
    assert len(set(threading.enumerate()) - before) == (3 if engine == "fused" else 0)
    del model
    gc.collect()
    assert set(threading.enumerate()) <= before and weight() is None


def test_one_process_is_the_writer(fused_model, mindone_model):
    assert fused_model.is_writer and mindone_model.is_writer


def test_an_engine_takes_a_processors_inputs(fused):
    inputs = fused.processor.prepare(CONVERSATION).arrays
    sampling = SamplingParams(**LENGTHS, thinker_temperature=0.0, talker_temperature=0.0)
    expected = fused.generate(CONVERSATION, sampling=sampling)
    found = fused.generate(inputs, sampling=sampling)
    assert found.token_ids == expected.token_ids and found.usage == expected.usage
    np.testing.assert_array_equal(found.audio.samples, expected.audio.samples)


def test_sound_is_not_cut(processor):
    """transformers 4.57.1 keeps 300 s, the checkpoint's chunk_length, unless it is told otherwise."""
    long = np.zeros(301 * 16_000, np.float32)
    inputs = processor(text="<|audio_bos|><|audio_pad|><|audio_eos|>", audio=[long], return_tensors="np")
    assert int(np.asarray(inputs["feature_attention_mask"]).sum()) == 30_100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thinker_num_beams": 4}, r"generate: thinker_num_beams is unknown.*; known here: .*load_model\(engine="),
        ({"talker_topk": 4}, "talker_topk is unknown, did you mean talker_top_k?"),
        ({"speaker": "Nobody"}, "--speaker Nobody"),
        ({"thinker_return_dict_in_generate": False}, "expected True"),
        ({"thinker_max_new_tokens": 0}, "from 1 to"),
        ({"input_ids": np.zeros((2, 3), np.int64)}, r"input_ids of shape \(2, 3\): expected those of one prompt"),
        ({"input_ids": None}, "input_ids is missing"),
    ],
)
def test_what_generate_refuses(fused_model, inputs, options, message):
    with pytest.raises(OmniError, match=message):
        fused_model.generate(**{**inputs, **options})


def test_8_bit_weights_are_those_of_the_fused_engine():
    model = load_model(engine="fused", quantize="int8", with_talker=False)
    assert model.generate._omni.quantize == "int8"
    with pytest.raises(OmniError, match="--quantize int8: --engine mindone has no 8-bit weights; use fused"):
        load_model(quantize="int8")


def test_what_loading_refuses():
    with pytest.raises(OmniError, match="--engine fastest: expected one of auto, fused, mindone"):
        load_model(engine="fastest")
    with pytest.raises(OmniError, match="--model ./nowhere: no such directory"):
        load_model("./nowhere")
    with pytest.raises(OmniError, match="--parallel zero3: this is one process"):
        load_model(parallel="zero3")
    with pytest.raises(OmniError, match="--min-pixels 9 is above --max-pixels 8"):
        load_processor(min_pixels=9, max_pixels=8)
