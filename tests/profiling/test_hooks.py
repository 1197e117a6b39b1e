"""Both engines say their stages, and say nothing else because they are watched."""

from dataclasses import replace

import pytest

from ms_omni import SamplingParams
from ms_omni.profiling import predictor_timing
from ms_omni.profiling.document import MARKS, STAGES
from ms_omni.profiling.figures import as_repeat
from ms_omni.profiling.measured import answer_digest, joined_digest, made
from ms_omni.profiling.sides import EngineSide
from ms_omni.profiling.task import Task

TOKENS, FRAMES = 6, 2
SAMPLING = SamplingParams(
    thinker_max_new_tokens=TOKENS, talker_max_new_tokens=FRAMES + 1, thinker_temperature=0.0, talker_temperature=0.0,
    ignore_eos=True,
)  # fmt: skip
TEXT = [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]
SPOKEN = Task("hello", TEXT, SAMPLING, speech=True)
LONG_TEXT = [{"role": "user", "content": [{"type": "text", "text": "word " * 6000}]}]
LONG = Task("long", LONG_TEXT, SAMPLING, speech=True)
STATS = {
    "load_s", "prepare_s", "queue_s", "thinker_s", "talker_s", "first_token_s", "code2wav_s", "first_audio_s",
    "total_s",
}  # fmt: skip
# 1920 samples a frame, 555 fewer at the end
SAMPLES = FRAMES * 1920 - 555


@pytest.fixture(scope="module", params=["fused", "baseline"])
def side(request):
    return EngineSide.of(request.param, request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def plain(side):
    """An answer that nobody watched."""
    return side.engine.generate(TEXT, **SPOKEN.options)


@pytest.fixture(scope="module")
def measured(side, plain):
    return side.answer(SPOKEN)


def test_stages_of_a_spoken_answer(side, measured):
    expected = {
        "media", "processor", "thinker_prefill", "thinker_decode", "talker_prefill", "talker_decode", "code2wav",
    }  # fmt: skip
    if side.name == "baseline":
        expected |= {"code_predictor"}
    assert set(measured.stages_s) - {"compile"} == expected <= set(STAGES)
    assert all(seconds > 0 for seconds in measured.stages_s.values())
    assert max(span.end_s for span in measured.spans) <= measured.wall_s


def test_stages_add_up_to_the_wall_time(measured):
    repeat = as_repeat(measured, 0)
    assert sum(repeat.stages_s.values()) + repeat.other_s == pytest.approx(repeat.wall_s) and repeat.other_s >= 0


@pytest.mark.slow
def test_little_time_is_no_stages(side, measured):
    """The best of some: a process that waits for a core between two stages is no fault of theirs. Of a prompt that
    takes a second, since the tiny checkpoint answers one word within the time of some readings of the clock."""
    answers = [measured] if side.name == "baseline" else (side.answer(LONG) for _ in range(10))
    assert any(0 <= as_repeat(one, 0).other_s / one.wall_s <= 0.02 for one in answers)


def test_what_was_made_is_marked(side, measured, plain):
    assert [made(measured, mark) for mark in MARKS] == [TOKENS, FRAMES, SAMPLES]
    assert [len(plain.token_ids), plain.audio.num_frames, plain.audio.num_samples] == [TOKENS, FRAMES, SAMPLES]
    assert measured.prompt["prompt_tokens"] == plain.usage.prompt_tokens
    assert measured.num_code_groups == len(plain.audio.codes)


def test_the_answer_is_the_same_watched_or_not(measured, plain):
    assert measured.digest == answer_digest(plain.token_ids, plain.audio.codes)
    assert set(plain.stats) == STATS


def test_stages_of_a_picture_without_speech(side, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    content = [{"type": "image", "image": str(tmp_path / "red.png")}, {"type": "text", "text": "What?"}]
    task = Task("picture", [{"role": "user", "content": content}], SAMPLING, speech=False)
    measured = side.answer(task)
    assert set(measured.stages_s) - {"compile"} == {
        "media", "processor", "encoders", "thinker_prefill", "thinker_decode",
    }  # fmt: skip
    assert set(measured.marks) == {"thinker_tokens"}
    assert measured.prompt["image_tokens"] > 0
    encoding = [span for span in measured.spans if span.stage == "encoders"]
    assert [span.depth for span in encoding] == [1]  # within the Thinker's prefill, and taken off its time


def test_several_conversations_at_once(side):
    several = replace(SPOKEN, batch_size=3)
    side.answer(several)  # compiles
    measured = side.answer(several)
    assert [made(measured, mark) for mark in MARKS] == [3 * TOKENS, 3 * FRAMES, 3 * SAMPLES]
    repeat = as_repeat(measured, 0)
    assert sum(repeat.stages_s.values()) + repeat.other_s == pytest.approx(repeat.wall_s)
    assert repeat.answers == 3 and measured.prompt_tokens > 3 * measured.prompt["prompt_tokens"]  # two are numbered
    figures = repeat.figures
    assert figures["queue_s"] <= figures["queue_worst_s"] < figures["ttft_worst_s"] < repeat.wall_s
    assert figures["ttft_worst_s"] < figures["first_audio_worst_s"] <= repeat.wall_s
    if side.name == "baseline":  # one after the other
        assert (figures["thinker_rows"], figures["talker_rows"]) == (1, 1)
        first, _, last = sorted(measured.waits, key=lambda waits: waits.queue_s)
        assert last.queue_s > first.first_audio_s
    else:
        assert 1 < figures["thinker_rows"] <= 3 and 1 < figures["talker_rows"] <= 3
    alone = [side.engine.generate(question.conversation, **question.options) for question in several.questions]
    assert measured.digest == joined_digest([answer_digest(output.token_ids, output.audio.codes) for output in alone])


def test_compiling_is_told_apart(fused, monkeypatch):
    monkeypatch.setattr(fused.executor._thinker, "_graphs", {})
    sampling = SamplingParams(thinker_max_new_tokens=3, thinker_temperature=0.37, thinker_top_k=3, seed=1)
    side = EngineSide.of("fused", fused)
    first, second = (side.answer(Task("hello", TEXT, sampling, speech=False)) for _ in range(2))
    assert first.seconds("compile") > first.seconds("thinker_decode")  # within it, and taken off its time
    assert second.seconds("compile") == 0
    assert first.digest == second.digest


def test_the_code_predictors_share_of_a_frame(fused):
    side = EngineSide.of("fused", fused)
    before = side.answer(SPOKEN)
    share = side.predictor_share(SPOKEN, before)
    assert 0.2 < share < 1  # 16 steps of its layers beside one of the Talker's
    assert side.answer(SPOKEN).digest == before.digest


def test_the_timed_parts_do_the_work_of_a_frame(fused, monkeypatch):
    """A row of padding would be skipped, and be faster."""
    timed = []
    monkeypatch.setattr(predictor_timing, "_least_seconds", lambda calls, *_: timed.append(calls) or [1.0, 3.0])
    side = EngineSide.of("fused", fused)
    assert side.predictor_share(SPOKEN, side.answer(SPOKEN)) == 0.25
    predictor, backbone = timed[0]
    codes = predictor()
    assert codes.shape == (16,) and len(set(codes[1:].tolist())) > 3
    assert backbone().shape == (1,)


def test_mindones_code_predictor_needs_no_probe(baseline):
    side = EngineSide.of("mindone", baseline)
    assert side.predictor_share(SPOKEN, side.answer(SPOKEN)) is None
