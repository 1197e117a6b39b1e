"""A model that emulated cards share, all of them or two by two, answers as one emulated card does."""

import json
from pathlib import Path

import pytest
from card_ranks import run_card_ranks

MODEL = Path(__file__).resolve().parents[2] / "ms_omni" / "assets" / "tiny"
LENGTHS = {"thinker_max_new_tokens": 8, "talker_max_new_tokens": 4}
GREEDY = {**LENGTHS, "thinker_temperature": 0.0, "talker_temperature": 0.0}
QUESTIONS = [
    {"conversation": [{"role": "user", "content": words}], "sampling": GREEDY, "return_audio": speak}
    for words, speak in (("What do you know?"), ("Hello seven"))
]
# Cards, and how they share the model: mode, cards of a group. Each way compiles a minute or more on two cores.
JOBS = [
    pytest.param(2, [("ep", 2)], id="2", marks=pytest.mark.slow),
    pytest.param(2, [("zero3", 2)], id="2 zero3", marks=pytest.mark.long),
    pytest.param(4, [("ep", 4), ("tp", 2), ("zero3", 2)], id="4", marks=pytest.mark.long),
    pytest.param(4, [("tp", 4), ("zero3", 4)], id="4 in one group", marks=pytest.mark.long),
]


@pytest.fixture(scope="module")
def one_card():
    """What one card answers, [ids, codes] a question."""
    from ms_omni import OmniEngine, SamplingParams

    engine, answers = OmniEngine.from_pretrained(MODEL, device="Ascend", dtype="float16"), []
    for question in QUESTIONS:
        options = {**question, "sampling": SamplingParams(**question["sampling"])}
        output = engine.generate(options.pop("conversation"), **options)
        answers.append([list(output.token_ids), output.audio and output.audio.codes.tolist()])
    return answers


@pytest.mark.parametrize(("cards", "ways"), JOBS)
def test_answers(cards, ways, one_card, tmp_path):
    (tmp_path / "questions.json").write_text(json.dumps(QUESTIONS))
    (tmp_path / "ways.json").write_text(json.dumps(ways))
    arguments = MODEL, tmp_path / "questions.json", tmp_path / "ways.json"
    reports = run_card_ranks("rank_answers_on_cards.py", tmp_path, *arguments, cards=cards)
    for mode, size in ways:
        for rank, report in enumerate(reports):
            assert report[f"{mode} {size}"] == one_card, f"{mode}, rank {rank} of {cards}"
