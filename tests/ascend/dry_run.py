"""MindSpore's dry run of a released model's full sizes: what its allocator is asked for, stage by stage.

    MS_SIMULATION_LEVEL=1 RANK_SIZE=4 RANK_ID=0 python dry_run.py OUT_JSON MODE [--quantize int8] [--layers 1]
        [--tokens 3] [--frames 1]

One process stands for rank 0 of RANK_SIZE (absent: of one). No operator computes and no weight is read
(absent_weights.py). The process ends itself when it holds more than RSS_LIMIT_GB (5) of the host's memory all the same.
Run it on the emulator (launch/emulated.sh): its operators want next to no workspace, so that peaks are lower bounds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from absent_weights import without_values, world_of_rank_0

LIMIT_GB = float(os.environ.get("RSS_LIMIT_GB", "5"))
# Three chunks of a prompt, a picture and a minute of sound, and speech enough for a whole piece of Code2Wav. The caches
# are made for this answer, not for what the card has room for; few of its tokens and frames are decoded.
WORK = {
    "prompt_tokens": 4096,
    "images": ((1024, 1024),),
    "audio_seconds": 60.0,
    "max_new_tokens": 64,
    "talker_max_new_tokens": 300,
}


def guard_memory() -> None:
    """Ends the process, with a line that says so, when it holds more than LIMIT_GB."""

    def watch() -> None:
        while True:
            with open("/proc/self/statm") as file:
                if int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") > LIMIT_GB * 2**30:
                    os.write(1, f"dry run: more than {LIMIT_GB:g} GB of host memory, ended\n".encode())
                    os._exit(3)
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    Path("/proc/self/oom_score_adj").write_text("1000")


class Peaks:
    """The most that MindSpore's allocator had given out in each stage of the engine (ms_omni.stages), bytes."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}
        self._open: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._close_period()
        self._open.append(name)
        try:
            yield
        finally:
            self._close_period()
            self._open.pop()

    def mark(self, name: str, count: int) -> None:
        """Not wanted."""

    def _close_period(self) -> None:
        """The time since the last begin or end of a stage belongs to the innermost one."""
        import mindspore as ms

        ms.runtime.synchronize()
        name = self._open[-1] if self._open else "other"
        self.most[name] = max(self.most.get(name, 0), int(ms.runtime.max_memory_allocated()))
        ms.runtime.reset_max_memory_allocated()


def prompt_ids(config: Any, image_tokens: int, audio_tokens: int, num_tokens: int) -> np.ndarray:
    """A user's turn with a picture and a sound, and the beginning of the answer; as many tokens in all."""
    thinker, newline = config.thinker_config, 198
    media = []
    if image_tokens:
        media += [thinker.vision_start_token_id, *[thinker.image_token_id] * image_tokens, thinker.vision_end_token_id]
    if audio_tokens:
        media += [thinker.audio_start_token_id, *[thinker.audio_token_id] * audio_tokens, thinker.audio_end_token_id]
    start = [config.im_start_token_id, config.user_token_id, newline, *media]
    end = [config.im_end_token_id, newline, config.im_start_token_id, config.assistant_token_id, newline]
    words = [1000] * (num_tokens - len(start) - len(end))
    return np.array([*start, *words, *end], np.int32)


def request_of(config: Any, workload: Any, speak: bool, tokens: int, frames: int) -> Any:
    """The state of a request, prepared as the processor would, of nothing but zeros."""
    import mindspore as ms
    from mindspore import Tensor

    from ms_omni.config import SamplingParams
    from ms_omni.limits import CHUNK_FRAMES
    from ms_omni.models.talker_prompt import talker_prompt_tokens
    from ms_omni.planning.workload import media_sizes
    from ms_omni.scheduling.request import Prepared, Request, RequestHandle, Speech
    from ms_omni.scheduling.state import RequestState

    media, vision = media_sizes(workload, config), config.thinker_config.vision_config
    ids = prompt_ids(config, media.image_tokens, media.audio_tokens, workload.prompt_tokens + media.prompt_tokens)
    arrays: dict[str, Any] = {"input_ids": Tensor(ids[None])}
    if media.image_patches:
        (patches,) = media.image_patches
        side = int(patches**0.5)
        assert side * side == patches, "a square picture"
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        arrays["pixel_values"] = ms.mint.zeros((patches, values), dtype=ms.bfloat16)
        arrays["image_grid_thw"] = np.array([[1, side, side]], np.int64)
    if media.mel_frames:
        (mel_frames,) = media.mel_frames
        bins = config.thinker_config.audio_config.num_mel_bins
        arrays["input_features"] = ms.mint.zeros((1, bins, mel_frames), dtype=ms.bfloat16)
        arrays["feature_attention_mask"] = np.ones((1, mel_frames), np.int32)
    sampling = SamplingParams(
        thinker_max_new_tokens=tokens,
        talker_max_new_tokens=max(2, frames + 1),  # the last one would end the speech
        thinker_temperature=0.0,
        talker_temperature=0.0,
        seed=1,
        ignore_eos=True,
    ).resolved({})
    speech = None
    if speak:
        talker = config.talker_config
        speaker = next(iter(talker.speaker_id.values()))
        speech = Speech(speaker, talker.codec_eos_token_id, talker.num_code_groups, CHUNK_FRAMES, CHUNK_FRAMES)
    prepared = Prepared(arrays, ids, talker_prompt_tokens(config, ids) if speak else 0)
    request = Request(prepare=lambda: prepared, sampling=sampling, stop_ids=(), speech=speech)
    handle = RequestHandle()
    state = RequestState(request, prepared, lambda: handle, lambda ids: "", time.perf_counter)
    state.reader = handle  # a handle that nobody holds would cancel the request
    return state


