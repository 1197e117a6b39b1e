"""Intervals cover what they should, and two runs are told apart when they differ and only then."""

import numpy as np
import pytest
from lines import rows, sentences, spoiled

from ms_omni.evaluation import compare, evaluate
from ms_omni.evaluation.bootstrap import drawn_sums, exchanged_sums, interval, p_value
from ms_omni.evaluation.metric import Settings
from ms_omni.evaluation.recognition import Wer

RATE = 0.12


def made_counts(rng, num_rows, hardness=None):
    """Of rows of 4 to 30 words, some harder than others: (rows, 4) as word error rates count."""
    lengths = rng.integers(4, 31, num_rows)
    hardness = rng.uniform(0, 2 * RATE, num_rows) if hardness is None else hardness
    wrong = rng.binomial(lengths, hardness)
    return np.stack([wrong, 0 * wrong, 0 * wrong, lengths - wrong], axis=1).astype(float)


def test_an_interval_covers_the_true_rate_in_95_of_100_corpora():
    rng, metric = np.random.default_rng(1), Wer(Settings())
    covered = 0
    for _ in range(400):
        low, high = interval(metric.of_sums(drawn_sums(rng, made_counts(rng, 120), 400))[:, 0])
        covered += low <= 100 * RATE <= high
    assert 0.91 <= covered / 400 <= 0.98


def test_chance_alone_is_called_a_difference_in_one_of_twenty():
    rng, metric = np.random.default_rng(2), Wer(Settings())
    called = 0
    for _ in range(400):
        hardness = rng.uniform(0, 2 * RATE, 100)  # of the same recordings
        a, b = made_counts(rng, 100, hardness), made_counts(rng, 100, hardness)
        observed = metric.of_sums(b.sum(axis=0)[None])[0, 0] - metric.of_sums(a.sum(axis=0)[None])[0, 0]
        one, other = exchanged_sums(rng, a, b, 300)
        called += p_value(observed, (metric.of_sums(other) - metric.of_sums(one))[:, 0]) < 0.05
    assert 0.02 <= called / 400 <= 0.085


def test_draws_are_of_whole_rows_whatever_their_number_at_a_time(monkeypatch):
    counts = np.array([[1.0, 10.0], [0.0, 20.0], [5.0, 30.0]])
    sums = drawn_sums(np.random.default_rng(0), counts, 500)
    assert sums.shape == (500, 2) and sums.mean(axis=0) == pytest.approx(counts.sum(axis=0), rel=0.05)
    one, other = exchanged_sums(np.random.default_rng(0), counts, counts[:, ::-1], 500)
    assert (one + other == counts.sum() * np.ones((500, 2))).all() and one[:, 0].std() > 0
    monkeypatch.setattr("ms_omni.evaluation.bootstrap._MOST_AT_ONCE", 7)
    assert drawn_sums(np.random.default_rng(0), counts, 500).shape == (500, 2)


def test_an_interval_is_that_of_a_loop_over_draws():
    references = sentences(5, 40)
    found = evaluate(rows(spoiled(6, references, 0.2)), rows(references), "wer", num_resamples=4000)
    counts, rng = np.array([row.counts for row in found.rows]), np.random.default_rng(9)
    values = []
    for _ in range(4000):
        drawn = counts[rng.integers(len(counts), size=len(counts))].sum(axis=0)
        values.append(100 * drawn[:3].sum() / (drawn[0] + drawn[1] + drawn[3]))
    figure = found.scores[0].figures[0]
    assert (figure.low, figure.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=0.4)
    assert figure.low < figure.value < figure.high


def test_a_seed_gives_the_same_interval():
    references = sentences(5, 20)
    lines = rows(spoiled(6, references, 0.2)), rows(references), "wer"
    first, again, other = (evaluate(*lines, seed=seed).scores for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("metric", ["wer", "cer", "bleu", "chrf"])
def test_a_real_difference_is_found_and_a_chance_one_not(metric):
    references = sentences(7, 150)
    good, equal, bad = (rows(spoiled(seed, references, share)) for seed, share in ((1, 0.1), (2, 0.1), (3, 0.3)))
    found = compare(good, bad, rows(references), metric, num_resamples=500)
    (one,) = found.differences
    assert one.is_beyond_chance and found.verdict.startswith("A is better beyond chance")
    assert one.difference == pytest.approx(found.b.value - found.a.value) and not one.low <= 0 <= one.high
    assert compare(bad, good, rows(references), metric, num_resamples=500).verdict.startswith("B is better")
    alike = compare(good, equal, rows(references), metric, num_resamples=500)
    assert not alike.differences[0].is_beyond_chance and alike.differences[0].low < 0 < alike.differences[0].high
    same = compare(good, good, rows(references), metric, num_resamples=500)
    assert same.differences[0].p_value == 1.0 and same.verdict == "no difference beyond chance (p = 1.0000)"


def test_a_difference_of_one_language_shows_in_its_row():
    references = [{"id": f"{code}{place}", "text": text, "language": code}
                  for code in ("de", "fr") for place, text in enumerate(sentences(8, 80))]  # fmt: skip
    texts = [line["text"] for line in references]
    worse = spoiled(9, texts[:80], 0.3) + texts[80:]
    a, b = (
        [{"id": line["id"], "text": text} for line, text in zip(references, said, strict=True)]
        for said in (texts, worse)
    )
    found = {one.name: one for one in compare(a, b, references, "wer", num_resamples=500).differences}
    assert found["de"].is_beyond_chance and found["fr"].p_value == 1.0 and found["all"].is_beyond_chance
    assert found["mean of 2 languages"].difference == pytest.approx(found["de"].difference / 2)


def test_only_what_both_runs_have_is_compared():
    references = rows(["a b", "c d", "e f"])
    a, b = rows(["a b", "c d"]), [{"id": "r1", "text": "c"}, {"id": "r2", "text": "e"}]
    found = compare(a, b, references, "wer", allow_missing=True)
    assert found.differences[0].num_rows == 1 and found.differences[0].low is None
    assert found.a.value == 0.0 and found.b.value == 50.0
