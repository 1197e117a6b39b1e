"""Run by a Python with torch: answers with transformers, and tells when each stage of an answer began and ended.

    python process.py DIRECTORY

First line out: versions, seconds of loading. Then a JSON line in for each question, {"arrays": FILE.npz, "options":
{...}, "speech": bool}, and one out: wall_s, spans [stage, start_s, end_s, depth], marks, ids, codes, num_samples,
peak_host_bytes. float32, greedy, attention as transformers chooses (sdpa); torch may use all cores. transformers is
patched as torch_patches.py says, where it is wrong or random.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch_patches  # type: ignore[import-not-found]

torch_patches.allow_torchvision_without_its_extension()
import transformers  # noqa: E402
from transformers import Qwen3OmniMoeForConditionalGeneration  # noqa: E402
from transformers.generation import BaseStreamer  # noqa: E402

NO_EOS = 2**31 - 1


class Watch:
    """Spans and marks of one answer, in seconds since this was made."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float, float, int]] = []
        self.marks: dict[str, list[tuple[float, int]]] = {}
        self._depth, self._zero = 0, time.perf_counter()

    def now(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._zero

    def mark(self, name: str, count: int) -> None:
        """`count` more of `name` are made."""
        self.marks.setdefault(name, []).append((self.now(), count))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A span around the block."""
        start, depth = self.now(), self._depth
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self.spans.append((name, start, self.now(), depth))

    @contextmanager
    def two_stages(self, first: str, then: str) -> Iterator[Callable[[], None]]:
        """Two spans: `first` until the given function is first called, and `then`."""
        start, depth = self.now(), self._depth
        turns: list[float] = []
        self._depth += 1
        try:
            yield lambda: turns.append(self.now())
        finally:
            self._depth -= 1
            turn = turns[0] if turns else self.now()
            self.spans += [(first, start, turn, depth), (then, turn, self.now(), depth)]


class TokenStreamer(BaseStreamer):
    """`generate` calls `put` with the prompt, then with every new token."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard, self._is_prompt = heard, True

    def put(self, value: Any) -> None:
        """Calls `heard` for each new token."""
        if not self._is_prompt:
            self._heard()
        self._is_prompt = False

    def end(self) -> None:
        """Nothing is held back."""


class Model:
    """The loaded model, with its parts instrumented."""

    def __init__(self, directory: str) -> None:
        start = time.perf_counter()
        model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(directory, dtype=torch.float32).eval()
        self._model = torch_patches.patch(model)
        self.load_s = time.perf_counter() - start
        self._watch = Watch()
        self._codes: Any = None
        for name in ("get_audio_features", "get_image_features", "get_video_features"):
            self._watched(model.thinker, name, "encoders")
        self._generating(model.thinker, "thinker", lambda: self._watch.mark("thinker_tokens", 1))
        if model.has_talker:
            self._generating(model.talker, "talker", lambda: None)
            self._watched(
                model.talker.code_predictor, "generate", "code_predictor",
                after=lambda: self._watch.mark("talker_frames", 1),
            )  # fmt: skip
            self._keeping_codes(model.code2wav)

    def _watched(self, owner: Any, name: str, stage: str, after: Callable[[], None] = lambda: None) -> None:
        plain = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._watch.stage(stage):
                result = plain(*args, **kwargs)
            after()
            return result

        setattr(owner, name, call)

    def _generating(self, owner: Any, stage: str, heard: Callable[[], None]) -> None:
        """owner.generate: its prefill until the first new token, then decoding."""
        plain = owner.generate

        def generate(*args: Any, **kwargs: Any) -> Any:
            with self._watch.two_stages(f"{stage}_prefill", f"{stage}_decode") as turn:

                def new_token() -> None:
                    heard()
                    turn()

                return plain(*args, streamer=TokenStreamer(new_token), **kwargs)

        owner.generate = generate

    def _keeping_codes(self, code2wav: Any) -> None:
        plain = code2wav.chunked_decode

        def decode(codes: Any, **kwargs: Any) -> Any:
            self._codes = codes[0]
            with self._watch.stage("code2wav"):
                wave = plain(codes, **kwargs)
            self._watch.mark("audio_samples", wave.shape[-1])
            return wave

        code2wav.chunked_decode = decode

    @torch.inference_mode()
    def answer(self, arrays: str, options: dict[str, Any], speech: bool) -> dict[str, Any]:
        """One line of output, see above. arrays: the .npz file with the model's inputs."""
        inputs = {name: torch.from_numpy(value) for name, value in np.load(arrays).items()}
        if speech:
            self._model.config.talker_config.codec_eos_token_id = NO_EOS
            options = {**options, "talker_do_sample": False}
        self._watch, self._codes = Watch(), None
        made, wave = self._model.generate(
            **inputs, return_audio=speech, thinker_eos_token_id=NO_EOS, thinker_do_sample=False, **options
        )
        wall_s = self._watch.now()
        ids = getattr(made, "sequences", made)
        return {
            "wall_s": wall_s,
            "spans": self._watch.spans,
            "marks": self._watch.marks,
            "ids": ids[0, inputs["input_ids"].shape[1] :].tolist(),
            "codes": None if self._codes is None else self._codes.tolist(),
            "num_samples": 0 if wave is None else int(wave.shape[-1]),
            "peak_host_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }


def _main(directory: str) -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    model = Model(directory)
    about = {"versions": {"torch": torch.__version__, "transformers (torch)": transformers.__version__}}
    print(json.dumps({**about, "load_s": model.load_s}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(model.answer(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
