"""Figures against values computed by hand."""

from dataclasses import replace

import pytest

from ms_omni.profiling.document import FIGURES, OF_SEVERAL, Repeat, Span
from ms_omni.profiling.figures import as_repeat, figures, percentile, ratios, seconds_a_token, spreads
from ms_omni.profiling.measured import Measured, Waits, one_after_the_other, split_predictor

# 20 prompt tokens; 9 new ones in 3 arrivals; 4 frames; 48 000 samples, 2 s of speech. Speech is made between arrivals.
ANSWER = Measured(
    wall_s=10.0,
    stages_s={
        "processor": 0.5, "thinker_prefill": 1.0, "thinker_decode": 2.0, "talker_prefill": 0.5, "talker_decode": 1.0,
        "code_predictor": 3.0, "code2wav": 1.5,
    },
    marks={
        "thinker_tokens": [(2.0, 1), (3.0, 4), (6.0, 4)],
        "talker_frames": [(4.0, 2), (8.0, 2)],
        "audio_samples": [(8.5, 24_000), (9.5, 24_000)],
    },
    prompt={"prompt_tokens": 20, "image_tokens": 0},
    spans=[
        Span(stage="thinker_decode", start_s=2.0, end_s=3.0),
        Span(stage="talker_decode", start_s=3.0, end_s=4.5),
        Span(stage="code_predictor", start_s=3.5, end_s=4.0, depth=1),
        Span(stage="code2wav", start_s=4.5, end_s=5.0),
        Span(stage="thinker_decode", start_s=5.0, end_s=6.0),
        Span(stage="talker_decode", start_s=6.0, end_s=8.0),
    ],
    counts={
        "thinker_prefill": {"host_syncs": 99, "collectives": 99},
        "thinker_decode": {
            "host_syncs": 2, "collectives": 16, "collective_bytes": 1600, "all_reduce": 16, "operators": 80,
        },
        "talker_decode": {"host_syncs": 4, "operators": 40},
        "code_predictor": {"host_syncs": 8, "operators": 4},
    },
    num_code_groups=16,
    peak_host_bytes=5_000,
    energy_j=70.0,
    reads_bytes=100.0,
    bandwidth=1000.0,
)  # fmt: skip
EXPECTED = {
    "wall_s": 10.0,
    "answers_per_s": 0.1,
    "ttft_s": 2.0,
    "tpot_median_ms": 250.0,  # 1 s for 4; then 3 s less 2 s of speech for 4
    "tpot_p90_ms": 250.0,
    "thinker_prefill_tokens_per_s": 20 / 1.0,
    "thinker_decode_tokens_per_s": 8 / 2.0,
    "thinker_tokens_per_s": 9 / 3.0,
    "talker_frames_per_s": 4 / 4.0,
    "talker_tokens_per_s": 64 / 4.0,
    "first_audio_s": 8.5,
    "audio_s": 2.0,
    "speech_compute_s": 0.5 + 1.0 + 3.0 + 1.5,
    "real_time_factor": 3.0,
    "peak_host_bytes": 5_000,
    "host_syncs_per_thinker_token": 2 / 8,
    "host_syncs_per_talker_frame": 12 / 4,
    "collectives_per_thinker_token": 2.0,
    "collective_bytes_per_thinker_token": 200.0,
    "collectives_per_talker_frame": 0.0,
    "collective_bytes_per_talker_frame": 0.0,
    "operators_per_thinker_token": 10.0,
    "operators_per_talker_frame": 11.0,
    "bandwidth_share": 8 * 100 / 1000 / 2.0,
    "energy_j": 70.0,
}


def test_every_figure_but_the_cards_memory():
    assert figures(ANSWER) == pytest.approx(EXPECTED)
    assert set(FIGURES) - set(EXPECTED) == {"peak_device_bytes", *OF_SEVERAL}


# Two conversations: after both prompts three steps of both, one of them alone, a token each.
TOGETHER = replace(
    ANSWER,
    marks={
        "thinker_tokens": [(1.0, 1), (2.0, 1), (3.0, 1), (3.0, 1), (4.0, 1), (4.0, 1), (5.0, 1), (5.0, 1), (6.0, 1)],
        "talker_frames": [(7.0, 1), (7.0, 1), (8.0, 1)],
        "audio_samples": [(8.5, 24_000), (9.5, 24_000)],
    },
    spans=[Span(stage="thinker_decode", start_s=at - 0.5, end_s=at) for at in (3.0, 4.0, 5.0, 6.0)]
    + [Span(stage="talker_decode", start_s=at - 0.5, end_s=at) for at in (7.0, 8.0)],
    waits=[Waits(0.5, 1.0, 8.5), Waits(1.5, 2.0, 9.5)],
    prompt_tokens=41,
    at_a_time=16,
)


