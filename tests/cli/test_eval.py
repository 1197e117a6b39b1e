"""`ms-omni eval`: what it prints and writes, that it starts without MindSpore, and every bad input in one line."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ms_omni.cli import eval as command
from ms_omni.evaluation import METRICS
from ms_omni.evaluation.languages import NORMALIZERS
from ms_omni.evaluation.page import FORMATS

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from lines import rows, sentences, spoiled, write

BOX = {"label": "dog", "box": [0, 0, 10, 10]}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """files(results, references) -> the command's words for them, in the current directory."""
    monkeypatch.chdir(tmp_path)

    def make(results, references):
        write(tmp_path / "results.jsonl", *results)
        write(tmp_path / "ref.jsonl", *references)
        return ["eval", "results.jsonl", "--reference", "ref.jsonl"]

    return make


def test_the_commands_words_are_those_of_the_package():
    assert command.METRICS == METRICS and command.NORMALIZERS == NORMALIZERS and set(command.REPORTS) == set(FORMATS)


@pytest.mark.parametrize("is_openai", [False, True])
def test_what_batch_wrote_in_either_form(is_openai, batch, cli, asked, manifest, tmp_path):
    """The engine of the fixture answers `to TEXT`; one line fails."""
    questions = {"a": "red ball", "b": "OmniError", "c": "blue box"}
    lines = [{"id": key, "text": text} for key, text in questions.items()]
    if is_openai:
        parts = [[{"type": "text", "text": line["text"]}] for line in lines]
        bodies = [{"messages": [{"role": "user", "content": content}]} for content in parts]
        lines = [{"custom_id": line["id"], "method": "POST", "url": "/v1/chat/completions", "body": body}
                 for line, body in zip(lines, bodies, strict=True)]  # fmt: skip
    assert batch(manifest(*lines)).code == 1
    reference = write(tmp_path / "ref.jsonl", *({"id": key, "text": f"to {text}"} for key, text in questions.items()))
    done = cli("eval", tmp_path / "out" / "results.jsonl", "--reference", reference, "--metric", "wer", "--json", "-")
    document = json.loads(done.out)
    assert (done.code, document["failed"]) == (0, ["b"])
    assert document["scores"][0]["figures"][0]["value"] == 25.0, "two words of eight"
    assert document["rows"][0]["failure"] == ("400 is too long" if is_openai else "is too long")


def test_the_table_the_document_and_the_page(files, cli, tmp_path):
    words = files(spoiled_rows(), rows(sentences(1, 30), language="de"))
    done = cli(*words, "--metric", "wer", "--worst", "3", "--json", "e.json", "--report", "e.md")
    assert done.code == 0 and done.err == ""
    assert done.out.startswith("WER ") and "Worst rows (3 of 30)" in done.out and "normaliser basic" in done.out
    value = json.loads((tmp_path / "e.json").read_text())["scores"][0]["figures"][0]["value"]
    page = (tmp_path / "e.md").read_text()
    assert page.startswith(f"# WER {value:.2f} (all, 30 rows)") and page.count("[-") >= 3


def spoiled_rows():
    return rows(spoiled(2, sentences(1, 30), 0.3))


def test_an_answer_cannot_move_the_cursor(files, cli):
    done = cli(*files(rows(["a \x1b[2J\rb"]), rows(["a b"])), "--metric", "wer", "--normalize", "none")
    assert "[2J" in done.out and "\x1b" not in done.out and "\r" not in done.out


def test_two_runs(files, cli, tmp_path):
    files(spoiled_rows(), rows(sentences(1, 30)))
    write(tmp_path / "b.jsonl", *rows(sentences(1, 30)))
    words = ["eval", "--compare", "results.jsonl", "b.jsonl", "--reference", "ref.jsonl", "--metric", "cer"]
    done = cli(*words, "--json", "c.json", "--report", "c.html")
    assert done.code == 0 and done.out.startswith("CER: B is better beyond chance (p = 0.0005)")
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["verdict"] in done.out and document["differences"][0]["is_beyond_chance"] is True
    assert "Run A" in (tmp_path / "c.html").read_text() and "Run B" in (tmp_path / "c.html").read_text()


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_the_page_escapes_texts_and_links_media(files, cli, tmp_path):
    evil = '<script>alert(1)</script> & "quoted"'
    (tmp_path / "sound").mkdir()
    for name in ("sound/a b#1.wav", "x:y.wav", "p.png"):
        (tmp_path / name).write_bytes(b"x")
    references = [
        {"id": "<i>a</i>", "text": f"{evil} one", "audio": ["sound/a b#1.wav", "x:y.wav"], "image": "p.png"},
        {"id": "b", "text": "two", "audio": "javascript:alert(1)", "video": "https://example.org/v.mp4"},
        {"id": "c", "text": "three", "language": "<b>"},
    ]
    results = [{"id": "<i>a</i>", "text": f"{evil} other"}, {"id": "b", "error": evil}, {"id": "c", "text": "three"}]
    words = files(results, references)
    (tmp_path / "pages").mkdir()
    assert cli(*words, "--metric", "wer", "--normalize", "none", "--report", "pages/e.html").code == 0
    page = Elements((tmp_path / "pages" / "e.html").read_text())
    tags = [tag for tag, _ in page.found]
    assert "script" not in tags and "i" not in tags and "b" not in tags
    assert evil in page.text and "<i>a</i>" in page.text and f"no answer: {evil}" in page.text
    assert ("ins", {}) in page.found and ("del", {}) in page.found
    sources = [attributes["src"] for tag, attributes in page.found if tag in ("audio", "video", "img")]
    assert sorted(sources) == [
        "./../p.png", "./../sound/a%20b%231.wav", "./../x%3Ay.wav", "https://example.org/v.mp4",
    ]  # fmt: skip
    links = [attributes["href"] for tag, attributes in page.found if tag == "a"]
    assert not any(link.startswith("javascript") for link in links)
    assert "audio javascript:alert(1): not found" in page.text


