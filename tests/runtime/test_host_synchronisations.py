"""How often the host waits for the device while decoding."""

import sys

import pytest

from ms_omni import SamplingParams

QUESTION = "Hello?"


@pytest.fixture
def reads(monkeypatch):
    """Every reading of a tensor's values, one entry each, but for those of operators that MindSpore's CPU lacks."""
    import mindspore as ms

    made = []
    for name in ("asnumpy", "item", "tolist"):
        plain = getattr(ms.Tensor, name)

        def counted(self, *args, plain=plain, **kwargs):
            if not sys._getframe(1).f_globals["__name__"].startswith("ms_omni.kernels"):
                made.append(plain.__name__)
            return plain(self, *args, **kwargs)

        monkeypatch.setattr(ms.Tensor, name, counted)
    return made


def test_one_reading_a_call(fused, monkeypatch, reads):
    """Of several tokens, or of a frame for several conversations."""
    calls = {"decode_thinker": [], "decode_talker": []}
    for name, counts in calls.items():
        decode = getattr(fused.executor, name)

        def counted(*arguments, decode=decode, counts=counts):
            before = len(reads)
            decode(*arguments)
            counts.append(len(reads) - before)

        monkeypatch.setattr(fused.executor, name, counted)
    sampling = SamplingParams(
        thinker_max_new_tokens=13, talker_max_new_tokens=8, thinker_temperature=0.0, seed=1, ignore_eos=True
    )
    # Compiling reads the graphs' constants, and which graphs conversations need depends on when they join
    for _ in range(6):
        for counts in calls.values():
            counts.clear()
        fused.generate(QUESTION, sampling=sampling)
        assert len(calls["decode_thinker"]) == 3
        fused.generate([QUESTION] * 3, sampling=sampling)
        if all(set(counts) == {1} for counts in calls.values()):
            break
    for counts in calls.values():
        assert len(counts) > 6 and set(counts) == {1}
