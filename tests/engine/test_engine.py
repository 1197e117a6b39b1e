"""The engine as Python callers use it: results, streams, speakers, seeds, limits."""

import inspect
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest

from ms_omni import AudioChunk, OmniEngine, OmniError, SamplingParams, StreamEnd, TextDelta
from ms_omni.options import Options
from ms_omni.preprocessing import Preprocessor
from ms_omni.tasks import Variant

HELLO = [{"role": "user", "content": "Hello there"}]
SHORT = {"thinker_max_new_tokens": 5, "talker_max_new_tokens": 4}
GREEDY = SamplingParams(**SHORT, thinker_temperature=0.0, talker_temperature=0.0)


@pytest.fixture(scope="module", params=["fused", "baseline"])
def engine(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def spoken(engine):
    return engine.generate(HELLO, sampling=GREEDY)


def test_text_and_speech(engine, spoken):
    assert engine.has_talker and len(spoken.token_ids) == 5 == spoken.usage.completion_tokens
    assert spoken.text == engine.processor.decode(list(spoken.token_ids))
    assert spoken.finish_reason == "length" and spoken.audio.finish_reason == "length"
    # N Talker tokens make N - 1 frames; 1920 samples a frame less the 555 that need the next one
    assert spoken.audio.codes.shape == (16, 3) and spoken.audio.samples.shape == (3 * 1920 - 555,)
    assert spoken.audio.samples.dtype == np.float32 and np.abs(spoken.audio.samples).max() <= 1
    stages = ("prepare_s", "queue_s", "thinker_s", "talker_s", "code2wav_s")
    # to the last with a clock of its own: tests/scheduling/test_loop.py; between steps a thread may wait for a core
    assert 0.2 < sum(spoken.stats[name] for name in stages) / spoken.stats["total_s"] < 1.001


def test_stream_is_the_same_answer_in_pieces(engine, spoken):
    chunks = list(engine.stream(HELLO, sampling=GREEDY))
    deltas = [chunk for chunk in chunks if isinstance(chunk, TextDelta)]
    assert len(deltas) > 1
    assert engine.processor.decode([i for delta in deltas for i in delta.token_ids]) == spoken.text
    assert "".join(delta.text for delta in deltas) == spoken.text
    pieces = [chunk.samples for chunk in chunks if isinstance(chunk, AudioChunk)]
    np.testing.assert_array_equal(np.concatenate(pieces), spoken.audio.samples)
    assert isinstance(chunks[-1], StreamEnd) and chunks[-1].output.token_ids == spoken.token_ids


def test_closed_stream_ends_its_work(engine):
    stream = engine.stream(HELLO, sampling=SamplingParams(thinker_max_new_tokens=500), return_audio=False)
    next(stream)
    stream.close()  # the work ends at its next step
    assert engine.generate(HELLO, return_audio=False, sampling=GREEDY).usage.completion_tokens == 5


def test_a_text_is_a_question(engine):
    asked = [engine.generate(question, return_audio=False, sampling=GREEDY) for question in ("Hello there", HELLO)]
    assert asked[0].token_ids == asked[1].token_ids


def test_speech_is_saved_whole(spoken, tmp_path):
    import soundfile

    spoken.audio.save(tmp_path / "a.wav")
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_allclose(samples, spoken.audio.samples, atol=1e-6)
    assert rate == 24_000 and [file.name for file in tmp_path.iterdir()] == ["a.wav"]
    with pytest.raises(OmniError, match="gone/a.wav: could not be written"):
        spoken.audio.save(tmp_path / "gone" / "a.wav")


def test_errors_of_a_stream_reach_its_reader(engine):
    with pytest.raises(OmniError, match="--speaker Nobody"):
        engine.stream(HELLO, speaker="Nobody")
    with pytest.raises(OmniError, match="gone.png: no such file"):
        list(engine.stream([{"role": "user", "content": [{"type": "image", "image": "gone.png"}]}]))


def test_text_only_does_not_speak(engine):
    out = engine.generate(HELLO, return_audio=False, sampling=GREEDY)
    assert out.audio is None and "talker_s" not in out.stats


def test_speakers_differ_and_ethan_is_the_default(engine, spoken):
    assert sorted(name.lower() for name in engine.speakers) == ["aiden", "chelsie", "ethan"]
    codes = {name: engine.generate(HELLO, speaker=name, sampling=GREEDY).audio.codes for name in ("Ethan", "chelsie")}
    np.testing.assert_array_equal(codes["Ethan"], spoken.audio.codes)
    assert (codes["chelsie"] != spoken.audio.codes).any()


def test_unknown_speaker_names_the_known_ones(engine):
    with pytest.raises(OmniError, match="(?i)--speaker Bob: expected one of .*ethan"):
        engine.generate(HELLO, speaker="Bob")


def test_seed_repeats_text_and_speech(engine):
    def answer(seed):
        hot = SamplingParams(**SHORT, thinker_temperature=1.5, talker_temperature=1.0, seed=seed)
        out = engine.generate(HELLO, sampling=hot)
        return out.token_ids, out.audio.codes.tolist()

    first = answer(7)
    assert answer(7) == first and answer(8) != first


def test_stops_at_the_end_mark_and_ignore_eos_does_not(engine, monkeypatch):
    free = engine.generate(HELLO, return_audio=False, sampling=SamplingParams(thinker_max_new_tokens=6))
    stop_at = free.token_ids[2]
    first = free.token_ids.index(stop_at)
    monkeypatch.setitem(engine.generation_config, "thinker_eos_token_id", stop_at)
    out = engine.generate(HELLO, return_audio=False, sampling=SamplingParams(thinker_max_new_tokens=6))
    assert out.token_ids == free.token_ids[: first + 1] and out.finish_reason == "stop"
    forced = SamplingParams(thinker_max_new_tokens=6, ignore_eos=True)
    assert engine.generate(HELLO, return_audio=False, sampling=forced).token_ids == free.token_ids


def test_empty_answer_is_silence(engine, monkeypatch):
    first = engine.generate(HELLO, return_audio=False, sampling=GREEDY).token_ids[0]
    monkeypatch.setitem(engine.generation_config, "thinker_eos_token_id", first)
    out = engine.generate(HELLO, sampling=GREEDY)
    assert len(out.token_ids) == 1 and out.audio.num_samples == 0 and out.audio.codes.shape == (16, 0)


def test_prompt_too_long(engine, monkeypatch):
    few = Preprocessor(engine.processor, engine.config, replace(engine.settings, max_model_len=8), Variant.INSTRUCT)
    monkeypatch.setattr(engine, "_preprocessor", few)
    with pytest.raises(OmniError, match=r"the prompt has \d+ tokens, the model takes 8"):
        engine.generate(HELLO)


def test_progress_counts_every_stage(engine):
    seen = {}
    engine.generate(HELLO, sampling=GREEDY, progress=lambda stage, done, total: seen.setdefault(stage, []).append(done))
    assert seen["thinker"][-1] == 5 and seen["thinker"] == sorted(set(seen["thinker"]))
    assert seen["talker"] in ([1, 2, 3], [1, 2, 3, 4]) and seen["code2wav"] == [3]


def test_nothing_is_printed(engine, capsys):
    engine.generate(HELLO, return_audio=False, sampling=GREEDY)
    assert capsys.readouterr().out == ""


def test_without_talker(tmp_path, cpu):
    from ms_omni.checkpoint.tiny import write_tiny

    engine = OmniEngine.from_pretrained(write_tiny(tmp_path / "thinking", variant="thinking"))
    assert not engine.has_talker and engine.speakers == []
    assert engine.generate(HELLO, sampling=GREEDY).audio is None
    with pytest.raises(OmniError, match="has no Talker"):
        engine.generate(HELLO, return_audio=True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dtype": "bfloat16"}, "--dtype bfloat16: MindSpore's CPU backend"),
        ({"attn_implementation": "flash_attention_2"}, "--attn-implementation flash_attention_2: needs an Ascend"),
        ({"engine": "quick"}, "--engine quick: expected one of auto, fused, mindone"),
        ({"device": "GPU"}, "--device GPU: expected one of auto, CPU, Ascend"),
    ],
)
def test_settings_that_this_machine_cannot_do(tiny_dir, cpu, setting, message):
    with pytest.raises(OmniError, match=message):
        OmniEngine.from_pretrained(tiny_dir, **setting)


def test_media_reader_is_passed_on(tiny_dir, cpu, monkeypatch):
    package = ModuleType("qwen_omni_utils")  # the real one is no dependency
    package.__spec__, package.process_mm_info = ModuleSpec(package.__name__, None), lambda *options: 1 / 0
    monkeypatch.setitem(sys.modules, package.__name__, package)
    other = OmniEngine.from_pretrained(tiny_dir, engine="mindone", with_talker=False, media_reader="qwen_omni_utils")
    image = {"type": "image", "image": np.zeros((8, 8, 3), np.uint8)}
    with pytest.raises(OmniError, match="^qwen_omni_utils: division by zero"):
        other.generate([{"role": "user", "content": [image, {"type": "text", "text": "What?"}]}])


def test_options_are_those_of_submit():
    parameters = inspect.signature(OmniEngine.submit).parameters
    assert set(Options.__annotations__) == {name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}
