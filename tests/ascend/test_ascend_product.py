"""The product on an emulated card: both engines, streaming, sampling, the command line and its reports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "ms_omni" / "assets" / "tiny"
SHAPES = ROOT / "ms_omni" / "assets" / "tiny_shapes.png"
ANSWER = (
    "I see a red circle, a blue square and a yellow triangle. The voice says hello seven. "
    "A red circle moves to the right and the voice says go right."
)


@pytest.fixture(scope="module")
def engines(ascend):
    """engines(dtype, engine) -> an OmniEngine with the built-in model, loaded once."""
    from ms_omni import OmniEngine

    loaded = {}

    def engine_of(dtype="float16", engine="fused"):
        key = dtype, engine
        if key not in loaded:
            loaded[key] = OmniEngine.from_pretrained(str(MODEL), device="Ascend", dtype=dtype, engine=engine)
        return loaded[key]

    return engine_of


def picture(question):
    return [{"role": "user", "content": [{"type": "image", "image": str(SHAPES)}, {"type": "text", "text": question}]}]


def greedy(**changes):
    from ms_omni import SamplingParams

    settings = {
        "thinker_temperature": 0,
        "thinker_max_new_tokens": 48,
        "talker_temperature": 0,
        "talker_repetition_penalty": 1.0,
        "talker_max_new_tokens": 8,
    }
    return SamplingParams(**{**settings, **changes})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_picture_is_answered_rightly(engines, dtype):
    out = engines(dtype).generate(picture("What do you see?"), sampling=greedy(), return_audio=False)
    assert out.text == "I see a red circle, a blue square and a yellow triangle."


def test_the_engine_of_mindone_says_the_same(engines):
    question = picture("What do you see?")
    out = engines("float16", "mindone").generate(question, sampling=greedy(), return_audio=False)
    assert out.text == engines("float16").generate(question, sampling=greedy(), return_audio=False).text


def test_mindones_generate_says_the_same(engines):
    from ms_omni import cast_inputs
    from ms_omni.mindone_model import FusedGenerate, MindoneGenerate

    for kind, generate in (("fused", FusedGenerate), ("mindone", MindoneGenerate)):
        engine = engines("float16", kind)
        inputs = cast_inputs(engine.processor.prepare(picture("What do you see?")).arrays, "float16")
        options = {"return_audio": False, "thinker_return_dict_in_generate": True}
        ids = generate(engine)(**inputs, **options)[0].sequences.asnumpy()[0, inputs["input_ids"].shape[1] :]
        assert engine.processor.decode(ids) == "I see a red circle, a blue square and a yellow triangle.", kind


def test_a_stream_is_the_whole_answer_in_parts(engines):
    from ms_omni import AudioChunk, StreamEnd, TextDelta

    engine, question = engines(), picture("What do you see?")
    parts = list(engine.stream(question, return_audio=True, sampling=greedy()))
    whole = engine.generate(question, return_audio=True, sampling=greedy())
    assert isinstance(parts[-1], StreamEnd)
    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == whole.text
    wave = np.concatenate([part.samples for part in parts if isinstance(part, AudioChunk)])
    # Some fifty convolutions and activations, rounded to float16 at other places: eight of its steps below 1
    np.testing.assert_allclose(wave, whole.audio.samples, atol=8 * 2.0**-11)
    assert whole.audio.num_frames == len(wave) // 1920 + 1 == 7 and np.abs(wave).max() > 0.01


@pytest.mark.slow
def test_no_token_is_repeated_where_that_costs_much(engines):
    """Neither one of the prompt nor one of the answer, alone and beside an answer without such a penalty."""
    engine, question = engines(), picture("What do you see?")
    prompt = set(engine.processor.prepare(question).arrays["input_ids"][0].tolist())
    costly = greedy(thinker_repetition_penalty=100.0, thinker_max_new_tokens=12, ignore_eos=True)
    alone = engine.generate(question, sampling=costly, return_audio=False)
    handles = [engine.submit(question, sampling=each, return_audio=False) for each in (costly, greedy())]
    beside, free = [handle.result() for handle in handles]
    for ids in (alone.token_ids, beside.token_ids):
        assert len(set(ids)) == 12 and not prompt & set(ids)
    assert free.text == "I see a red circle, a blue square and a yellow triangle."


@pytest.mark.slow
def test_sampling_follows_its_seed(engines):
    def ids(seed):
        sampling = greedy(
            thinker_temperature=8.0,
            thinker_top_k=40,
            thinker_top_p=0.99,
            thinker_max_new_tokens=12,
            ignore_eos=True,
            seed=seed,
        )
        return engines().generate(picture("What do you see?"), sampling=sampling, return_audio=False).token_ids

    assert ids(1) == ids(1)
    assert len({ids(seed) for seed in (1, 2, 3)}) > 1


@pytest.fixture
def command(ascend, capsys):
    """command(*argv) -> (stdout, stderr) of a run of ms-omni in this process that ends with 0."""
    from ms_omni.cli.main import main

    def run(*argv):
        code = main([str(word) for word in argv])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out, captured.err

    return run


@pytest.mark.parametrize("dtype", [pytest.param("float16", marks=pytest.mark.slow), "bfloat16"])
def test_the_conversation_of_the_demo(command, dtype, tmp_path):
    out, _ = command(
        "understand", "--device", "Ascend", "--dtype", dtype, "--json",
        "--conversation", ROOT / "launch" / "conversation.json", "--config", ROOT / "configs" / "demo.yaml",
        "--talker-max-new-tokens", "12", "--audio-out", tmp_path / "answer.wav",
    )  # fmt: skip
    document = json.loads(out)
    assert document["text"] == ANSWER
    assert document["audio"]["num_frames"] == 11  # the first of 12 ids comes with the prompt


def test_a_batch(command, tmp_path):
    rows = [{"id": str(i), "conversation": picture(text)} for i, text in enumerate(["What do you see?", "Any star?"])]
    manifest = tmp_path / "rows.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--device", "Ascend", "--dtype", "float16", "--thinker-temperature", "0")
    command("batch", "--model", MODEL, "--manifest", manifest, "--out", tmp_path / "out", *flags)
    answers = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == ["0", "1"]
    assert answers[0]["text"] == "I see a red circle, a blue square and a yellow triangle."


@pytest.mark.slow
def test_a_profile_names_the_card_that_is_emulated(command, tmp_path):
    command(
        "profile", "--workload", "smoke", "--device", "Ascend", "--dtype", "float16", "--repeats", "1",
        "--out", tmp_path / "profile",
    )  # fmt: skip
    profile = json.loads((tmp_path / "profile" / "profile.json").read_text())
    assert profile["machine"]["device"] == "Ascend910B2"
    assert "emulated operators, no card" in profile["caveats"]
    assert profile["cases"] and not profile["skipped"]


@pytest.mark.slow
@pytest.mark.parametrize(("cores", "code"), [(11, 2), (12, 0)])
def test_a_host_with_few_cores_is_refused(cores, code, tmp_path):
    """Before loading; the engine of mindone does without."""
    words = [sys.executable, "-m", "ms_omni", "understand", "--device", "Ascend", "--dtype", "float16"]
    words += ["--engine", "fused", "--text", "What is your name?", "--thinker-max-new-tokens", "6"]
    environment = os.environ | {"EMULATED_CORES": str(cores), "PYTHONPATH": f"{ROOT}:{os.environ['PYTHONPATH']}"}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert ("11 cores of the host" in done.stderr) == bool(code)
