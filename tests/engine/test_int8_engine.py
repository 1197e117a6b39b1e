"""Engines with 8-bit weights: they answer as float engines do with the values that these stand for."""

from dataclasses import replace

import numpy as np
import pytest
from int8_values import write_rounded

from ms_omni import OmniEngine, OmniError, SamplingParams
from ms_omni.checkpoint.tiny import write_tiny

GREEDY = SamplingParams(
    thinker_max_new_tokens=12, talker_max_new_tokens=8, thinker_temperature=0.0, talker_temperature=0.0, ignore_eos=True
)
SAMPLED = replace(GREEDY, thinker_temperature=0.9, talker_temperature=0.9, seed=5)
RED = {"type": "image", "image": "ms_omni/assets/tiny_shapes.png"}
QUESTIONS = [
    [{"role": "user", "content": [{"type": "text", "text": "Hello there, what is this?"}]}],
    [{"role": "user", "content": [RED, {"type": "text", "text": "What do you see?"}]}],
]


def answers(engine, sampling=GREEDY):
    alone = [engine.generate(question, sampling=sampling) for question in QUESTIONS]
    return alone + engine.generate(QUESTIONS, sampling=sampling)


def engine_of(directory, quantize):
    return OmniEngine.from_pretrained(directory, engine="fused", device="CPU", quantize=quantize)


@pytest.fixture(scope="module")
def int8(tiny_dir, cpu):
    with engine_of(tiny_dir, "int8") as engine:
        yield engine


def check_equal(made, expected):
    for answer, wanted in zip(made, expected, strict=True):
        assert answer.token_ids == wanted.token_ids and answer.text == wanted.text
        np.testing.assert_array_equal(answer.audio.codes, wanted.audio.codes)
        np.testing.assert_allclose(answer.audio.samples, wanted.audio.samples, atol=1e-4)


def test_answers_are_those_of_what_the_weights_stand_for(int8, rounded_engine):
    check_equal(answers(int8), answers(rounded_engine))


def test_sampled_answers_too(int8, rounded_engine):
    """Of several seeds one may meet a draw so close to the border between two codes that rounding decides."""
    pairs = [(answers(int8, s), answers(rounded_engine, s)) for s in (replace(SAMPLED, seed=seed) for seed in range(4))]
    differing = sum(not is_equal(made, expected) for made, expected in pairs)
    assert differing <= 1


def is_equal(made, expected):
    return all(
        answer.token_ids == wanted.token_ids and np.array_equal(answer.audio.codes, wanted.audio.codes)
        for answer, wanted in zip(made, expected, strict=True)
    )


@pytest.fixture(scope="module")
def rounded_engine(tiny_rounded_dir, cpu):
    with engine_of(tiny_rounded_dir, "none") as engine:
        yield engine


def parameters(engine):
    """Of the decoder layers, by name."""
    decoders = [engine.executor.thinker.decoder, engine.executor.talker.decoder, engine.executor.talker.predictor]
    return {each.name: each for decoder in decoders for each in decoder.get_parameters()}


def test_int8_is_what_is_in_memory(int8, rounded_engine):
    """A byte a value and four a row, of all that is rounded; the rest as ever."""
    ours, floats = parameters(int8), parameters(rounded_engine)
    rounded = [name for name, each in ours.items() if str(each.dtype) == "Int8"]
    kinds = {name.rsplit(".", 1)[-1] for name in rounded}
    assert kinds == {"qkv", "o", "gate_up", "down", "dense_gate_up", "dense_down"}
    for name in rounded:
        rows = ours[f"{name}_scale"].size
        assert ours[name].nbytes == floats[name].nbytes // 4 == ours[name].size
        assert ours[f"{name}_scale"].nbytes == 4 * rows and ours[name].size % rows == 0
    others = set(ours) - {*rounded, *(f"{name}_scale" for name in rounded)}
    assert others == set(floats) - set(rounded)
    assert all(ours[name].dtype == floats[name].dtype for name in others)


def test_rows_that_are_rounded_too_answer(int8, tiny_dir, cpu):
    """Not the same as with float hidden states, but the same whenever they are asked, alone and together."""
    with engine_of(tiny_dir, "int8-dynamic") as engine:
        made = answers(engine)
        check_equal(made[2:], made[:2])
        assert not is_equal(made, answers(int8))
        check_equal(answers(engine), made)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "seed"), [("tiny", 11), ("bench", 3)])
def test_other_checkpoints(cpu, tmp_path, preset, seed):
    directory = write_tiny(tmp_path / "float", preset, seed=seed)
    rounded = write_rounded(directory, tmp_path / "rounded")
    with engine_of(directory, "int8") as engine, engine_of(rounded, "none") as wanted:
        check_equal(answers(engine), answers(wanted))


def test_a_value_that_is_no_number_is_named(tiny_dir, cpu, tmp_path):
    from safetensors.numpy import load_file, save_file

    name, directory = "talker.model.layers.0.mlp.experts.2.up_proj.weight", tmp_path / "broken"
    write_rounded(tiny_dir, directory)
    for path in directory.glob("*.safetensors"):
        tensors = load_file(path)
        if name in tensors:
            tensors[name][3, 1] = np.nan
            save_file(tensors, path)
    with pytest.raises(
        OmniError, match=f"--model {directory}: {name} has a value in row 3 that is infinite or no number"
    ):
        engine_of(directory, "int8")


@pytest.mark.parametrize("quantize", ["int8", "int8-dynamic"])
def test_mindones_engine_has_none(quantize):
    with pytest.raises(OmniError, match=f"--quantize {quantize}: --engine mindone has no 8-bit weights; use fused"):
        OmniEngine.from_pretrained(engine="mindone", device="CPU", quantize=quantize)


def test_another_word_is_refused():
    with pytest.raises(OmniError, match="--quantize int4: expected one of auto, none, int8, int8-dynamic"):
        OmniEngine.from_pretrained(device="CPU", quantize="int4")
