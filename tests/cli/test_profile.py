"""`profile`: what may be asked, what is measured by whom, what is kept, and what ends up where."""

import json
import time

import pytest

from ms_omni.cli.main import main
from ms_omni.cli.profile import measuring
from ms_omni.cli.settings import yaml_keys
from ms_omni.errors import OmniError
from ms_omni.profiling.document import Profile
from ms_omni.profiling.measured import Measured
from ms_omni.profiling.rank_group import RankGroup
from ms_omni.profiling.sides import About, EngineSide


class FakeSide(EngineSide):
    """Answers without an engine. `asked`: (side, task) of every answer; `failures`: what to raise at its number."""

    asked: list = []
    failures: dict = {}
    rank = 0

    def __init__(self, name, config, progress=None):
        self.name, self.config, self.rank_group = name, config, RankGroup(self.rank, 1)
        kind = "fused" if config.engine == "auto" else config.engine
        quantize = "none" if config.quantize == "auto" else config.quantize
        self.about = About(kind, config.parallel, 1, 1, "eager", "float32", 1.5, quantize=quantize)

    def answer(self, task):
        FakeSide.asked.append((self.name, task))
        failure = FakeSide.failures.get(len(FakeSide.asked))
        if failure is not None:
            raise failure
        prompt = {"prompt_tokens": 12, "image_tokens": 0, "audio_tokens": 5, "video_tokens": 0}
        marks = {"thinker_tokens": [(0.5, 1), (1.5, 3)]}
        return Measured(2.0, {"thinker_prefill": 0.5, "thinker_decode": 1.0}, marks, prompt, digest="d")

    def predictor_share(self, task, measured):
        return None


@pytest.fixture
def sides(monkeypatch):
    """FakeSide in the place of EngineSide."""
    monkeypatch.setattr(measuring, "EngineSide", FakeSide)
    monkeypatch.setattr(FakeSide, "asked", [])
    monkeypatch.setattr(FakeSide, "failures", {})
    return FakeSide


@pytest.fixture
def profile(cli, tiny_dir, sides, tmp_path):
    """profile(*flags) -> Result, with --out tmp_path/out"""
    return lambda *flags: cli("profile", "--model", tiny_dir, "--out", tmp_path / "out", *flags)


def document(tmp_path):
    return Profile.model_validate_json((tmp_path / "out" / "profile.json").read_text())


def test_sides_take_turns_and_the_document_says_what_was_done(profile, sides, tmp_path):
    done = profile("--compare", "mindone,fused", "--repeats", "2", "--workload", "text-only")
    assert done.code == 0 and "fused / mindone" in done.out
    assert [name for name, _ in sides.asked] == ["mindone", "fused"] * 3
    made = document(tmp_path)
    assert made.complete and (made.repeats, made.warm_up) == (2, 1)
    assert made.caveats == ["CPU", "random weights"]
    [case] = made.cases
    assert (case.workload.prompt_tokens, case.workload.text_tokens, case.workload.audio_tokens) == (12, 7, 5)
    assert [len(run.repeats) for run in case.runs] == [2, 2]
    assert case.runs[0].figures["thinker_decode_tokens_per_s"].median == 3.0
    assert made.sampling["ignore_eos"] and made.sampling["thinker_temperature"] == 0
    assert "thinker_max_new_tokens" not in made.sampling


@pytest.mark.parametrize(("flags", "quantize"), [((), "none"), (("--quantize", "int8"), "int8")])
def test_the_document_says_how_the_weights_are_kept(profile, tmp_path, flags, quantize):
    assert profile("--repeats", "1", "--workload", "text-only", *flags).code == 0
    assert document(tmp_path).cases[0].runs[0].quantize == quantize


def test_greedy_and_to_the_maximum_unless_told_otherwise(profile, sides):
    profile("--workload", "text", "--repeats", "1", "--warm-up", "0", "--seed", "4", "--talker-temperature", "0.5")
    [(name, task)] = sides.asked
    assert name == "fused"  # what auto came to
    sampling = task.sampling
    assert (sampling.thinker_temperature, sampling.talker_temperature, sampling.seed) == (0, 0.5, 4)
    assert sampling.ignore_eos and (sampling.thinker_max_new_tokens, sampling.talker_max_new_tokens) == (64, 51)
    assert task.speech


def test_without_out_one_format_goes_to_stdout(cli, tiny_dir, sides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("profile", "--model", tiny_dir, "--workload", "text-only", "--repeats", "1", "--format")
    assert Profile.model_validate_json(cli(*words, "json").out).complete
    assert cli(*words, "csv").out.count("\n") > 5
    assert cli(*words, "html").out.endswith("</html>\n")
    assert list(tmp_path.iterdir()) == []


def test_every_format_is_a_file(profile, tmp_path):
    done = profile("--workload", "text-only", "--repeats", "1", "--format", "html,markdown,csv,json,table")
    assert done.code == 0 and done.out.startswith("tiny on a CPU [CPU, random weights]")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"profile.json", "profile.html", "profile.md", "profile.csv"}


