"""Tables of a profile: numbers, dashes, titles, the seed's columns; in the terminal, Markdown, CSV and JSON."""

import csv
import io
import json
import re

import pytest
from sample_profiles import batches_profile, case_of, npu_profile, profile_of, run_of, spread_of

from ms_omni.errors import OmniError
from ms_omni.profiling.document import FIGURES
from ms_omni.profiling.report import FORMATS, SUFFIXES, read_profile, render, tables, terminal
from ms_omni.profiling.report.heading import caveats, run_label, title
from ms_omni.profiling.report.values import DASH, figure_row, number, spread, times

SEED_COLUMNS = (
    "model name",
    "mindspore version",
    "precision",
    "cards",
    "Model part",
    "attention type",
    "tokens/s",
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, DASH), (float("nan"), DASH), (0, "0"), (0.0123456, "0.0123"), (0.9996, "1.00"), (9.996, "10.0"),
        (99.96, "100"), (12345.6, "12346"), (3e-6, "3.00e-06"), (-2.5, "-2.50"),
    ],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


def test_spreads_ratios_and_units():
    assert spread(spread_of(1.0, 2.0, 4.0)) == "2.00 (1.00 to 4.00)"
    assert spread(spread_of(2.0)) == "2.00" and spread(None) == DASH
    assert times(spread_of(2.0, 2.1, 2.2)) == "2.10x (2.00 to 2.20)"
    assert figure_row("peak_host_bytes", [spread_of(2.5e9), None])[1] == ["2.50", DASH]
    assert figure_row("peak_host_bytes", [spread_of(2.5e9)])[0].endswith(", GB")
    assert figure_row("collective_bytes_per_thinker_token", [spread_of(4096)])[0].endswith(", kB/token")
    assert figure_row("bandwidth_share", [spread_of(0.42)]) == (f"{FIGURES['bandwidth_share'][0]}, %", ["42.0"])


def test_the_title_says_what_must_not_be_overlooked():
    bare = profile_of(caveats=[], complete=False)
    assert caveats(bare) == ["CPU", "random weights", "interrupted"]
    assert title(bare) == "tiny on a CPU [CPU, random weights, interrupted]"
    assert caveats(profile_of(caveats=["projected", "cpu"])) == ["projected", "cpu", "random weights"]
    assert title(npu_profile()) == "Qwen3-Omni-30B-A3B-Instruct on 2 x Ascend 910B2 [invented]"


def test_conversations_at_once_have_a_table():
    [table] = tables.batches(batches_profile())
    assert [row[2] for row in table.rows] == ["1", "4", "8"]
    alone, four, _ = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (alone["Thinker tokens/s"], four["Thinker tokens/s"], four["answers/s"]) == ("20.0", "80.0", "2.00")
    assert (alone["Thinker rows"], four["Thinker rows"], four["Talker rows"]) == (DASH, "3.00", "2.00")
    assert (alone["turn s"], four["turn s"]) == (DASH, "0.500 (0.900)")
    assert four["first token s"] == "0.520 (1.50)" and alone["first token s"] == "0.520"
    assert not list(tables.batches(profile_of()))
    assert "Conversations at once" in render(batches_profile(), "markdown")
    assert "4 conversations at once" in render(batches_profile(), "html")


def test_what_is_told_of_one_or_of_several_alone_is_not_missed():
    for case in batches_profile((1, 4)).cases:
        missing = next((note for note in tables.figures(case).notes if note.startswith("Not measured")), "")
        assert "waiting for its turn" not in missing and "time per output token" not in missing


def test_the_throughput_table_begins_with_the_seeds_columns_and_rows():
    table = tables.throughput(profile_of())
    assert table.columns[:7] == SEED_COLUMNS
    parts = {row[4]: row for row in table.rows}
    assert parts["Thinker"][:7] == ("tiny", "2.7.1", "fp32", "1", "Thinker", "eager", "38.0")
    assert parts["Talker"][6] == "37.5" and parts["Talker, all codes"][6] == "600"
    assert parts["Thinker, decode"][6:9] == ("50.0", "45.5 to 51.0", "3")


