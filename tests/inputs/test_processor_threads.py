"""One processor, many threads: what is not made for that is used by one at a time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from ms_omni.inputs.processor import InputProcessor


class OneAtATime:
    """Notes when two threads are in it."""

    def __init__(self):
        self.inside, self.met = 0, False

    def __enter__(self):
        self.inside += 1
        self.met |= self.inside > 1
        time.sleep(0.002)

    def __exit__(self, *error):
        self.inside -= 1

    def __deepcopy__(self, memo):
        return OneAtATime()


class Tokenizer:
    special_tokens_map: dict[str, str] = {}

    def __init__(self):
        self.turn = OneAtATime()

    def convert_tokens_to_ids(self, token):
        return 99

    def decode(self, ids, **options):
        with self.turn:
            return str(ids)


class Processor:
    """As mindone's, with the tokenizer inside."""

    image_token, audio_token, video_token = "<image>", "<audio>", "<video>"
    feature_extractor = SimpleNamespace(n_fft=400, sampling_rate=16_000)

    chat_template = "{{ messages[0].content }}"

    def __init__(self):
        self.tokenizer = Tokenizer()

    def __call__(self, text, **media):
        with self.tokenizer.turn:
            return {"input_ids": np.array([[len(text)]])}


@pytest.fixture
def processor():
    return InputProcessor(Processor())


def test_prompts_are_made_one_at_a_time_and_answers_beside_them(processor, monkeypatch):
    two = threading.Barrier(2, timeout=60)

    def read(*args, **options):
        two.wait()  # media are read side by side
        return None, None, None

    monkeypatch.setattr("ms_omni.inputs.processor.process_mm_info", read)
    with ThreadPoolExecutor(8) as pool:
        prompts = [pool.submit(processor.prepare, [{"role": "user", "content": "x" * i}]) for i in range(1, 13)]
        texts = [pool.submit(processor.decode, [i]) for i in range(12)]
    assert [prompt.result().arrays["input_ids"].item() for prompt in prompts] == list(range(1, 13))
    assert [text.result() for text in texts] == [f"[{i}]" for i in range(12)]
    assert not processor.tokenizer.turn.met
    assert processor._answer_tokenizer is not processor.tokenizer and not processor._answer_tokenizer.turn.met
