"""Comparing two profiles: what is marked, what is not, what cannot be compared."""

import csv
import io
import json

import pytest
from sample_profiles import case_of, npu_profile, profile_of, run_of, spread_of

from ms_omni.errors import OmniError
from ms_omni.profiling.report import FORMATS, compare, render, render_comparison
from ms_omni.profiling.report.changes import change_of


@pytest.mark.parametrize(
    ("name", "before", "after", "verdict"),
    [
        # noise 10 % + 10 %: 18 % is within it, 22 % is not
        ("wall_s", (0.95, 1.0, 1.05), (1.121, 1.18, 1.239), "within noise"),
        ("wall_s", (0.95, 1.0, 1.05), (1.159, 1.22, 1.281), "worse"),
        ("wall_s", (1.159, 1.22, 1.281), (0.95, 1.0, 1.05), "better"),
        ("talker_frames_per_s", (19, 20, 21), (24, 25, 26), "better"),
        ("talker_frames_per_s", (24, 25, 26), (19, 20, 21), "worse"),
        # quiet runs: 2 % all the same
        ("wall_s", (1.0, 1.0, 1.0), (1.019, 1.019, 1.019), "within noise"),
        ("wall_s", (1.0, 1.0, 1.0), (1.021, 1.021, 1.021), "worse"),
        # a hundredth is a change, whatever the noise of short times
        ("tpot_median_ms", (1400, 1900, 1950), (8.0, 14.0, 37.0), "better"),
        # one repeat: no noise known, unless it counts
        ("wall_s", (1.0,), (2.0, 2.0, 2.0), "noise unknown"),
        ("wall_s", (1.0,), (1.01,), "within noise"),
        ("host_syncs_per_thinker_token", (1.0,), (2.0,), "worse"),
        ("collectives_per_thinker_token", (0.0,), (0.0,), "within noise"),
        ("collectives_per_thinker_token", (0.0,), (3.0,), "worse"),
    ],
)
def test_a_change_is_marked_beyond_the_noise_of_both(name, before, after, verdict):
    assert change_of(name, spread_of(*before), spread_of(*after))[2] == verdict


def test_equal_profiles_have_no_regression():
    comparison = compare(npu_profile(), npu_profile())
    assert {change.verdict for change in comparison.changes} == {"within noise"}
    assert comparison.regressions == () and comparison.differences == () and comparison.missing == ()


def test_a_slower_run_is_a_regression_of_that_run_alone():
    def made(fused_walls):
        return profile_of([case_of(runs=[run_of("mindone", (30.0, 31.0, 29.0)), run_of("fused", fused_walls)])])

    comparison = compare(made((1.0, 1.01, 0.99)), made((1.5, 1.51, 1.49)))
    assert {change.run for change in comparison.regressions} == {"fused"}
    marked = {change.figure: change for change in comparison.regressions}
    assert marked["wall_s"].change == pytest.approx(0.5)
    assert marked["thinker_decode_tokens_per_s"].change == pytest.approx(-1 / 3)
    assert "audio_s" not in {change.figure for change in comparison.changes}  # neither better nor worse


def test_what_else_differs_is_listed():
    earlier = profile_of([case_of(runs=[run_of(answer_digest="aaaa")])])
    versions = {"python": "3.11.7", "mindspore": "2.8.0", "mindone": "0.5.0"}
    runs = [run_of(answer_digest="bbbb", dtype="float16")]
    later = profile_of([case_of(runs=runs)], commit="fff", caveats=["projected"], versions=versions)
    found = {name: (before, after) for name, before, after in compare(earlier, later).differences}
    assert found["commit"] == ("0123abc", "fff") and found["mindspore"] == ("2.7.1", "2.8.0")
    assert found["precision"] == ("float32", "float16") and "python" not in found
    assert found["answer of fused to text"] == ("aaaa", "bbbb")
    assert found["caveats"][1].startswith("projected")


def test_different_workloads_are_one_clear_line():
    with pytest.raises(
        OmniError, match="different workloads: the first profile asked text, the second video"
    ) as caught:
        compare(profile_of([case_of("text")]), profile_of([case_of("video")]))
    assert "\n" not in str(caught.value)


def test_cases_and_sides_of_one_profile_alone_are_named():
    first = profile_of([case_of("text", [run_of("mindone"), run_of("fused")]), case_of("audio")])
    second = profile_of([case_of("text", [run_of("fused"), run_of("transformers")]), case_of("video")])
    assert compare(first, second).missing == (
        "case audio is not in the second",
        "case video is not in the first",
        "mindone in case text is not in the second",
        "transformers in case text is not in the first",
    )


def test_the_only_side_of_each_is_compared_whatever_it_is():
    first = profile_of([case_of(runs=[run_of("mindone", parallel="zero3", cards=2, group_size=2)])])
    second = profile_of([case_of(runs=[run_of("fused", parallel="ep", cards=2, group_size=2)])])
    comparison = compare(first, second)
    assert {change.run for change in comparison.changes} == {"mindone, zero3 x 2 -> fused, ep x 2"}


def test_no_common_side_is_one_clear_line():
    first = profile_of([case_of(runs=[run_of("mindone"), run_of("fused")])])
    with pytest.raises(OmniError, match="nothing to compare: the first has mindone, fused, the second transformers"):
        compare(first, profile_of([case_of(runs=[run_of("transformers"), run_of("other")])]))


def test_every_format_says_what_got_worse():
    worse = profile_of([case_of(runs=[run_of(walls=(1.5, 1.51, 1.49))])], commit="fff")
    comparison = compare(profile_of(), worse)
    texts = {format: render_comparison(comparison, format) for format in FORMATS}
    assert all("worse" in text and text.endswith("\n") for text in texts.values())
    document = json.loads(texts["json"])
    assert document["schema_name"] == "ms_omni.comparison" and document["regressions"] == len(comparison.regressions)
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert len(rows) == len(document["changes"]) == len(comparison.changes)
    assert {row["figure"]: row["verdict"] for row in rows}["wall_s"] == "worse"
    for format in ("table", "markdown", "html"):
        assert "regressions beyond the noise" in texts[format] and "random weights" in texts[format]
        assert "fff" in texts[format]


def test_nothing_worse_is_said_as_well():
    assert "no regression beyond the noise" in render_comparison(compare(profile_of(), profile_of()), "table")


def test_a_machine_that_was_busy_is_named():
    quiet, text = profile_of(), "others kept the machine's cores busy"
    busy = quiet.model_copy(update={"machine": quiet.machine.model_copy(update={"load_average": [2.0, 1.0, 1.0]})})
    assert text not in render_comparison(compare(quiet, quiet), "table")
    assert f"second: {text}" in render_comparison(compare(quiet, busy), "table")
    assert text in render(busy, "markdown") and text not in render(quiet, "markdown")