def test_a_case_that_does_not_fit_costs_itself_alone(profile, sides, tmp_path):
    sides.failures = {1: OmniError("too long"), 2: OmniError("too long"), 4: OmniError("no")}
    path = tmp_path / "own.yaml"
    path.write_text("prompt_tokens: [8, 9, 10]\n")
    done = profile("--workload", path, "--compare", "mindone,fused", "--repeats", "1", "--warm-up", "0")
    assert done.code == 1
    made = document(tmp_path)
    assert made.complete
    assert [len(case.runs) for case in made.cases] == [1, 2]
    assert [(skipped.workload, skipped.side, skipped.reason) for skipped in made.skipped] == [
        ("own (prompt_tokens 8)", None, "too long"),
        ("own (prompt_tokens 9)", "fused", "no"),
    ]
    assert "ms-omni: not measured: own (prompt_tokens 9) (fused): no\n" in done.err


def test_when_nothing_fits_it_is_a_users_error(user_error, tiny_dir, sides, tmp_path):
    sides.failures = {1: OmniError("--x 3: too long")}
    assert "--x 3: too long" in user_error("profile", "--model", tiny_dir, "--out", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_keeps_what_was_finished_and_says_so(profile, sides, tmp_path):
    sides.failures = {6: KeyboardInterrupt()}
    done = profile("--workload", "text-only", "--compare", "mindone,fused", "--format", "markdown")
    assert done.code == 130 and done.err.endswith("ms-omni: interrupted\n")
    made = document(tmp_path)
    assert not made.complete and "interrupted" in made.caveats
    assert [len(run.repeats) for run in made.cases[0].runs] == [2, 1]
    assert "interrupted" in done.out.splitlines()[0]
    assert "interrupted" in (tmp_path / "out" / "profile.md").read_text().splitlines()[0]


def test_an_interrupt_before_anything_is_finished_leaves_nothing(profile, sides, tmp_path):
    sides.failures = {1: KeyboardInterrupt()}
    done = profile("--workload", "text-only")
    assert (done.code, done.out) == (130, "")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_file_is_there_after_every_repeat(profile, sides, tmp_path, monkeypatch):
    kept = []
    answer = FakeSide.answer

    def look(self, task):
        path = tmp_path / "out" / "profile.json"
        kept.append(len(document(tmp_path).cases[0].runs[0].repeats) if path.exists() else 0)
        return answer(self, task)

    monkeypatch.setattr(FakeSide, "answer", look)
    profile("--workload", "text-only", "--repeats", "3")
    assert kept == [0, 0, 1, 2]


def test_only_rank_0_reports(profile, sides, tmp_path, monkeypatch):
    monkeypatch.setattr(FakeSide, "rank", 1)
    done = profile("--workload", "text-only", "--repeats", "1")
    assert (done.code, done.out, len(sides.asked)) == (0, "", 2)
    assert list((tmp_path / "out").iterdir()) == []


def test_figures_can_be_chosen_and_the_document_has_all(profile, tmp_path):
    done = profile("--workload", "text-only", "--repeats", "1", "--figures", "ttft_s", "--format", "csv")
    assert done.code == 0
    rows = (tmp_path / "out" / "profile.csv").read_text()
    assert "ttft_s" in rows and "thinker_decode_tokens_per_s" not in rows
    assert "Not measured" not in done.out
    assert "thinker_decode_tokens_per_s" in document(tmp_path).cases[0].runs[0].figures


def test_ways_to_share_can_be_compared(profile, sides):
    profile("--workload", "text-only", "--compare", "mindone:zero3,fused:ep", "--parallel", "tp", "--repeats", "1")
    assert [name for name, _ in sides.asked[:2]] == ["mindone:zero3", "fused:ep"]


def test_conversations_at_once_are_cases(profile, sides, tmp_path):
    done = profile("--workload", "text-only", "--batch", "1,3", "--repeats", "1", "--warm-up", "0")
    assert done.code == 0
    assert [(task.name, len(task.questions)) for _, task in sides.asked] == [
        ("text-only, batch 1", 1), ("text-only, batch 3", 3),
    ]  # fmt: skip
    assert [case.workload.batch_size for case in document(tmp_path).cases] == [1, 3]
    assert "Conversations at once" in done.out


def test_what_mindone_does_not_have_is_the_fused_engines_setting(profile, sides, monkeypatch):
    made = []

    class Side(FakeSide):
        def __init__(self, name, config, progress=None):
            made.append((config.max_num_seqs, config.launch_capture))
            super().__init__(name, config, progress)

    monkeypatch.setattr(measuring, "EngineSide", Side)
    flags = ("--max-num-seqs", "4", "--launch-capture", "thinker")
    profile("--workload", "text-only", "--compare", "mindone,fused", *flags, "--repeats", "1")
    assert made == [(None, "none"), (4, "thinker")]


def test_own_conversations_beside_workloads(profile, sides, tmp_path):
    file = tmp_path / "hello.json"
    file.write_text(json.dumps([{"role": "user", "content": "Hello"}]))
    profile("--conversation", file, "--repeats", "1", "--warm-up", "0", "--no-speak")
    profile("--conversation", file, "--workload", "text-only", "--repeats", "1", "--warm-up", "0")
    assert [task.name for _, task in sides.asked] == ["hello", "text-only", "hello"]
    assert not sides.asked[0][1].speech and sides.asked[2][1].speech


def test_a_checkpoint_without_talker_is_measured_in_text(cli, silent_dir, sides):
    done = cli("profile", "--model", silent_dir, "--workload", "text", "--repeats", "1")
    assert done.code == 0 and "no Talker: text alone is measured" in done.err
    assert not any(task.speech for _, task in sides.asked)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--workload audio8s", "unknown workload, did you mean audio-8s?"),
        ("--workload text --workload text", "there is a case 'text' already"),
        ("--conversation -", "expected a file"),
        ("--conversation none.json", "cannot be read"),
        ("--format tabel", "unknown format 'tabel', did you mean table?"),
        ("--format csv,html", "stdout takes one format; give --out DIR"),
        ("--figures walls_s", "unknown figure 'walls_s', did you mean wall_s?"),
        ("--compare mindone,fussed", "unknown side, did you mean fused?; expected fused, mindone, transformers"),
        ("--compare fused,fused", "names a side twice"),
        ("--compare fused:epp", "'epp' is not allowed, did you mean ep?"),
        ("--compare transformers:ep", "runs in one process"),
        ("--compare fused,transformers --quantize int8", "has no --quantize int8; leave one of them away"),
        ("--compare fused,mindone --quantize int8", "--quantize int8: --engine mindone has no 8-bit weights"),
        ("--quantize int4", "--quantize: 'int4'"),
        ("--compare transformers", "set MS_OMNI_REFERENCE_PYTHON"),
        ("--compare transformers --talker-temperature 1", "leave the temperatures at 0"),
        ("--engine fused --compare fused", "exclude each other"),
        ("--repeats 0", "too small"),
        ("--batch 1,0", "too small"),
        ("--batch 1,x", "'x' is not a whole number"),
        ("--max-num-seqs 4 --engine mindone", "answers one conversation at a time"),
        ("--warm-up -1", "too small"),
        ("--no-ignore-eos", "always generates the maximum"),
        ("--speaker nobody", "unknown speaker"),
        ("--out /proc/nowhere", "--out /proc/nowhere: cannot be written"),
        ("--trace /proc/nowhere", "--trace /proc/nowhere: cannot be written"),
        ("--min-pixels 9 --max-pixels 8", "is above --max-pixels"),
    ],
)
def test_a_mistake_is_found_before_anything_is_loaded(user_error, tiny_dir, no_engine, monkeypatch, flags, message):
    monkeypatch.delenv("MS_OMNI_REFERENCE_PYTHON", raising=False)
    assert message in user_error("profile", "--model", tiny_dir, *flags.split())


