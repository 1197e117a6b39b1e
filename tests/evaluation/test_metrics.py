"""Each metric by hand, and what languages change."""

import pytest
from lines import in_openai_form, rows

from ms_omni.errors import OmniError
from ms_omni.evaluation import evaluate
from ms_omni.evaluation.choices import named_choice
from ms_omni.evaluation.grounding import matched_overlaps
from ms_omni.evaluation.reference import Box
from ms_omni.evaluation.views import aligned
from ms_omni.tasks.boxes import read_boxes


def main_figure(answers, references, metric, **options):
    return evaluate(rows(answers), rows(references), metric, **options)


def test_wer_by_hand():
    # substitution, deletion; insertion: 3 errors in 8 words
    answers = ["one for three", "five six seven seven eight"]
    found = main_figure(answers, ["one two three four", "five six seven eight"], "wer", normalize="none")
    assert found.value == 37.5
    assert found.scores[0].counts == {"substitutions": 1, "deletions": 1, "insertions": 1, "hits": 6}
    assert [row.value for row in found.rows] == [50.0, 25.0], "the worst first"
    kinds = [(piece.kind, piece.reference, piece.answer) for piece in found.rows[1].pieces]
    assert sorted(kind for kind, *_ in kinds) == ["equal", "equal", "insert"] and ("insert", "", "seven") in kinds


def test_cer_by_hand():
    found = main_figure(["a bd"], ["a bc"], "cer", normalize="none")
    assert found.value == 25.0, "the space counts"


def test_bleu_by_hand():
    # 4/5 words, 3/4 pairs, 2/3 triples, 1/2 quadruples: (1/5)^(1/4)
    found = main_figure(["a b c d f"], ["a b c d e"], "bleu")
    assert found.value == pytest.approx(100 * 0.2**0.25)


def test_chrf_by_hand():
    # half of the letters, none of the pairs: precision and recall 1/4 each
    assert main_figure(["ab"], ["ac"], "chrf").value == pytest.approx(25.0)


def test_accuracy_by_hand():
    references = [
        {"id": "r0", "label": "B", "choices": ["a dog", "a cat"]},
        {"id": "r1", "label": "a dog", "choices": ["a dog", "a cat"]},
        {"id": "r2", "label": "A", "choices": {"A": "A. Apples.", "B": "B. Candles."}},
        {"id": "r3", "label": ["two", "a pair"]},
    ]
    found = evaluate(rows(["The answer is (B).", "cat? no idea", "A", "Two!"]), references, "accuracy")
    assert found.value == 75.0 and found.rows[0].id == "r1" and found.rows[0].reference == "A (a dog)"
    assert [row.answer for row in found.rows if row.id in ("r0", "r2")] == ["B (a cat), from: The answer is (B).", "A"]
    assert any("names no choice" in note for note in evaluate(rows(["who knows"]), references[:1], "accuracy").notes)


def test_boxes_of_the_grounding_task_are_measured_in_pixels():
    """As `batch --task object-grounding` writes an answer's thousandths of a picture of 200 x 100."""
    text = '[{"bbox_2d": [100, 100, 500, 500], "label": "dog"}, {"bbox_2d": [0, 0, 50], "label": "cat"}]'
    places, fault = read_boxes(text, (200, 100))
    result = {"id": "a", "text": text, "boxes": places, "boxes_error": fault}
    half = {"id": "a", "boxes": [{"label": "dog", "box": [20, 10, 100, 90]}]}
    whole = {"id": "a", "boxes": [{"label": "dog", "box": [20, 10, 100, 50]}]}
    assert [evaluate([result], [each], "iou").value for each in (half, whole)] == [50.0, 100.0]