def test_media_beside_the_reference_are_found_from_elsewhere(files, cli, tmp_path, monkeypatch):
    files(rows(["a"]), rows(["b"], audio="a.wav"))
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    words = ["eval", "../results.jsonl", "--reference", "../ref.jsonl", "--metric", "wer", "--report", "e.md"]
    assert cli(*words).code == 0 and "[audio](./../a.wav)" in (tmp_path / "elsewhere" / "e.md").read_text()


def test_a_subset_is_scored_when_it_is_meant(files, cli):
    words = files([*rows(["a b", "c d"])[1:], {"id": "x", "text": "y"}], rows(["a b", "c d"]))
    done = cli(*words, "--metric", "wer", "--allow-missing")
    assert done.code == 0 and done.out.startswith("WER 0.00 (all, 1 rows)")
    assert "left out: 1 ('r0')" in done.out and "left out: 1 ('x')" in done.out


def test_it_needs_no_mindspore(files):
    """Nor any other large library; in a process of its own, since here they are loaded."""
    files(rows(["a b"]), rows(["a b"]))
    program = (
        "import sys; from ms_omni.cli.main import main; "
        "code = main(['eval', 'results.jsonl', '--reference', 'ref.jsonl', '--metric', sys.argv[1]]); "
        "print(code, [name for name in ('mindspore', 'mindone', 'transformers', 'torch') if name in sys.modules])"
    )
    for metric in ("wer", "bleu"):
        done = subprocess.run([sys.executable, "-c", program, metric], capture_output=True, text=True, env=os.environ)
        assert done.stdout.splitlines()[-1] == "0 []", done


OK = {"id": "r0", "text": "a"}
REF = {"id": "r0", "text": "a"}