def test_what_was_not_measured_is_a_dash_and_never_zero():
    profile = profile_of([case_of(speech=False)])
    parts = {row[4]: row for row in tables.throughput(profile).rows}
    assert parts["Talker"][6:9] == (DASH, DASH, DASH)
    (row,) = tables.overview(profile).rows
    columns = tables.overview(profile).columns
    assert [row[columns.index(name)] for name in ("Talker frames/s", "first audio s", "real-time factor")] == [DASH] * 3
    figures = tables.figures(profile.cases[0])
    assert not any("Talker" in row[0] for row in figures.rows)
    assert any(note.startswith("Not measured: ") and "Talker decode with" in note for note in figures.notes)
    assert not any(row[0] == "Talker decode" for row in tables.stages(profile.cases[0]).rows)


def test_a_figure_that_one_side_lacks_is_a_dash_there():
    fewer = run_of("mindone")
    fewer = fewer.model_copy(update={"figures": {"wall_s": fewer.figures["wall_s"]}})
    found = {row[0]: row[1:] for row in tables.figures(case_of(runs=[fewer, run_of("fused")])).rows}
    assert found["time per output token, median, ms"] == (DASH, "20.0 (19.6 to 22.0)", DASH)
    assert found["whole answer, s"][2].startswith("1.00x")


def test_stages_have_their_share_and_other_is_shown():
    rows = {row[0]: row[1] for row in tables.stages(case_of(runs=[run_of(walls=(2.0, 2.0, 2.0))])).rows}
    assert rows["Thinker decode"] == "0.600 (30%)" and rows["other"] == "0.0200 (1%)" and rows["whole answer"] == "2.00"
    assert rows["apart: loading"] == "3.20" and "compilation" not in rows


def test_one_repeat_and_different_answers_are_said():
    runs = [run_of("mindone", (1.0,), answer_digest="a"), run_of("fused", (1.0,), answer_digest="b")]
    notes = tables.figures(case_of(runs=runs)).notes
    assert "fused: one repeat, so no spread is known." in notes
    assert "The sides did not give the same answer." in notes


def test_collectives_are_shown_by_kind():
    per_token = {"all_reduce": 4.0, "all_reduce_bytes": 1024.0, "collectives": 4.0, "collective_bytes": 1024.0}
    ep = run_of(parallel="ep", cards=2, group_size=2, per_token=per_token, per_frame={"host_syncs": 1.0})
    (table,) = tables.collectives(case_of(runs=[run_of(), ep]))
    assert table.columns == ("kind", "fused, ep x 2, a token")
    assert table.rows == (("all_reduce", "4.00 (1.02 kB)"), ("collectives", "4.00 (1.02 kB)"))
    assert list(tables.collectives(case_of())) == []


def test_ranks_are_shown_with_their_skew():
    case = npu_profile().cases[0]
    table = next(iter(tables.ranks(case)))
    assert [row[0] for row in table.rows] == ["0", "1"]
    assert table.rows[1][2] == "3.60" and table.rows[1][4] == DASH
    assert run_label(case.runs[1]) == "fused, ep x 2"


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_column_is_cut_off_in_a_narrow_terminal(width):
    text = terminal.render(npu_profile(), width)
    drawn = [line for line in text.splitlines() if "│" in line or "┃" in line]
    assert max(map(len, drawn)) <= width
    for heading in ("frames/s", "memory", "ep x 2"):
        assert heading in text


def test_every_report_carries_what_its_figures_depend_on():
    profile = profile_of([case_of(), case_of("other", prompt_tokens=2000)], complete=False)
    for format in ("table", "markdown", "html"):
        text = re.sub(r"\s+", " ", render(profile, format))
        for needed in ("0123abc", "mindspore 2.7.1", "ms-omni profile --model ./tiny", "interrupted", "random weights",
                       "hidden_size", "2000 tokens", "x86-64", "3 repeats"):  # fmt: skip
            assert needed in text, (format, needed)


