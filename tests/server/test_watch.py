"""Times of an answer, as somebody has them who hears it as it comes."""

import numpy as np
import pytest
from serving import output

from ms_omni.outputs import AudioChunk, StreamEnd, TextDelta
from ms_omni.server import metrics as module
from ms_omni.server.metrics import Metrics


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def sums(metrics):
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.name: sample.value for sample in samples if sample.name.endswith(("_sum", "_count"))}


@pytest.mark.parametrize("streams", [True, False])
def test_first_pieces_and_gaps(clock, streams):
    metrics = Metrics(lambda: None)
    watch = metrics.watch(streams)
    half = AudioChunk(np.zeros(12_000, np.float32))  # half a second
    for seconds, chunk in [(0.25, TextDelta("a", (1,))), (1, half), (1.25, half), (2.25, half), (2.5, half)]:
        clock[0] = 100 + seconds
        watch.note(chunk)
    watch.note(StreamEnd(output(speaks=True)))
    found = sums(metrics)
    assert found["ms_omni_answer_seconds_sum"] == 2.5
    assert found["ms_omni_first_text_seconds_sum"] == 0.25 * streams
    assert found["ms_omni_first_audio_seconds_sum"] == 1.0 * streams
    assert found["ms_omni_audio_gap_seconds_count"] == streams
    assert found["ms_omni_audio_gap_seconds_sum"] == 0.25 * streams  # silent from 2.0 to 2.25
