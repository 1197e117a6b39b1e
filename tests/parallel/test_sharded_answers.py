"""A model that is spread over processes answers as one process does: ids, codec frames and wave, in every mode."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ranks import parameter_bytes, run_ranks

from ms_omni import OmniEngine, SamplingParams
from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.presets import PRESETS
from ms_omni.checkpoint.tiny import write_tiny

MEDIA = Path(__file__).parents[1] / "reference" / "media"
GREEDY = {
    "thinker_max_new_tokens": 10, "talker_max_new_tokens": 6, "thinker_temperature": 0.0, "talker_temperature": 0.0,
    "ignore_eos": True,
}  # fmt: skip
SAMPLED = {**GREEDY, "thinker_temperature": 0.9, "talker_temperature": 0.9, "seed": 5}


def question(*content, sampling=GREEDY, **options):
    return {"conversation": [{"role": "user", "content": list(content)}], "sampling": sampling, **options}


def text(words):
    return {"type": "text", "text": words}


def media(kind, name):
    return {"type": kind, kind: str(MEDIA / name)}


SPOKEN = question(text("Hello there, what is this?"), sampling=SAMPLED, return_audio=True)
EVERYTHING = [
    SPOKEN,
    question(text("What do you see and hear?"), media("image", "small.jpg"), media("audio", "one_second.wav"),
             return_audio=True),
    question(media("video", "silent.mp4"), text("What moves?"), return_audio=False),
    question(media("image", "wide.png"), media("video", "silent.mp4"), text("Compare."), return_audio=False),
]  # fmt: skip


def one_process(engine, questions):
    answers = []
    for asked in questions:
        options = {key: value for key, value in asked.items() if key != "conversation"}
        options["sampling"] = SamplingParams(**options["sampling"])
        answers.append(engine.generate(asked["conversation"], **options))
    return answers


def check(tmp_path, engine, checkpoint, questions, mode, cards, engine_name="fused", **options):
    """Compares, and returns the ranks' reports. options: of their engines."""
    ranks = answers_of_ranks(tmp_path, checkpoint, questions, mode, cards, engine_name, **options)
    alone = one_process(engine, questions)
    for report in ranks:
        for expected, answer in zip(3 * alone, report["answers"] + report["together"], strict=True):
            check_answer(answer, expected)
    return ranks


def answers_of_ranks(tmp_path, checkpoint, questions, mode, cards, engine_name="fused", **options):
    asked = tmp_path / "questions.json"
    asked.write_text(json.dumps(questions))
    words = (checkpoint, engine_name, mode, asked, json.dumps(options))
    return run_ranks("rank_answers.py", tmp_path, *words, cards=cards)


def check_answer(answer, expected):
    token_ids, audio = answer
    assert token_ids == list(expected.token_ids)
    assert (audio is None) == (expected.audio is None)
    if audio is not None:
        np.testing.assert_array_equal(audio[0], expected.audio.codes)
        np.testing.assert_allclose(audio[1], expected.audio.samples, atol=1e-4)


def collectives(report):
    """Per compiled graph that has any: calls by kind."""
    counts = [{kind: calls for kind, calls, _ in graph if calls} for graph in report["graphs"].values()]
    return [graph for graph in counts if graph]


TOKENS_PER_CALL = 4


def expected_collectives(config, mode):
    """Of one call of the Thinker's graph, and of the Talker's, by kind."""
    thinker, talker = (
        part.num_hidden_layers for part in (config.thinker_config.text_config, config.talker_config.text_config)
    )
    predictor = config.talker_config.code_predictor_config.num_hidden_layers
    codes = config.talker_config.num_code_groups - 1
    # The sampled id, or a frame's codes and their sum, from the first rank; a split embedding looked up, split logits
    # joined. Under zero3 MindSpore joins equal gathers of one graph: attention travels once for the tokens of a call;
    # in every layer the choices of all rows go to all, and experts to those who chose them; behind the layers the
    # states of all rows
    if mode == "ep":
        a_token, a_frame = {"all_reduce": thinker}, {"all_reduce": talker}
    elif mode == "tp":
        a_token, a_frame = {"all_reduce": 2 * thinker + 1, "all_gather": 1}, {"all_reduce": 2 * talker + 1}
    else:
        a_token = {
            "all_gather": thinker / TOKENS_PER_CALL + thinker + 2, "all_reduce": 1, "all_to_all": thinker,
        }  # fmt: skip
        # The code predictor's kernel is given every code's head and table
        a_frame = {"all_gather": 2 * talker + predictor + 2 * codes + 4, "all_reduce": 2, "all_to_all": talker}
    return (
        {kind: TOKENS_PER_CALL * calls for kind, calls in (a_token | {"broadcast": 1}).items()},
        a_frame | {"broadcast": 2},
    )