def test_iou_by_hand():
    def boxes(*corners):
        return [{"label": "dog", "box": list(four)} for four in corners]

    references = [
        {"id": "r0", "boxes": boxes((0, 0, 10, 10))},
        {"id": "r1", "boxes": boxes((0, 0, 4, 4), (10, 0, 14, 4))},
    ]
    results = [
        {"id": "r0", "text": "[]", "boxes": boxes((5, 0, 15, 10))},  # 50 of 150
        # (1 + 3/4) of 3 boxes
        {"id": "r1", "text": "[]", "boxes": boxes((10, 0, 14, 4), (50, 50, 60, 60), (0, 0, 4, 3))},
    ]
    found = evaluate(results, references, "iou")
    mean, share = found.scores[0].figures
    assert mean.value == pytest.approx(100 * (1 / 3 + 1.75 / 3) / 2)
    assert share.value == pytest.approx(200 / 3), "two of three have an IoU of at least a half"
    other = evaluate([{**results[0], "boxes": [{"label": "cat", "box": [0, 0, 10, 10]}]}], references[:1], "iou")
    assert other.value == 0.0, "another label"
    assert evaluate([{**results[0], "boxes": []}], references[:1], "iou").value == 0.0
    unread = evaluate([{**results[0], "boxes": [], "boxes_error": "no JSON"}], references[:1], "iou")
    assert unread.value == 0.0 and "could not be read" in unread.notes[0]
    pointed = [{"label": "dog", "point": [5, 5]}, *boxes((0, 0, 10, 10))]
    assert evaluate([{**results[0], "boxes": pointed}], references[:1], "iou").value == 100.0, "a point is no box"


def test_boxes_are_matched_for_the_largest_sum_not_one_after_the_other():
    left, both = Box("a", (0, 0, 10, 10)), Box("a", (4, 0, 14, 10))
    found = [Box("a", (3, 0, 13, 10)), Box("a", (6, 0, 16, 10))]
    # the first would take its best, (3..13), and leave 2/3 for the second: alone 7/13 + 8/12; the other way 4/16 + 9/11
    assert matched_overlaps([left, both], found) == pytest.approx([7 / 13, 8 / 12])
    assert matched_overlaps([Box(None, (0, 0, 2, 2))], [Box("x", (0, 0, 2, 2))]) == [1.0], "any label"


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("B", "B"), ("b", "B"), ("B - a man", "B"), ("b as in Berlin", None),
        ("B.", "B"), ("(C)", "C"), ("**B**", "B"), ("C: Woman", "C"), ("B) Man", "B"),
        ("Man", "B"), ("a woman.", "C"), ("B\nbecause he speaks low", "B"),
        ("The answer is B", "B"), ("Answer: (C) a woman", "C"), ("I thought (A), but the correct option is C.", "C"),
        ("答案是B。", "B"), ("正确选项为：C", "C"), ("选 B", "B"),
        ("It must be the second one (B)", "B"), ("A man speaks", "B"), ("The speaker is a woman.", "C"),
        ("A child", "A"), ("An answer a child could give", "A"),
        ("Either (A) or (B)", None), ("", None), ("I do not know", None), ("men", None), ("a woman, not a child", None),
    ],
)  # fmt: skip
def test_the_choice_that_an_answer_names(answer, choice):
    choices = {"A": "child", "B": "man", "C": "a woman"}
    assert named_choice(answer, choices, lambda text: " ".join(text.lower().strip(".!? ").split())) == choice


def test_of_two_choices_one_within_the_other_the_longer_counts():
    choices = {"A": "red", "B": "dark red", "C": "blue"}
    assert named_choice("I see a dark red ball", choices, str.lower) == "B"
    assert named_choice("I see a red ball", choices, str.lower) == "A"


def test_languages_without_spaces_are_counted_in_characters():
    found = evaluate(rows(["今天天汽很好"]), rows(["今天，天气很好。"], language="zh"), "wer")
    assert found.value == pytest.approx(100 / 6) and found.scores[0].unit == "characters"
    assert found.methods == {"zh": "characters without spaces, normaliser basic"}
    assert evaluate(rows(["你好世界"]), rows(["你好， 世界"], language="cmn_hans_cn"), "cer").value == 0.0
    # one letter of Thai with its vowel signs is one character
    assert evaluate(rows(["ที่นา"]), rows(["ที่นี่"], language="th"), "wer").scores[0].counts["hits"] == 1


def test_vowel_signs_do_not_split_words():
    found = evaluate(rows(["यह हिंदी"]), rows(["यह हिन्दी"], language="hi"), "wer")
    assert found.value == 50.0, "two words, one of them wrong"


def test_without_a_language_a_note_asks_for_it():
    (note,) = evaluate(rows(["今天天汽很好"]), rows(["今天天气很好"]), "wer").notes
    assert "--language" in note and "'r0'" in note
    found = evaluate(rows(["今天天汽很好"]), rows(["今天天气很好"]), "wer", language="zh")
    assert found.notes == () and found.value == pytest.approx(100 / 6)


