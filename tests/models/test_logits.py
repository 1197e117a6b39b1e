"""A prompt costs the logits of its last position, not of all."""

from ms_omni import SamplingParams


def test_generate_asks_for_the_last_position_alone(engine, monkeypatch):
    head = engine.model.thinker.lm_head
    rows, original = [], type(head).construct

    def counting(self, hidden):
        if self is head:
            rows.append(hidden.shape[1])
        return original(self, hidden)

    monkeypatch.setattr(type(head), "construct", counting)
    engine.generate(
        [{"role": "user", "content": "Hello there"}],
        return_audio=False,
        sampling=SamplingParams(thinker_max_new_tokens=3),
    )
    assert rows == [1, 1, 1]
