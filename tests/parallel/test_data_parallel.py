"""Ranks that share one model answer different conversations at once, each as one process does."""

import json

import numpy as np
import pytest
from ranks import parameter_bytes, run_ranks
from test_sharded_answers import (
    EVERYTHING,
    GREEDY,
    SAMPLED,
    SPOKEN,
    TOKENS_PER_CALL,
    collectives,
    media,
    one_process,
    question,
    text,
)

from ms_omni.checkpoint.config import read_config

LONG = question(text("And what is this? " * 9), sampling={**SAMPLED, "thinker_max_new_tokens": 17}, return_audio=False)
SHORT = question(text("No."), sampling={**SAMPLED, "thinker_max_new_tokens": 2}, return_audio=False)
SHORT_GREEDY = question(text("Yes"), sampling={**GREEDY, "thinker_max_new_tokens": 2}, return_audio=False)
SPOKEN_LONGER = question(
    text("Say more"), sampling={**SAMPLED, "talker_max_new_tokens": 11, "seed": 9}, return_audio=True
)


def broken(directory):
    (directory / "broken.png").write_text("no picture")
    return question({"type": "image", "image": str(directory / "broken.png")}, text("What?"), return_audio=False)


def check(tmp_path, engine, checkpoint, by_rank):
    """Compares with one process, and returns the ranks' reports. A rank's question None is a broken medium."""
    bad = broken(tmp_path)
    asked = [[bad if one is None else one for one in questions] for questions in by_rank]
    (tmp_path / "questions.json").write_text(json.dumps(asked))
    ranks = run_ranks("rank_data_parallel.py", tmp_path, checkpoint, tmp_path / "questions.json", cards=len(by_rank))
    for questions, report in zip(by_rank, ranks, strict=True):
        expected = iter(one_process(engine, [one for one in questions if one is not None]))
        for one, answer in zip(questions, report["answers"], strict=True):
            if one is None:
                assert "broken.png" in answer
            else:
                check_answer(answer, next(expected))
    return ranks


def check_answer(answer, expected):
    token_ids, audio = answer
    assert token_ids == list(expected.token_ids)
    assert (audio is None) == (expected.audio is None)
    if audio is not None:
        np.testing.assert_array_equal(audio[0], expected.audio.codes)
        np.testing.assert_allclose(audio[1], expected.audio.samples, atol=1e-4)


def check_ranks(ranks, config, engine):
    """What all ranks' graphs gather, and what they keep: a part of the decoder layers, and everything else."""
    thinker, talker = config.thinker_config.text_config, config.talker_config.text_config
    calls, layers = TOKENS_PER_CALL, thinker.num_hidden_layers
    # Attention, once for the tokens of a call; which experts, and these, which mccl sends to everybody
    a_call, a_frame = {"all_gather": layers + 2 * layers * calls}, {"all_gather": 3 * talker.num_hidden_layers}
    spread = sum(
        parameter.nbytes
        for decoder in (engine.runtime._thinker.decoder, engine.runtime._talker.decoder)
        for parameter in decoder.get_parameters()
    )
    whole = parameter_bytes(engine.runtime)
    for report in ranks:
        assert all(report["are_chains"])
        assert [graph for graph in collectives(report) if graph not in (a_call, a_frame)] == []
        assert a_call in collectives(report) and a_frame in collectives(report)
        most = whole - spread * (1 - 1 / len(ranks)) + 0.05 * whole
        assert report["parameter_bytes"] <= most


@pytest.mark.slow
def test_two_ranks_answer_their_own(fused, tiny_dir, tmp_path):
    """One speaks and fails in between, the other has longer and shorter texts and is done first."""
    ranks = check(tmp_path, fused, tiny_dir, [[SPOKEN, None, SHORT], [LONG]])
    check_ranks(ranks, read_config(tiny_dir), fused)


@pytest.mark.long
@pytest.mark.parametrize("transport", ["mccl", "sockets"])
def test_both_speak(fused, tiny_dir, tmp_path, monkeypatch, transport):
    """Gathered and exchanged."""
    monkeypatch.setenv("MS_OMNI_CPU_TRANSPORT", transport)
    ranks = check(tmp_path, fused, tiny_dir, [[SPOKEN, LONG], [SPOKEN_LONGER, None, SHORT_GREEDY]])
    if transport == "mccl":
        check_ranks(ranks, read_config(tiny_dir), fused)
    else:
        exchanged = [graph["all_to_all"] for graph in collectives(ranks[0])]
        layers = read_config(tiny_dir).thinker_config.text_config.num_hidden_layers
        assert max(exchanged) == layers * TOKENS_PER_CALL


@pytest.mark.long
def test_four_ranks_with_everything(fused, tiny_dir, tmp_path):
    with_sound = question(
        media("video", "silent.mp4"), media("audio", "one_second.wav"), text("Both?"), return_audio=True
    )
    by_rank = [[SPOKEN, SHORT, None], EVERYTHING[1:], [], [with_sound, LONG]]
    check_ranks(check(tmp_path, fused, tiny_dir, by_rank), read_config(tiny_dir), fused)