def answer(executor: Any, state: Any) -> None:
    """All steps of one request, in the order of the engine's loop."""
    from ms_omni.scheduling.scheduler import Scheduler

    scheduler = Scheduler(executor.limits)
    scheduler.add(state)
    while not state.is_finished:
        step = scheduler.next_step()
        assert step is not None, "nothing to do, and no answer"
        step.run(executor)
    scheduler.remove(state)


def host_gb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9


def dry_run(directory: Path, mode: str, quantize: str, workload: Any, tokens: int, frames: int) -> dict[str, Any]:
    """tokens, frames: that are decoded; the first token comes with the prompt, so that 1 compiles no Thinker graph."""
    import mindspore as ms

    from ms_omni import limits
    from ms_omni.checkpoint.config import read_config
    from ms_omni.kernels import device as devices
    from ms_omni.planning.workload import media_sizes
    from ms_omni.runtime.cache_sizes import CacheSizes, num_blocks_of
    from ms_omni.stages import stage, watched_by

    start, cards = time.perf_counter(), int(os.environ.get("RANK_SIZE", "1"))

    def say(what: str) -> int:
        held = int(ms.runtime.memory_allocated())
        seconds = f"{time.perf_counter() - start:.0f} s, {time.process_time():.0f} of CPU"
        print(f"{what}: {held / 1e9:.2f} GB; host {host_gb():.2f} GB; {seconds}", flush=True)
        return held

    limits.TOKENS_PER_CALL = 1  # a fourth of the compilation; a call's tokens follow each other in the same memory
    devices.num_ascend_cards = lambda: 1  # a dry run sees none
    devices.setup_device("Ascend")
    world = world_of_rank_0(cards)
    without_values()
    config = read_config(directory)
    speak = bool(config.enable_audio_output)
    from ms_omni.runtime.fused_executor import FusedExecutor

    loaded = 0

    def cache_sizes(*_: Any) -> CacheSizes:
        """Asked for when the weights are there and the caches are not."""
        nonlocal loaded
        loaded = say("loaded")
        longest = max(workload.max_new_tokens, workload.talker_max_new_tokens)
        blocks = num_blocks_of(workload.prompt_tokens + media_sizes(workload, config).prompt_tokens + longest)
        return CacheSizes(blocks + 1, 1, blocks)

    FusedExecutor._cache_sizes = cache_sizes
    peaks = Peaks()
    with watched_by(peaks):
        with stage("load"):
            executor = FusedExecutor(
                directory, "Ascend", dtype=ms.bfloat16, attn_implementation="flash_attention_2", with_talker=speak,
                parallel=mode, world=world, quantize=quantize,
            )  # fmt: skip
        caches = say("caches made") - loaded
        answer(executor, request_of(config, workload, speak and frames > 0, tokens, frames))
        say("answered")
        if speak:
            with stage("code2wav"):
                codes = np.zeros((config.talker_config.num_code_groups, limits.CHUNK_FRAMES), np.int32)
                code2wav = executor.model.code2wav
                list(code2wav.decode([code2wav.new_stream()], [codes]))
            say("sounded")
    return {
        "mode": mode,
        "cards": cards,
        "quantize": quantize,
        "loaded": loaded,
        "caches": dict.fromkeys(peaks.most, caches),
        "peaks": peaks.most,
        "host_gb": host_gb(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("mode")
    parser.add_argument("--model", default="instruct")
    parser.add_argument("--quantize", default="none")
    parser.add_argument("--layers", type=int, help="of each decoder, instead of the released number")
    parser.add_argument("--tokens", type=int, default=3)
    parser.add_argument("--frames", type=int, default=1)
    arguments = parser.parse_args()
    guard_memory()
    from ms_omni.planning.model import RELEASED_DIR
    from ms_omni.planning.workload import Workload

    with tempfile.TemporaryDirectory() as folder:
        content = json.loads((RELEASED_DIR / f"{arguments.model}.json").read_text(encoding="utf-8"))
        if arguments.layers:
            talker = content["talker_config"]
            for part in (
                content["thinker_config"]["text_config"],
                talker["text_config"],
                talker["code_predictor_config"],
            ):
                part["num_hidden_layers"] = arguments.layers
        (Path(folder) / "config.json").write_text(json.dumps(content), encoding="utf-8")
        lengths = Workload(**WORK), arguments.tokens, arguments.frames
        found = dry_run(Path(folder), arguments.mode, arguments.quantize, *lengths)
    Path(arguments.out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