def test_languages_all_and_their_mean():
    references = [
        {"id": "a", "text": "one two", "language": "de"},
        {"id": "b", "text": "one two three four", "language": "fr"},
    ]
    results = [{"id": "a", "text": "one"}, {"id": "b", "text": "one two three four"}]
    scores = {score.name: score for score in evaluate(results, references, "wer").scores}
    assert list(scores) == ["all", "mean of 2 languages", "de", "fr"]
    values = {name: score.figures[0].value for name, score in scores.items()}
    assert values["all"] == pytest.approx(100 / 6) and values["mean of 2 languages"] == 25.0 and values["de"] == 50.0
    assert evaluate(results, references, "wer").scores[1].figures[0].low is None, "of one row each"
    with pytest.raises(OmniError, match="the texts of 'fr' have nothing to count"):
        evaluate(results, [references[0], {**references[1], "text": "..."}], "wer")
    mixed = evaluate(results, [references[0], {**references[1], "language": "ja"}], "wer")
    assert mixed.scores[0].name == "mean of 2 languages" and "different units" in mixed.notes[0]


def test_both_forms_of_results_and_a_mixture():
    answers = [{"id": "r0", "text": "reasons\n</think>\n\none two"}, {"id": "r1", "error": "--audio: too long"}]
    references = rows(["one two", "three four"])
    found = [evaluate(lines, references, "wer") for lines in (
        answers, [in_openai_form(line) for line in answers], [answers[0], in_openai_form(answers[1])])]  # fmt: skip
    for one in found:
        assert one.value == 50.0 and one.failed == ("r1",) and "r1" in one.notes[0]
        assert [row.failure is None for row in one.rows] == [False, True]
    expired = {"custom_id": "r1", "response": None, "error": {"code": "batch_expired", "message": "too\nlate"}}
    assert evaluate([answers[0], expired], references, "wer").rows[0].failure == "too late"
    spoken = in_openai_form(answers[0])
    spoken["response"]["body"]["choices"][0]["message"] |= {"content": None, "audio": {"transcript": "one two"}}
    assert evaluate([spoken], references[:1], "wer").value == 0.0


@pytest.mark.parametrize("metric", ["wer", "cer", "bleu", "chrf", "accuracy", "iou"])
def test_without_any_answer_nothing_is_right(metric):
    boxes = [{"label": "dog", "box": [0, 0, 9, 9]}]
    references = [{"id": f"r{place}", "text": "one two", "label": "!", "boxes": boxes} for place in range(3)]
    found = evaluate([{"id": line["id"], "error": "x"} for line in references], references, metric)
    assert found.value == (100.0 if found.lower_is_better else 0.0) and found.failed == ("r0", "r1", "r2")


def test_words_of_several_lines_are_aligned_one_by_one():
    (row,) = evaluate(rows(["one\ntwo  four"]), rows(["one two three"]), "bleu").rows
    assert [(piece.kind, piece.answer) for piece in row.pieces] == [("equal", "one two"), ("substitute", "four")]


def test_what_is_alike_is_short_beside_differences():
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    (row,) = evaluate(rows([" ".join([*words, "x"])]), rows([" ".join(words)]), "wer", normalize="none").rows
    assert aligned(row.pieces) == "... seven eight nine ten {+x+}"
    assert aligned(row.pieces, is_short=False) == " ".join([*words, "{+x+}"])
    (right,) = evaluate(rows([" ".join(words)]), rows([" ".join(words)]), "wer", normalize="none").rows
    assert aligned(right.pieces) == " ".join(words), "a row without differences whole"


def test_a_document_for_json():
    import json

    document = json.loads(json.dumps(main_figure(["one"], ["one two"], "wer").to_dict(), allow_nan=False))
    assert document["schema_name"] == "ms-omni-evaluation" and document["scores"][0]["figures"][0]["value"] == 50.0
    assert document["scores"][0]["figures"][0]["low"] is None, "of a single row"
    assert document["rows"][0]["pieces"][1] == {"kind": "delete", "reference": "two", "answer": ""}
    assert document["versions"]["jiwer"]