def most_bytes(config, whole, mode, cards):
    """Of Parameters on a rank: zero3 1/N and 5 % of it all, ep 1/N of the experts and the rest."""
    if mode == "zero3":
        return (1 / cards + 0.05) * whole
    experts = sum(
        4 * part.num_hidden_layers * part.num_experts * 3 * part.hidden_size * part.moe_intermediate_size
        for part in (config.thinker_config.text_config, config.talker_config.text_config)
    )
    return whole - experts * (1 - 1 / cards)


def check_ranks(ranks, config, engine, mode):
    for report in ranks:
        graphs = collectives(report)
        assert all(expected in graphs for expected in expected_collectives(config, mode)), graphs
        assert report["parameter_bytes"] <= most_bytes(config, parameter_bytes(engine.executor), mode, len(ranks))


def test_experts_on_two_ranks(fused, tiny_dir, tmp_path):
    """One AllReduce a layer, and one broadcast of the sampled id: nothing else."""
    ranks = check(tmp_path, fused, tiny_dir, [SPOKEN], "ep", 2)
    check_ranks(ranks, read_config(tiny_dir), fused, "ep")


@pytest.mark.parametrize(
    ("mode", "cards"),
    [
        pytest.param("zero3", 2, marks=pytest.mark.slow),
        *(pytest.param(mode, 2, marks=pytest.mark.long) for mode in ("ep", "tp")),
        *(pytest.param(mode, 4, marks=pytest.mark.long) for mode in ("ep", "tp", "zero3")),
    ],
)
def test_all_modalities(fused, tiny_dir, tmp_path, mode, cards):
    ranks = check(tmp_path, fused, tiny_dir, EVERYTHING, mode, cards)
    check_ranks(ranks, read_config(tiny_dir), fused, mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ep", "tp", "zero3"])
@pytest.mark.parametrize("quantize", ["int8", "int8-dynamic"])
def test_8_bit_weights(tiny_dir, cpu, tmp_path, mode, quantize):
    """Shared with their scales, by the same table. Where columns are split and hidden states rounded, a rank rounds its
    own part of them, by its largest value: not quite as one process would."""
    if (mode, quantize) == ("tp", "int8-dynamic"):
        ranks = answers_of_ranks(tmp_path, tiny_dir, EVERYTHING[:2], mode, 2, quantize=quantize)
        first, *others = (
            [(ids, audio and audio[0]) for ids, audio in report["answers"] + report["together"]] for report in ranks
        )
        assert first[:2] == first[2:4] == first[4:] and all(other == first for other in others)
        return
    with OmniEngine.from_pretrained(tiny_dir, engine="fused", device="CPU", quantize=quantize) as engine:
        ranks = check(tmp_path, engine, tiny_dir, EVERYTHING[:2], mode, 2, quantize=quantize)
        # Under zero3 every rank has all scales, 4 bytes for each row of 64 or so
        most = most_bytes(read_config(tiny_dir), parameter_bytes(engine.executor), mode, 2) if mode == "zero3" else None
    assert most is None or all(report["parameter_bytes"] <= 1.1 * most for report in ranks)


@pytest.mark.slow
def test_a_talker_that_every_rank_has_whole(cpu, tmp_path, monkeypatch):
    """Its three heads are not shared by two, but the Thinker's vocabulary is, whose words it reads."""
    monkeypatch.setitem(PRESETS, "odd", replace(PRESETS["tiny"], talker_heads=3, talker_kv_heads=1))
    checkpoint = write_tiny(tmp_path / "odd", "odd")
    with OmniEngine.from_pretrained(checkpoint, engine="fused", device="CPU") as engine:
        check(tmp_path, engine, checkpoint, [SPOKEN], "tp", 2)


@pytest.mark.long
def test_all_modalities_of_mindones_engine(baseline, tiny_dir, tmp_path):
    check(tmp_path, baseline, tiny_dir, EVERYTHING[1:], "zero3", 2, "mindone")


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["mccl", pytest.param("sockets", marks=pytest.mark.long)])
def test_graphs_from_an_earlier_job(fused, tiny_dir, tmp_path, monkeypatch, transport):
    """Every rank finds its own graphs again, with the collectives in them: nothing is compiled, nothing differs."""
    monkeypatch.setenv("MS_OMNI_CPU_TRANSPORT", transport)
    cache, jobs = tmp_path / "graphs", []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        jobs.append(check(tmp_path / name, fused, tiny_dir, [SPOKEN], "ep", 2, compile_cache=str(cache)))
        files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.mindir")}
        jobs[-1].append(files)
    (*first, written), (*second, found) = jobs
    each = len(written) // 2  # of the list that a rank compiles before its first answer
    assert each > 1 and found == written
    assert [report["graph_cache_hits"] for report in (*first, *second)] == [0, 0, each, each]
