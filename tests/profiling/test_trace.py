"""Traces: the events of a profile as Chrome's format wants them, and MindSpore's own profiler on a CPU."""

import json
from itertools import pairwise

import pytest
from sample_profiles import case_of, npu_profile, profile_of, repeat_of, run_of

from ms_omni.profiling.document import Span
from ms_omni.profiling.trace import chrome_trace, device_trace

FIELDS = {"X": {"ts", "dur", "tid"}, "M": {"tid", "args"}, "C": {"ts", "args"}}


def slices(trace):
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


@pytest.mark.parametrize("profile", [profile_of(), npu_profile(), profile_of([])], ids=["cpu", "ranks", "empty"])
def test_events_are_what_the_format_allows(profile):
    trace = json.loads(json.dumps(chrome_trace(profile)))
    assert trace["displayTimeUnit"] in ("ms", "ns")
    named = set()
    for event in trace["traceEvents"]:
        assert event["name"] and isinstance(event["pid"], int)
        assert FIELDS[event["ph"]] <= event.keys()
        if event["ph"] == "M":
            named.add((event["name"], event["pid"], event["tid"]))
        else:
            assert event["ts"] >= 0 and event.get("dur", 0) >= 0
            assert isinstance(event["ts"], int)
    assert {(event["pid"], event["tid"]) for event in slices(trace)} <= {
        (process, track) for name, process, track in named if name == "thread_name"
    }


def test_a_track_belongs_to_one_process_and_none_is_number_0():
    trace = chrome_trace(npu_profile())
    owners = {}
    for event in trace["traceEvents"]:
        if "tid" in event:
            owners.setdefault(event["tid"], set()).add(event["pid"])
    assert 0 not in owners and all(len(found) == 1 for found in owners.values())
    nested = [event for event in slices(trace) if event["name"] == "code predictor"]
    around = [event for event in slices(trace) if event["name"] == "Talker decode"]
    assert not {event["tid"] for event in nested} & {event["tid"] for event in around}


def test_slices_of_a_track_do_not_overlap():
    for profile in (profile_of(), npu_profile()):
        tracks = {}
        for event in slices(chrome_trace(profile)):
            tracks.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
        for found in tracks.values():
            found.sort()
            assert all(end <= start for (_, end), (start, _) in pairwise(found))


def test_times_are_microseconds_from_the_first_question_and_repeats_follow_each_other():
    repeats = [repeat_of(0, 2.0), repeat_of(1, 1.0)]
    trace = chrome_trace(profile_of([case_of(runs=[run_of(walls=(2.0, 1.0), figures={})])]))
    answers = [event for event in slices(trace) if event["cat"] == "answer"]
    assert [event["dur"] for event in answers] == [2_000_000, 1_000_000]
    assert answers[0]["ts"] == 0 and answers[1]["ts"] >= 2_000_000
    stages = [event for event in slices(trace) if event["cat"] == "stage"]
    assert len(stages) == sum(len(repeat.spans) for repeat in repeats)
    prefill = next(span for span in repeats[0].spans if span.stage == "thinker_prefill")
    drawn = next(event for event in stages if event["name"] == "Thinker prefill")
    assert drawn["ts"] == pytest.approx(1e6 * prefill.start_s, abs=1)
    assert drawn["dur"] == pytest.approx(1e6 * (prefill.end_s - prefill.start_s), abs=2)


def test_counters_reach_all_that_was_made():
    counters = [event for event in chrome_trace(profile_of())["traceEvents"] if event["ph"] == "C"]
    values = {}
    for event in counters:
        values.setdefault(event["name"], []).append(event["args"]["so far"])
    most = {name: max(found) for name, found in values.items()}
    assert most == {"thinker_tokens": 16, "talker_frames": 12, "audio_samples": 1920 * 12 - 555}
    assert all(found[0] == found[-1] == 0 for found in values.values())  # every repeat counts from 0
    assert values["thinker_tokens"][:18] == [*range(17), 0]


def test_other_ranks_have_a_process_each():
    profile = npu_profile()
    names = [event["args"]["name"] for event in chrome_trace(profile)["traceEvents"] if event["name"] == "process_name"]
    assert len(names) == len(set(names)) == 2 * 2 * len(profile.cases)


def test_mindspores_profiler_records_the_operators(cpu, tmp_path):
    import mindspore as ms
    import numpy as np

    with device_trace(tmp_path / "new") as trace:
        (ms.Tensor(np.ones((8, 8), np.float32)) @ ms.Tensor(np.ones((8, 8), np.float32))).asnumpy()
    assert len(trace.traces) == 1 and trace.num_operators >= 1
    assert any("MatMul" in event["name"] for event in json.loads(trace.traces[0].read_text()))
    assert str(tmp_path) in trace.note


def test_a_profiler_that_does_not_start_is_a_note(cpu, tmp_path, monkeypatch):
    from mindspore import profiler

    def refuse(**settings):
        raise RuntimeError("no CANN here\nand more")

    monkeypatch.setattr(profiler, "profile", refuse)
    with device_trace(tmp_path) as trace:
        pass
    assert trace.note == "MindSpore's profiler recorded no operators: it did not start (no CANN here)"


def test_what_goes_wrong_inside_is_raised_after_the_profiler_has_stopped(cpu, tmp_path, monkeypatch):
    from mindspore import profiler

    stopped = []
    monkeypatch.setattr(
        profiler, "profile", lambda **settings: type("P", (), {"stop": lambda self: stopped.append(1)})()
    )
    with pytest.raises(ValueError, match="inside"), device_trace(tmp_path) as trace:
        raise ValueError("inside")
    assert stopped == [1] and "the backend gave it nothing" in trace.note


def test_threads_that_work_beside_each_other_have_tracks_of_their_own():
    repeat = repeat_of(0, 1.0).model_copy(
        update={"spans": [
            Span(stage="media", start_s=0.0, end_s=0.5),
            Span(stage="thinker_decode", start_s=0.2, end_s=0.9, thread=1),
            Span(stage="compile", start_s=0.3, end_s=0.4, depth=1, thread=1),
        ]}
    )  # fmt: skip
    run = run_of().model_copy(update={"repeats": [repeat]})
    events = chrome_trace(profile_of([case_of(runs=[run])]))["traceEvents"]
    tracks = {event["name"]: event["tid"] for event in events if event["ph"] == "X"}
    assert len({tracks[name] for name in ("media", "Thinker decode", "compilation")} | {tracks["repeat 0"]}) == 4
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names[tracks["compilation"]] == "stages of thread 1 within, depth 1"
    assert names[tracks["media"]] == "stages"
