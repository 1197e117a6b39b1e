"""A model that four emulated cards share, all of them or two by two, answers as one emulated card does."""

import json
from pathlib import Path

import pytest
from card_ranks import needs_emulator, run_card_ranks

pytestmark = needs_emulator
MODEL = Path(__file__).resolve().parents[2] / "ms_omni" / "assets" / "tiny"
LENGTHS = {"thinker_max_new_tokens": 8, "talker_max_new_tokens": 4}
GREEDY = {**LENGTHS, "thinker_temperature": 0.0, "talker_temperature": 0.0}
QUESTIONS = [
    {"conversation": [{"role": "user", "content": words}], "sampling": GREEDY, "return_audio": speak}
    for words, speak in (("What do you know?", True), ("Hello seven", False))
]
# How the cards share the model: mode, cards of a group, whether these answer questions of their own.
WAYS = [("ep", 4, False), ("tp", 4, False), ("zero3", 4, False), ("tp", 2, False), ("zero3", 2, True)]


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


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("ranks")
    (out_dir / "questions.json").write_text(json.dumps(QUESTIONS))
    (out_dir / "ways.json").write_text(json.dumps(WAYS))
    arguments = MODEL, out_dir / "questions.json", out_dir / "ways.json"
    return run_card_ranks("rank_answers_on_cards.py", out_dir, *arguments, cards=4)


@pytest.mark.parametrize(("mode", "size", "data_parallel"), WAYS)
def test_answers(reports, one_card, mode, size, data_parallel):
    for rank, report in enumerate(reports):
        expected = [one_card[rank % size]] if data_parallel else one_card
        assert report[f"{mode} {size} {data_parallel}"] == expected, f"rank {rank}"