def test_a_silent_checkpoint_cannot_be_made_to_speak(user_error, silent_dir, no_engine):
    assert "has no Talker" in user_error("profile", "--model", silent_dir, "--speak")


def test_settings_file(profile, sides, tmp_path):
    assert {"workload", "compare", "repeats", "out", "format", "model"} <= yaml_keys("profile")
    file = tmp_path / "settings.yaml"
    file.write_text("workload: [text-only, text]\nrepeats: 1\nwarm_up: 0\ncompare: mindone,fused\nspeak: false\n")
    profile("--config", file)
    assert [name for name, _ in sides.asked] == ["mindone", "fused"] * 2
    sides.asked.clear()
    profile("--config", file, "--workload", "answer-lengths", "--thinker-max-new-tokens", "2", "--compare", "fused")
    assert len(sides.asked) == 3


def test_an_engine_is_measured_from_end_to_end(cli, fused, tiny_dir, monkeypatch, tmp_path):
    monkeypatch.setattr(measuring, "EngineSide", _Loaded)
    monkeypatch.setattr(_Loaded, "loaded", fused, raising=False)
    words = ("profile", "--model", tiny_dir, "--workload", "smoke", "--repeats", "4", "--out", tmp_path / "out")
    assert cli(*words).code == 0
    [run] = document(tmp_path).cases[0].runs
    for repeat in run.repeats:
        assert 0 <= repeat.other_s < repeat.wall_s
        assert {"media", "processor", "encoders", "thinker_decode", "code2wav"} <= repeat.stages_s.keys()
    workload = document(tmp_path).cases[0].workload
    assert min(workload.image_tokens, workload.audio_tokens, workload.video_tokens) > 0


class _Loaded(EngineSide):
    """An engine that the tests have loaded already."""

    def __init__(self, name, config, progress=None):
        self._set_up(name, self.loaded, time.perf_counter)


def test_help_is_quick(capsys):
    assert main(["profile", "--help"]) == 0 and "--workload" in capsys.readouterr().out
