"""The programs of docs/evaluation.md: on data as it is distributed, in small, they write what batch and eval take."""

import json
import re
import shlex
import sys
import types
from pathlib import Path

import pytest
from lines import write

from ms_omni.cli.batch.conversations import ConversationLines
from ms_omni.cli.batch.file import read_items
from ms_omni.cli.main import main
from ms_omni.cli.voices import Voices

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
START, *RECIPES = PAGE.split("## Recipes\n")[1].split("\n## ")[0].split("\n### ")


def block(text, language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found


def text_file(name, *lines):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines))


def librispeech(monkeypatch):
    text_file("LibriSpeech/test-clean/61/70968/61-70968.trans.txt", "61-70968-0000 HE BEGAN A CONFUSED COMPLAINT",
              "61-70968-0001 GIVE NOT SO EARNEST A MIND")  # fmt: skip


def common_voice(monkeypatch):
    for code, said in (("en", '"Yes," he said.'), ("zh-CN", "今天天气很好。")):
        text_file(f"cv-corpus-15.0-2023-09-08/{code}/test.tsv", "client_id\tpath\tsentence\tup_votes",
                  f"x\tcommon_voice_{code}_1.mp3\t{said}\t2")  # fmt: skip


def fleurs(monkeypatch):
    for code, said in (("en_us", "The weather is good."), ("cmn_hans_cn", "今天天气很好。")):
        row = ("7", f"{len(code)}.wav", said, said.lower().strip(".。"), "t h e |", "16000", "MALE")
        only_here = ("8" if code == "en_us" else "9", f"{len(code)}9.wav", *row[2:])
        text_file(f"data/{code}/test.tsv", "\t".join(row), "\t".join(only_here))


def mmau(monkeypatch):
    row = {"id": "3f", "audio_id": "./test-mini-audios/3f.wav", "question": "Whose voice is it?", "answer": "Woman",
           "choices": ["Man", "Woman", "Child"], "task": "speech"}  # fmt: skip
    text_file("mmau-test-mini.json", json.dumps([row]))


def video_mme(monkeypatch):
    row = {"videoID": "fFjv93ACGo8", "question_id": "001-1", "question": "What is seen?", "answer": "B",
           "options": ["A. Apples.", "B. Candles."]}  # fmt: skip
    records = types.SimpleNamespace(to_dict=lambda orient: [row] if orient == "records" else None)
    pandas = types.SimpleNamespace(read_parquet=lambda path: records)
    monkeypatch.setitem(sys.modules, "pandas", pandas)


DATA = {
    "LibriSpeech": (librispeech, 2), "Common Voice": (common_voice, 2), "FLEURS": (fleurs, 4),
    "FLEURS, translated": (fleurs, 1), "MMAU": (mmau, 1), "Video-MME": (video_mme, 1),
}  # fmt: skip


def test_every_recipe_is_tried():
    assert [recipe.splitlines()[0] for recipe in RECIPES] == list(DATA)


@pytest.mark.parametrize("recipe", RECIPES, ids=list(DATA))
def test_a_recipe_from_the_data_to_the_figure(recipe, tmp_path, monkeypatch, capsys):
    make, count = DATA[recipe.splitlines()[0]]
    monkeypatch.chdir(tmp_path)
    make(monkeypatch)
    exec(block(START, "python") + block(recipe, "python"), {})
    batch, evaluate = (shlex.split(line)[1:] for line in block(recipe, "bash").splitlines())
    out = batch[batch.index("--out") + 1]
    manifest, reference = (Path(f"{out}{end}.jsonl") for end in ("", "-ref"))
    assert batch[batch.index("--manifest") + 1] == str(manifest) and str(reference) in evaluate
    items = read_items(manifest, ConversationLines({"return_audio": False}, Voices(tmp_path, [])), None)
    kinds = [[part["type"] for part in item.conversation[-1]["content"]] for item in items]
    assert len(items) == count and all(kind in (["audio", "text"], ["video", "text"]) for kind in kinds)
    right = [json.loads(line) for line in reference.read_text().splitlines()]
    assert [line["id"] for line in right] == [item.id for item in items]
    (tmp_path / out).mkdir()
    write(tmp_path / out / "results.jsonl",
          *({"id": line["id"], "text": line.get("text") or line["label"]} for line in right))  # fmt: skip
    assert main([*evaluate, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    perfect = 0.0 if found["lower_is_better"] else 100.0
    values = [score["figures"][0]["value"] for score in found["scores"]]
    assert values == pytest.approx([perfect] * len(values)) and not found["failed"] and len(found["rows"]) == count


def test_choices_are_put_with_their_letters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video_mme(monkeypatch)
    exec(block(START, "python") + block(RECIPES[-1], "python"), {})
    question = json.loads(Path("videomme.jsonl").read_text())
    assert question["text"].startswith("What is seen?\nA. Apples.\nB. Candles.\nAnswer")


def test_the_example_in_python_says_what_its_comments_say(capsys):
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("20.0 Figure(name='WER', value=20.0, ") and "'11'" in first
    assert second.startswith("no difference beyond chance (p = ")