def test_markdown_tables_are_whole_and_names_cannot_break_them():
    text = render(profile_of([case_of("a | b <i>*x*</i> `c`", text_tokens=53)]), "markdown")
    assert "a \\| b &lt;i>\\*x\\*&lt;/i>" in text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert blocks
    for lines in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_csv_has_a_row_for_each_figure_unrounded_and_none_for_what_was_not_measured():
    profile = profile_of([case_of(speech=False)])
    rows = list(csv.DictReader(io.StringIO(render(profile, "csv"))))
    found = {row["figure"]: row for row in rows}
    assert len(found) == len(rows)
    wall = found["wall_s"]
    assert (float(wall["median"]), float(wall["max"]), wall["repeats"], wall["unit"]) == (1.0, 1.1, "3", "s")
    assert (wall["mindspore"], wall["caveats"], wall["prompt_tokens"]) == ("2.7.1", "CPU, random weights", "53")
    assert "talker_frames_per_s" not in found and "energy_j" not in found
    assert float(found["stage_thinker_decode_s"]["median"]) == pytest.approx(0.3)
    assert "stage_other_s" in found and float(found["load_s"]["median"]) == 3.2


def test_json_is_the_document_itself(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(render(npu_profile(), "json"))
    assert read_profile(path) == npu_profile()


@pytest.mark.parametrize("format", FORMATS)
def test_a_profile_without_any_answer_has_a_report(format):
    text = render(profile_of([], complete=False), format)
    assert text.endswith("\n") and format in SUFFIXES
    if format in ("table", "markdown", "html"):
        assert "No answer was measured" in text and "interrupted" in text


def test_a_run_that_was_interrupted_before_its_first_repeat_has_a_report():
    run = run_of(walls=())
    for format in FORMATS:
        render(profile_of([case_of(runs=[run])], complete=False), format)
    assert tables.overview(profile_of([case_of(runs=[run])])).rows[0][3:] == (DASH,) * 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a profile document"),
        ('{"schema_name": "other"}', "not a profile document"),
        ('{"schema_name": "ms_omni.profile", "schema_version": 2}', "schema version 2; this ms-omni reads version 1"),
        ('{"schema_name": "ms_omni.profile", "schema_version": 1}', "damaged: made_at"),
    ],
)
def test_a_file_that_is_no_profile_is_named(tmp_path, content, message):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(OmniError, match=message) as caught:
        read_profile(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_documents_of_the_first_writer_of_this_schema_stay_readable(tmp_path):
    """Without all that has been added to schema 1 since: batches, quantize, threads, ranks, counts, notes."""
    spread = {"median": 2.0, "min": 1.0, "max": 3.0, "count": 1}
    repeat = {"round": 0, "wall_s": 2.0, "stages_s": {"thinker_decode": 1.5}, "other_s": 0.5}
    run = {
        "side": "fused", "engine": "fused", "parallel": "none", "cards": 1, "group_size": 1,
        "attn_implementation": "eager", "dtype": "float32", "load_s": 1.0, "first_s": 3.0, "compile_s": 1.0,
        "repeats": [repeat], "figures": {"wall_s": spread}, "stages_s": {"thinker_decode": spread},
    }  # fmt: skip
    workload = {
        "name": "text", "digest": "d", "prompt_tokens": 5, "text_tokens": 5, "image_tokens": 0, "audio_tokens": 0,
        "video_tokens": 0, "thinker_max_new_tokens": 4, "talker_max_new_tokens": 0, "speech": False,
    }  # fmt: skip
    machine = {"device": "CPU", "cards": 1, "cpu": "x", "cores": 2, "memory_bytes": 1, "load_average": [0.0],
               "system": "Linux"}  # fmt: skip
    document = {
        "schema_name": "ms_omni.profile", "schema_version": 1, "made_at": "2026-01-01", "command": [], "commit": None,
        "versions": {}, "machine": machine, "sampling": {}, "repeats": 1, "warm_up": 0, "complete": True,
        "model": {"name": "m", "weights": "random", "parameters": 1, "config": {}}, "caveats": [],
        "cases": [{"workload": workload, "runs": [run]}],
    }  # fmt: skip
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document))
    profile = read_profile(path)
    [case] = profile.cases
    assert (case.workload.batch_size, case.runs[0].precision, case.runs[0].ranks) == (1, "float32", [])
    assert all("fused" in render(profile, format) for format in FORMATS)
