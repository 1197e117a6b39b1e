"""Figures equal those that jiwer's and sacrebleu's own commands print for the same texts."""

import json
import subprocess
import sys

import pytest
from lines import rows, sentences, spoiled, write

from ms_omni.evaluation import evaluate


def command(module, *words):
    done = subprocess.run([sys.executable, "-m", module, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def texts():
    """References, second references, answers."""
    references = [text.capitalize() + "." for text in sentences(1, 60)]
    return references, spoiled(2, references, 0.1), spoiled(3, references, 0.3)


def as_files(directory, **texts):
    for name, lines in texts.items():
        (directory / f"{name}.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("metric", ["wer", "cer"])
def test_error_rates_are_those_of_jiwers_command(texts, metric, tmp_path):
    references, _, answers = texts
    as_files(tmp_path, ref=references, hyp=answers)
    printed = command("jiwer.cli", "-r", tmp_path / "ref.txt", "-h", tmp_path / "hyp.txt",
                      *(["-c"] if metric == "cer" else []))  # fmt: skip
    paths = write(tmp_path / "h.jsonl", *rows(answers)), write(tmp_path / "r.jsonl", *rows(references))
    found = evaluate(*paths, metric, normalize="none")
    assert found.value == pytest.approx(100 * float(printed), abs=1e-10) and 5 < found.value < 60


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
@pytest.mark.parametrize("num_references", [1, 2])
def test_bleu_and_chrf_are_those_of_sacrebleus_command(texts, metric, num_references, tmp_path):
    references, others, answers = texts
    as_files(tmp_path, ref=references, other=others, hyp=answers)
    files = [tmp_path / "ref.txt", tmp_path / "other.txt"][:num_references]
    printed = json.loads(command("sacrebleu", *files, "-i", tmp_path / "hyp.txt", "-m", metric, "-w", 10))
    right = [[one, other][:num_references] for one, other in zip(references, others, strict=True)]
    found = evaluate(rows(answers), rows(right, language="en"), metric)
    assert found.value == pytest.approx(printed["score"], abs=1e-9) and 10 < found.value < 90
    assert found.methods == {"en": printed["signature"]}


def test_bleu_of_chinese_is_that_of_sacrebleus_tokenizer(tmp_path):
    references, answers = ["今天天气很好。", "我们明天去北京看朋友"], ["今天天气非常好。", "我们明天去上海看朋友"]
    as_files(tmp_path, ref=references, hyp=answers)
    printed = json.loads(
        command("sacrebleu", tmp_path / "ref.txt", "-i", tmp_path / "hyp.txt", "-w", 10, "--tokenize", "zh")
    )
    found = evaluate(rows(answers), rows(references, language="Chinese"), "bleu")
    assert found.value == pytest.approx(printed["score"], abs=1e-9) and found.value > 10
    assert found.methods == {"Chinese": printed["signature"]}


def test_some_rows_may_have_more_references_than_others(tmp_path):
    found = evaluate(rows(["a b c d", "e f g h"]), rows([["x b c d", "a b c d"], "e f g h"]), "bleu", tokenize="none")
    assert found.value == pytest.approx(100.0) and "nrefs:var" in found.methods["no language"]
    without = evaluate(rows(["a b c d", "e f g h"]), rows([["x b c d"], "e f g h"]), "bleu", tokenize="none")
    assert without.value < 95


def test_normalised_as_whisper_does():
    from whisper_normalizer.english import EnglishTextNormalizer

    said, heard = "Mr. Brown's colour isn't grey, it cost $20 million!", "mister Brown is color is not gray it cost"
    found = evaluate(rows([heard]), rows([said], language="en-US"), "wer")
    normalize = EnglishTextNormalizer()
    assert found.rows[0].reference == normalize(said).strip() and found.rows[0].answer == normalize(heard).strip()
    assert "$20000000" in found.rows[0].reference
