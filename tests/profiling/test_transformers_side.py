"""transformers as a side: what its process tells becomes a measurement; what goes wrong there is one line."""

import os
import sys
from dataclasses import replace

import pytest

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.profiling import transformers_side
from ms_omni.profiling.document import Span
from ms_omni.profiling.figures import figures
from ms_omni.profiling.task import Task
from ms_omni.profiling.transformers_side import TransformersSide, own_seconds

TASK = Task(
    "hello",
    [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    SamplingParams(thinker_max_new_tokens=3, talker_max_new_tokens=4, talker_repetition_penalty=1.0, ignore_eos=True),
    speech=True,
)
# Says what it was asked as if that were an answer of 2 s.
STAND_IN = """
import json, sys
import numpy as np
print(json.dumps({"versions": {"torch": "0"}, "load_s": 1.5}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    assert asked["options"] == {"use_audio_in_video": False, "thinker_max_new_tokens": 3, "talker_max_new_tokens": 4,
                                "speaker": "Ethan", "talker_repetition_penalty": 1.0}, asked
    tokens = np.load(asked["arrays"])["input_ids"].size
    print(json.dumps({
        "wall_s": 2.0,
        "spans": [["encoders", 0.1, 0.3, 1], ["thinker_prefill", 0.0, 0.5, 0], ["thinker_decode", 0.5, 1.0, 0],
                  ["code_predictor", 1.2, 1.4, 1], ["talker_decode", 1.1, 1.9, 0]],
        "marks": {"thinker_tokens": [[0.5, 1], [1.0, 1]], "talker_frames": [[1.4, 1]], "audio_samples": [[2.0, 24000]]},
        "ids": [tokens], "codes": [[1], [2]], "num_samples": 24000, "peak_host_bytes": 7}), flush=True)
"""


@pytest.fixture
def side(cpu, tiny_dir, tmp_path, monkeypatch):
    """side(program) -> a TransformersSide whose process runs that text."""
    made = []

    def make(program):
        path = tmp_path / "stand_in.py"
        path.write_text(program)
        monkeypatch.setattr(transformers_side, "PROGRAM", path)
        made.append(TransformersSide("transformers", sys.executable, tiny_dir))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_stages_and_marks_follow_the_preparation(side):
    measured = side(STAND_IN).answer(TASK)
    prepare_s = measured.wall_s - 2.0
    assert prepare_s > 0 and measured.stages_s["processor"] <= prepare_s
    assert measured.stages_s["thinker_prefill"] == pytest.approx(0.3)
    assert measured.stages_s["talker_decode"] == pytest.approx(0.6)
    found = figures(measured)
    assert found["ttft_s"] == pytest.approx(prepare_s + 0.5)
    assert found["talker_tokens_per_s"] == pytest.approx(2 / 0.8)
    assert found["audio_s"] == 1.0 and found["peak_host_bytes"] == 7
    assert "host_syncs_per_thinker_token" not in found
    spans = {span.stage: span for span in measured.spans}
    assert spans["talker_decode"].end_s == pytest.approx(prepare_s + 1.9)
    assert {span.stage for span in measured.spans} > {"processor", "encoders"}


def test_several_conversations_one_after_the_other(side):
    measured = side(STAND_IN).answer(replace(TASK, batch_size=3))
    assert measured.answers == 3 and measured.at_a_time == 1
    assert measured.wall_s > 6.0 and measured.stages_s["thinker_prefill"] == pytest.approx(0.9)
    assert [waits.queue_s for waits in measured.waits] == sorted(waits.queue_s for waits in measured.waits)
    assert measured.waits[2].queue_s + 0.5 <= measured.waits[2].first_token_s
    assert measured.waits[2].first_token_s == pytest.approx(measured.wall_s - 1.5)
    assert measured.prompt_tokens > 3 * measured.prompt["prompt_tokens"]  # two are numbered


def test_about_and_versions(side):
    one = side(STAND_IN)
    assert (one.about.engine, one.about.load_s, one.about.versions) == ("transformers", 1.5, {"torch": "0"})
    assert one.predictor_share(TASK, one.answer(TASK)) is None


def test_a_process_that_cannot_begin_says_why(side):
    with pytest.raises(OmniError, match=r"ended with exit code 1 \(ModuleNotFoundError: No module named 'torsh'\)"):
        side("import torsh")


def test_a_process_that_ends_midway_says_so(side):
    one = side('print(\'{"versions": {}, "load_s": 0}\', flush=True)')
    with pytest.raises(OmniError, match="--compare transformers: its process ended with exit code 0"):
        one.answer(TASK)


def test_own_seconds_leave_out_what_is_directly_within():
    spans = [
        Span(stage="a", start_s=0, end_s=10, depth=0),
        Span(stage="b", start_s=1, end_s=5, depth=1),
        Span(stage="c", start_s=2, end_s=3, depth=2),
        Span(stage="b", start_s=11, end_s=12, depth=0),
    ]
    assert own_seconds(spans) == {"a": 6, "b": 4, "c": 1}


@pytest.mark.live
@pytest.mark.skipif(not os.environ.get("MS_OMNI_REFERENCE_PYTHON"), reason="names no Python with torch")
def test_transformers_gives_the_answer_of_this_package(fused, tiny_dir):
    from ms_omni.profiling.sides import EngineSide

    side = TransformersSide("transformers", os.environ["MS_OMNI_REFERENCE_PYTHON"], tiny_dir)
    try:
        greedy = SamplingParams(
            thinker_temperature=0.0, talker_temperature=0.0, thinker_max_new_tokens=5, talker_max_new_tokens=6,
            talker_repetition_penalty=1.05, ignore_eos=True,
        )  # fmt: skip
        task = Task("hello", TASK.conversation, greedy, speech=True)
        theirs, ours = side.answer(task), EngineSide.of("fused", fused).answer(task)
    finally:
        side.close()
    assert theirs.digest == ours.digest
    assert theirs.prompt == ours.prompt
    counts = [{name: sum(n for _, n in events) for name, events in one.marks.items()} for one in (theirs, ours)]
    assert counts[0] == counts[1]
    assert 0 <= theirs.wall_s - sum(theirs.stages_s.values()) < 0.1 * theirs.wall_s
