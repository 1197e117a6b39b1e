"""How often the host waits for the device while decoding."""

import pytest

from ms_omni import OmniEngine, SamplingParams

CONVERSATION = [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]


@pytest.fixture
def reads(monkeypatch):
    """Every reading of a tensor's values, one entry each."""
    import mindspore as ms

    made = []
    for name in ("asnumpy", "item", "tolist"):
        plain = getattr(ms.Tensor, name)

        def counted(self, *args, plain=plain, **kwargs):
            made.append(plain.__name__)
            return plain(self, *args, **kwargs)

        monkeypatch.setattr(ms.Tensor, name, counted)
    return made


@pytest.mark.parametrize(("stage", "least"), [("thinker", 8), ("talker", 4)])
def test_at_most_one_a_token_and_one_a_frame(tiny_dir, cpu, reads, stage, least):
    engine = OmniEngine.from_pretrained(tiny_dir, engine="fused", device="CPU")
    events = []
    sampling = SamplingParams(
        thinker_max_new_tokens=13, talker_max_new_tokens=8, thinker_temperature=0.0, seed=1, ignore_eos=True
    )
    for _ in range(2):  # compiling reads the graphs' constants: the second answer counts
        events.clear()
        engine.generate(
            CONVERSATION,
            return_audio=stage == "talker",
            sampling=sampling,
            progress=lambda name, done, _: events.append((name, done, len(reads))),
        )
    pairs = [(a, b) for a, b in zip(events, events[1:], strict=False) if a[0] == b[0] == stage]
    made, waits = sum(b[1] - a[1] for a, b in pairs), sum(b[2] - a[2] for a, b in pairs)
    assert made >= least
    assert 0 < waits <= made