def test_several_conversations_at_once():
    found = figures(TOGETHER)
    expected = {
        "answers_per_s": 0.2,
        "queue_s": 1.0, "queue_worst_s": 1.5,
        "ttft_s": 1.5, "ttft_worst_s": 2.0,
        "first_audio_s": 9.0, "first_audio_worst_s": 9.5,
        "thinker_rows": 7 / 4, "talker_rows": 3 / 2,
        "thinker_prefill_tokens_per_s": 41.0,
        "thinker_decode_tokens_per_s": 7 / 2.0,
        "thinker_tokens_per_s": 9 / 3.0,
        "host_syncs_per_thinker_token": 2 / 7,
        "bandwidth_share": 4 * 100 / 1000 / 2.0,  # four steps, whatever shares them
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert not {"tpot_median_ms", "tpot_p90_ms"} & set(found)
    assert set(OF_SEVERAL) <= set(found)
    assert as_repeat(TOGETHER, 0).answers == 2
    one_at_a_time = figures(replace(TOGETHER, at_a_time=1))
    assert (one_at_a_time["thinker_rows"], one_at_a_time["talker_rows"]) == (1.0, 1.0)


def test_answers_one_after_the_other_are_waited_for():
    short = replace(ANSWER, wall_s=5.0, marks={"thinker_tokens": [(1.0, 1), (2.0, 4)]}, spans=[], digest="b")
    both = one_after_the_other([ANSWER, short])
    assert (both.wall_s, both.answers, both.prompt_tokens) == (15.0, 2, 40)
    assert both.marks["thinker_tokens"] == [(2.0, 1), (3.0, 4), (6.0, 4), (11.0, 1), (12.0, 4)]
    assert both.waits == [Waits(0.0, 2.0, 8.5), Waits(10.0, 11.0, None)]
    assert both.seconds("thinker_decode") == 4.0 and both.spans == list(ANSWER.spans)
    assert figures(both)["queue_worst_s"] == 10.0 and figures(both)["thinker_rows"] == 1.0
    assert both.digest not in (ANSWER.digest, short.digest)
    assert one_after_the_other([ANSWER]) is ANSWER


def test_what_was_not_done_or_not_measured_is_absent():
    text = Measured(
        wall_s=2.0,
        stages_s={"thinker_prefill": 1.0},
        marks={"thinker_tokens": [(1.5, 1)]},
        prompt={"prompt_tokens": 20},
    )
    assert figures(text) == pytest.approx(
        {
            "wall_s": 2.0,
            "answers_per_s": 0.5,
            "ttft_s": 1.5,
            "thinker_prefill_tokens_per_s": 20.0,
            "thinker_tokens_per_s": 1.0,
        }
    )


def test_tokens_that_come_together_share_their_time():
    events = [(0.0, 1), (1.0, 4), (5.0, 2)]
    assert seconds_a_token(replace(ANSWER, marks={"thinker_tokens": events}, spans=[])) == [0.25] * 4 + [2.0] * 2


def test_percentile_between_two_values():
    values = [float(value) for value in (50, 10, 20, 40, 30)]
    assert percentile(values, 50) == 30
    assert percentile(values, 90) == pytest.approx(46)
    assert percentile([7.0], 90) == 7


def test_the_rest_of_the_wall_time_is_other():
    repeat = as_repeat(ANSWER, 2)
    assert (repeat.round, repeat.other_s) == (2, pytest.approx(0.5))
    assert sum(repeat.stages_s.values()) + repeat.other_s == pytest.approx(repeat.wall_s)
    assert repeat.counts["thinker_decode"]["all_reduce"] == 16


def test_a_probed_share_moves_time_from_one_stage_to_the_other():
    whole = replace(ANSWER, stages_s={"talker_decode": 4.0, "code2wav": 1.0})
    split = split_predictor(whole, 0.75)
    assert split.stages_s == {"talker_decode": 1.0, "code_predictor": 3.0, "code2wav": 1.0}
    assert figures(split)["talker_frames_per_s"] == figures(whole)["talker_frames_per_s"] == 1.0
    assert split_predictor(replace(ANSWER, stages_s={"code2wav": 1.0}), 0.75).stages_s == {"code2wav": 1.0}


def repeat(number, **values):
    return Repeat(round=number, wall_s=values["wall_s"], stages_s={}, other_s=0.0, figures=values)


def test_spread_and_noise():
    found = spreads([{"a": 4.0, "b": 1.0}, {"a": 2.0}, {"a": 10.0, "b": 1.0}])
    assert set(found) == {"a"}
    assert found["a"].model_dump() == {"median": 4.0, "min": 2.0, "max": 10.0, "count": 3}
    assert found["a"].noise == 2.0
    assert spreads([]) == {}


def test_a_ratio_above_one_is_better_and_taken_within_a_round():
    ours = [
        repeat(0, wall_s=1.0, ttft_s=1.0, thinker_tokens_per_s=30.0),
        repeat(1, wall_s=4.0, ttft_s=1.0, thinker_tokens_per_s=10.0),
    ]
    theirs = [
        repeat(0, wall_s=3.0, thinker_tokens_per_s=10.0),
        repeat(1, wall_s=8.0, thinker_tokens_per_s=20.0),
        repeat(2, wall_s=1.0, thinker_tokens_per_s=1.0),
    ]
    found = {ratio.figure: ratio.ratio for ratio in ratios("fused", ours, "mindone", theirs)}
    assert set(found) == {"wall_s", "thinker_tokens_per_s"}  # the other side tells no ttft_s
    assert (found["wall_s"].median, found["wall_s"].min, found["wall_s"].max, found["wall_s"].count) == (
        2.5,
        2.0,
        3.0,
        2,
    )
    assert found["thinker_tokens_per_s"].model_dump() == {"median": 1.75, "min": 0.5, "max": 3.0, "count": 2}


def test_no_ratio_of_what_is_neither_better_nor_told_apart():
    ours = [repeat(0, wall_s=1.0, audio_s=2.0, peak_host_bytes=100.0)]
    assert {ratio.figure for ratio in ratios("a", ours, "b", ours)} == {"wall_s"}
    assert ratios("a", ours, "b", []) == []
