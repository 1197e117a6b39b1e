"""Conversations that are answered together on an emulated card get the answers that they get alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np

MODEL = Path(__file__).resolve().parents[2] / "ms_omni" / "assets" / "tiny"


def test_two_rows_and_one(ascend):
    """One greedy, one sampled, so that both are rows of graphs for sampling; the longer one ends alone."""
    from ms_omni import OmniEngine, SamplingParams

    greedy = SamplingParams(
        thinker_max_new_tokens=6, talker_max_new_tokens=5, thinker_temperature=0.0, talker_temperature=0.0
    )
    hot = replace(greedy, thinker_temperature=0.9, talker_temperature=0.8, talker_max_new_tokens=7, seed=5)
    asked = [("Hello, who are you?", greedy), ("Tell me about the river.", hot)]
    with OmniEngine.from_pretrained(MODEL, device="Ascend", dtype="float16", max_num_seqs=2) as engine:
        rows, decode = [], engine.executor.talker.decode
        engine.executor.talker.decode = lambda states: rows.append(len(states)) or decode(states)
        pieces = {"first_chunk_frames": 2, "chunk_frames": 3}  # others would be rounded otherwise
        alone = [engine.generate(question, sampling=sampling, **pieces) for question, sampling in asked]
        assert set(rows) == {1}
        handles = [engine.submit(question, sampling=sampling, **pieces) for question, sampling in asked]
        together = [handle.result() for handle in handles]
        assert set(rows) == {1, 2}
    for made, expected in zip(together, alone, strict=True):
        assert made.token_ids == expected.token_ids
        np.testing.assert_array_equal(made.audio.codes, expected.audio.codes)
        np.testing.assert_allclose(made.audio.samples, expected.audio.samples, atol=1e-4)
    assert alone[0].token_ids != alone[1].token_ids
