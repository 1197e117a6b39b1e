"""A profile of 8-bit weights: what the document and its reports say, and what decoding is taken to read."""

import csv
import io
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sample_profiles import case_of, profile_of, run_of

from ms_omni.checkpoint.quantize import quantize_checkpoint
from ms_omni.cli.main import main
from ms_omni.config import SamplingParams
from ms_omni.planning.model import plan_config
from ms_omni.profiling import environment
from ms_omni.profiling.document import Profile
from ms_omni.profiling.figures import figures
from ms_omni.profiling.measured import Measured
from ms_omni.profiling.report import FORMATS, compare, render, tables
from ms_omni.profiling.report.heading import run_label
from ms_omni.profiling.roofline import thinker_reads
from ms_omni.profiling.sides import EngineSide
from ms_omni.profiling.task import Task


@pytest.mark.parametrize(
    ("quantize", "dtype", "precision", "cell"),
    [
        ("none", "bfloat16", "bfloat16", "bf16"),
        ("int8", "bfloat16", "w8a16", "w8a16 bf16"),
        ("int8", "float16", "w8a16", "w8a16 fp16"),
        ("int8", "float32", "w8a32", "w8a32 fp32"),
        ("int8-dynamic", "bfloat16", "w8a8", "w8a8 bf16"),
    ],
)
def test_precision(quantize, dtype, precision, cell):
    run = run_of(quantize=quantize, dtype=dtype)
    profile = profile_of([case_of(runs=[run])])
    assert run.precision == precision
    assert tables.throughput(profile).rows[0][2] == cell
    assert run_label(run) == ("fused" if quantize == "none" else f"fused, {precision}")
    [row, *_] = csv.DictReader(io.StringIO(render(profile, "csv")))
    assert (row["dtype"], row["quantize"]) == (dtype, quantize)
    assert Profile.model_validate_json(render(profile, "json")) == profile
    assert all(
        quantize == "none" or precision in render(profile, name) for name in FORMATS if name not in ("json", "csv")
    )


def test_a_document_from_before_has_no_8_bit_weights():
    document = json.loads(render(profile_of(), "json"))
    assert document["cases"][0]["runs"][0].pop("quantize") == "none"
    assert Profile.model_validate(document) == profile_of()


def test_another_precision_is_another_setting():
    """Of the same side, so the two are compared, and what differs is named."""
    before = profile_of([case_of(runs=[run_of("fused"), run_of("fused:ep")])])
    after = profile_of([case_of(runs=[run_of("fused", quantize="int8"), run_of("fused:ep", quantize="int8")])])
    comparison = compare(before, after)
    differences = [each for each in comparison.differences if each[0] == "precision"]
    assert differences == [("precision", "float32", "w8a32 float32")] and comparison.missing == ()
    assert {change.run for change in comparison.changes} == {
        "fused -> fused, w8a32",
        "fused:ep -> fused:ep, w8a32",
    }


def engine_of(quantize):
    return SimpleNamespace(
        config=plan_config("instruct"), dtype="bfloat16", has_talker=True, parallel="none", quantize=quantize,
        world=SimpleNamespace(group_size=1),
    )  # fmt: skip


def test_the_share_of_the_bandwidth_is_of_the_bytes_that_8_bits_have():
    reads = {name: thinker_reads(engine_of(name), 100) for name in ("none", "int8", "int8-dynamic")}
    # All but the head, routers and caches in a byte
    assert 0.5 * reads["none"] < reads["int8"] == reads["int8-dynamic"] < 0.56 * reads["none"]
    measured = Measured(3.0, {"thinker_decode": 2.0}, {"thinker_tokens": [(1.0, 1), (2.0, 4)]}, {"prompt_tokens": 9})
    shares = [
        figures(replace(measured, reads_bytes=reads[name], bandwidth=1e12))["bandwidth_share"]
        for name in ("none", "int8")
    ]
    assert shares[0] == pytest.approx(4 * reads["none"] / 1e12 / 2.0)
    assert shares[1] / shares[0] == pytest.approx(reads["int8"] / reads["none"])


def test_a_side_says_how_its_engine_has_the_weights(fused, monkeypatch):
    """An engine that says int8, with the answers of one that has floats: only what is said is looked at."""
    text = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    task = Task("hello", text, SamplingParams(thinker_temperature=0.0, thinker_max_new_tokens=2), speech=False)
    found = {}
    for quantize in ("none", "int8"):
        monkeypatch.setattr(fused, "quantize", quantize)
        side = EngineSide.of("fused", fused)
        found[quantize] = side.about.quantize, side.answer(task).reads_bytes
    assert (found["none"][0], found["int8"][0]) == ("none", "int8")
    assert 0.2 < found["int8"][1] / found["none"][1] < 0.8  # of float32


def test_scales_are_no_parameters(tiny_dir, tmp_path):
    """A checkpoint whose weights are stored in 8 bits has as many parameters as with floats."""
    quantize_checkpoint(tiny_dir, tmp_path / "int8")
    assert environment.model(tmp_path / "int8").parameters == environment.model(tiny_dir).parameters


def test_the_command_on_the_built_in_model(capsys):
    words = "profile --device CPU --quantize int8 --workload text-only --repeats 1 --warm-up 0 --format json"
    assert main(words.split()) == 0
    [case] = json.loads(capsys.readouterr().out)["cases"]
    [run] = case["runs"]
    assert (run["quantize"], run["dtype"]) == ("int8", "float32")
    assert 0 < run["repeats"][0]["figures"]["bandwidth_share"] < 10
