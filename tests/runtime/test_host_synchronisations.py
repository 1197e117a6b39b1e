"""How often the host waits for the device while decoding, and how `fetch` waits."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ms_omni import OmniEngine, SamplingParams
from ms_omni.kernels import cpu_threads

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


def test_fetch_gives_the_values_and_the_error(cpu, monkeypatch):
    import mindspore as ms

    class Broken:
        def asnumpy(self):
            raise RuntimeError("kernel failed")

    with ThreadPoolExecutor(1) as pool:
        for waiter in (None, pool):
            monkeypatch.setattr(cpu_threads, "_waiter", lambda waiter=waiter: waiter)
            np.testing.assert_array_equal(cpu_threads.fetch(ms.Tensor([[1, 2]])), [[1, 2]])
            with pytest.raises(RuntimeError, match="kernel failed"):
                cpu_threads.fetch(Broken())


def test_many_cores_are_left_alone(cpu, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: pytest.fail("a thread was moved"))
    assert cpu_threads._waiter.__wrapped__() is None


def test_few_cores_put_the_runtime_on_one_and_wait_at_low_priority(cpu, monkeypatch):
    moved = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: moved.append((thread, cores)))
    monkeypatch.setattr(cpu_threads, "_runtime_threads", lambda: [11, 12])
    with cpu_threads._waiter.__wrapped__() as waiter:
        assert waiter.submit(lambda: os.getpriority(os.PRIO_PROCESS, 0)).result() == cpu_threads.LOWEST_PRIORITY
    assert moved == [(11, {5}), (12, {5})]
    assert os.getpriority(os.PRIO_PROCESS, 0) < cpu_threads.LOWEST_PRIORITY
