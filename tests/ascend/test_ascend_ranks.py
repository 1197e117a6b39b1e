"""A model that emulated cards share, all of them or two by two, answers as one emulated card does."""

import json
from functools import cache
from pathlib import Path

import pytest
from card_ranks import run_card_ranks

MODEL = Path(__file__).resolve().parents[2] / "ms_omni" / "assets" / "tiny"
LENGTHS = {"thinker_max_new_tokens": 8, "talker_max_new_tokens": 4}
GREEDY = {**LENGTHS, "thinker_temperature": 0.0, "talker_temperature": 0.0}
QUESTIONS = [
    {"conversation": [{"role": "user", "content": words}], "sampling": GREEDY, "return_audio": speak}
    for words, speak in (("What do you know?", True), ("Hello seven", False))
]
# Cards, and how they share the model: mode, cards of a group, and --quantize. Each way compiles a minute or more on two
# cores.
JOBS = [
    pytest.param(2, [("ep", 2, "none")], id="2", marks=pytest.mark.slow),
    pytest.param(2, [("ep", 2, "int8")], id="2 int8", marks=pytest.mark.slow),
    pytest.param(2, [("zero3", 2, "none")], id="2 zero3", marks=pytest.mark.long),
    pytest.param(2, [("tp", 2, "int8"), ("zero3", 2, "int8")], id="2 int8 tp, zero3", marks=pytest.mark.long),
    pytest.param(
        2,
        [(mode, 2, "int8-dynamic") for mode in ("ep", "tp", "zero3")],
        id="2 int8-dynamic",
        marks=pytest.mark.long,
    ),
    pytest.param(4, [("ep", 4, "none"), ("tp", 2, "none"), ("zero3", 2, "none")], id="4", marks=pytest.mark.long),
    pytest.param(4, [("tp", 4, "none"), ("zero3", 4, "none")], id="4 in one group", marks=pytest.mark.long),
]


@cache
def of_one_card(quantize):
    """What one card answers, [ids, codes] a question."""
    from ms_omni import OmniEngine, SamplingParams

    answers = []
    with OmniEngine.from_pretrained(MODEL, device="Ascend", dtype="float16", quantize=quantize) as engine:
        for question in QUESTIONS:
            options = {**question, "sampling": SamplingParams(**question["sampling"])}
            output = engine.generate(options.pop("conversation"), **options)
            answers.append([list(output.token_ids), output.audio and output.audio.codes.tolist()])
    return answers


@pytest.mark.parametrize(("cards", "ways"), JOBS)
def test_answers(cards, ways, ascend, tmp_path):
    (tmp_path / "questions.json").write_text(json.dumps(QUESTIONS))
    (tmp_path / "ways.json").write_text(json.dumps(ways))
    arguments = MODEL, tmp_path / "questions.json", tmp_path / "ways.json"
    reports = run_card_ranks("rank_answers_on_cards.py", tmp_path, *arguments, cards=cards)
    for mode, size, quantize in ways:
        for rank, report in enumerate(reports):
            answer = report[f"{mode} {size} {quantize}"]
            assert answer == of_one_card(quantize), f"{mode}, {quantize}, rank {rank} of {cards}"