@pytest.mark.parametrize(
    ("results", "references", "flags", "message"),
    [
        ([OK], [REF, {"id": "z", "text": "a"}], [], "1 of 2 ids of --reference have no result ('z'); --allow-missing"),
        ([OK, {"id": "q", "text": ""}], [REF], [], "1 of 2 results have no reference ('q'); --allow-missing"),
        ([OK], [{"id": "z", "text": "a"}], ["--allow-missing"], "no id in common with --reference"),
        ([OK], rows(["a"] * 9), [], "8 of 9 ids of --reference have no result "
         "('r1', 'r2', 'r3', 'r4', 'r5' and 3 more)"),
        ([OK], [], [], "--reference ref.jsonl: no line; expected lines such as"),
        ([], [REF], [], "results results.jsonl: no result; expected a line such as"),
        ([OK], [{"id": "r0", "text": " "}], [], "ref.jsonl line 1: 'text' is \" \"; expected a text that is not empty"),
        ([OK], [REF, "", REF], [], "ref.jsonl line 3: the id 'r0' is that of another line"),
        ([OK, OK], [REF], [], "results.jsonl line 2: the id 'r0' is that of another line"),
        ([OK], [{"id": "r0", "label": "a"}], [], "ref.jsonl line 1: no 'text', which --metric wer needs"),
        ([OK], [{"text": "a"}], [], "ref.jsonl line 1: no 'id'"),
        ([OK], [{**REF, "langauge": "en"}], [], "unknown key 'langauge', did you mean language?"),
        ([OK], [{"id": "r0", "text": ["a", "b"]}], [], "2 texts; --metric wer takes one (several: bleu, chrf)"),
        ([OK], [{**REF, "text": 3}], [], "'text' is 3; expected a text"),
        ([OK], [REF, "{"], [], "--reference ref.jsonl line 2: not valid JSON (column 2"),
        ([OK, "[1]"], [REF], [], "results results.jsonl line 2: expected an object"),
        ([{"id": "r0"}], [REF], [], "results.jsonl line 1: no 'text'"),
        ([{"custom_id": "r0", "response": {"status_code": 200, "body": {}}}], [REF], [],
         "line 1: no answer at response.body.choices[0].message (KeyError('choices'))"),
        ([OK], [{"id": "r0", "text": "..."}], [], "the texts of 'no language' have nothing to count after"),
        ([OK], [REF], ["--metric", "wre"], "--metric: 'wre' is not allowed, did you mean wer?"),
        ([OK], [REF], ["--normalize", "englisch"], "--normalize: 'englisch' is not allowed, did you mean english?"),
        ([OK], [REF], ["--metric", "bleu", "--normalize", "basic"], "--normalize basic: means nothing for"),
        ([OK], [REF], ["--tokenize", "zh"], "--tokenize zh: means nothing for --metric wer, only for bleu"),
        ([OK], [REF], ["--metric", "bleu", "--tokenize", "31a"], "--tokenize '31a' is not allowed; expected one"),
        ([OK], [{"id": "r0", "label": "C", "choices": ["x", "y"]}], ["--metric", "accuracy"],
         "'label' is [\"C\"]; expected one of the choices, by letter or text: A (x), B (y)"),
        ([OK], [{"id": "r0", "label": "A", "choices": ["x"]}], ["--metric", "accuracy"], "'choices' is {\"A\": \"x\"}"),
        ([OK], [{"id": "r0", "boxes": [BOX]}], ["--metric", "iou"], "line 1: no 'boxes', which --metric iou"),
        ([OK], [{"id": "r0", "boxes": []}], ["--metric", "iou"], "'boxes' is empty; expected at least one box"),
        ([OK], [{"id": "r0", "boxes": [{"box": [5, 0, 1, 9]}]}], ["--metric", "iou"], "0, 1.0, 9.0] has no area"),
        ([OK], [{"id": "r0", "boxes": [{"box": [0, 1, 2]}]}], ["--metric", "iou"], "holds {\"box\": [0, 1, 2]}"),
        ([{**OK, "boxes": "x"}], [{"id": "r0", "boxes": [BOX]}], ["--metric", "iou"], "line 1: 'boxes' is \"x\"; "),
        ([OK], [REF], ["--report", "e.pdf"], "--report e.pdf: its end names no format; expected one of .html"),
        ([OK], [REF], ["--report", "no/e.html"], "--report no/e.html: the directory no does not exist"),
        ([OK], [REF], ["--json", "no/e.json"], "--json no/e.json: the directory no does not exist"),
        ([OK], [REF], ["--resamples", "0"], "--resamples: 0 is too small"),
        ([OK], [REF], ["--compare", "results.jsonl", "results.jsonl"], "and --compare exclude each other"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(results, references, flags, message, files, user_error, tmp_path):
    words = files(results, references)
    metric = [] if "--metric" in flags else ["--metric", "wer"]
    assert message in user_error(*words, *metric, *flags)
    assert sorted(os.listdir(tmp_path)) == ["ref.jsonl", "results.jsonl"], "nothing is left behind"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ref.jsonl"], "missing: --reference, --metric"),
        (["--reference", "ref.jsonl", "--metric", "wer"], "or --compare with two; got 0"),
        (["a", "b", "--reference", "r", "--metric", "wer"], "or --compare with two; got 2"),
        (["a.jsonl", "--reference", "none.jsonl", "--metric", "wer"], "--reference none.jsonl: cannot be read (No"),
        (["none.jsonl", "--reference", "ref.jsonl", "--metric", "wer"], "results none.jsonl: cannot be read (No such"),
        (["--compare", "results.jsonl", "none.jsonl", "--reference", "ref.jsonl", "--metric", "wer"],
         "results B none.jsonl: cannot be read (No such"),
    ],
)  # fmt: skip
def test_missing_words_and_files_are_one_line(words, message, files, user_error):
    files([OK], [REF])
    assert message in user_error("eval", *words)


@pytest.mark.parametrize(
    ("metric", "missing"), [("wer", "jiwer"), ("accuracy", "whisper_normalizer"), ("bleu", "sacrebleu")]
)
def test_a_missing_extra_is_named(metric, missing, files, user_error, monkeypatch):
    words = files([OK], [{"id": "r0", "text": "a", "label": "a"}])
    for name in [name for name in sys.modules if name.startswith(("ms_omni.evaluation.", missing))]:
        monkeypatch.delitem(sys.modules, name)
    for name in (missing, f"{missing}.basic", f"{missing}.metrics"):
        monkeypatch.setitem(sys.modules, name, None)
    said = user_error(*words, "--metric", metric)
    assert f"--metric {metric} needs more packages" in said and "pip install 'ms-omni[eval]'" in said


def test_japanese_says_what_to_install(files, user_error, monkeypatch):
    monkeypatch.setitem(sys.modules, "MeCab", None)
    sys.modules.pop("sacrebleu.tokenizers.tokenizer_ja_mecab", None)
    words = files([OK], [{**REF, "language": "ja"}])
    said = user_error(*words, "--metric", "bleu")
    assert "the tokenizer ja-mecab of language 'ja' is not installed: pip install 'sacrebleu[ja]'" in said
