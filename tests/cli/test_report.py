"""`ms-omni report`: formats, files, exit codes and errors."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "profiling"))
from sample_profiles import case_of, profile_of, run_of

from ms_omni.cli.main import main
from ms_omni.profiling.report import FORMATS


@pytest.fixture
def earlier(tmp_path):
    return written(tmp_path / "earlier.json", profile_of())


@pytest.fixture
def slower(tmp_path):
    return written(tmp_path / "slower.json", profile_of([case_of(runs=[run_of(walls=(1.5, 1.51, 1.49))])]))


def written(path, profile):
    path.write_text(profile.model_dump_json())
    return str(path)


@pytest.mark.parametrize("format", FORMATS)
def test_one_profile_in_every_format(earlier, format, capsys):
    assert main(["report", earlier, "--format", format]) == 0
    out, err = capsys.readouterr()
    assert "random" in out and err == ""


@pytest.mark.parametrize(("name", "start"), [("r.md", "# tiny"), ("r.html", "<!doctype html>"), ("r.csv", "case,")])
def test_the_end_of_the_file_names_the_format(earlier, tmp_path, name, start, capsys):
    assert main(["report", earlier, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text().lstrip().startswith(start)
    assert capsys.readouterr().out == ""


def test_two_profiles_are_compared_and_the_exit_code_can_tell(earlier, slower, capsys):
    assert main(["report", earlier, slower, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["regressions"] > 0
    assert main(["report", earlier, slower, "--fail-on-regression"]) == 1
    assert "worse" in capsys.readouterr().out
    assert main(["report", slower, earlier, "--fail-on-regression"]) == 0
    assert main(["report", earlier, earlier, "--fail-on-regression"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected one profile document, or two to compare; got 0"),
        (["{earlier}"] * 3, "expected one profile document, or two to compare; got 3"),
        (["missing.json"], "missing.json: cannot be read (No such file or directory)"),
        (["{earlier}", "--format", "markdwon"], "'markdwon' is not allowed, did you mean markdown?"),
        (["{earlier}", "--fail-on-regression"], "--fail-on-regression: needs two profile documents"),
        (["{earlier}", "--out", "report.pdf"], "--out report.pdf: its end names no format"),
        (["{earlier}", "--out", "{earlier}/r.md"], "could not be written (Not a directory)"),
    ],
)
def test_mistakes_are_one_line(earlier, words, message, capsys):
    assert main(["report", *(word.format(earlier=earlier) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


def test_different_workloads_are_one_line(earlier, tmp_path, capsys):
    other = written(tmp_path / "other.json", profile_of([case_of("video")]))
    assert main(["report", earlier, other]) == 2
    assert "different workloads" in capsys.readouterr().err
