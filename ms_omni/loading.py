"""Loads a checkpoint onto its device."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms_omni.checkpoint.compressed import resolve_quantize
from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.distributed import join_job
from ms_omni.errors import OmniError, UnknownDecoderError
from ms_omni.planning.precision import Precision, check_precision
from ms_omni.scheduling.request import Progress

if TYPE_CHECKING:
    from ms_omni.inputs.processor import InputProcessor
    from ms_omni.parallel.world import World

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """The executor, and what each `auto` of the settings was resolved to.

    device: CPU or Ascend. dtype: float32, float16 or bfloat16. attn_implementation: eager or flash_attention_2.
    parallel: none, zero3, ep or tp. quantize: none, int8 or int8-dynamic."""

    device: str
    dtype: str
    quantize: str
    attn_implementation: str
    parallel: str
    world: World
    processor: InputProcessor
    executor: Any


def load(
    settings: EngineConfig,
    directory: Path,
    config: Any,
    generation_config: dict[str, Any],
    progress: Progress | None,
) -> Loaded:
    """directory: of the checkpoint. config: its Qwen3OmniMoeConfig. generation_config: its generation_config.json.
    Raises OmniError for settings that cannot be used here, and for weights that do not fit."""
    from ms_omni.kernels import setup_device
    from ms_omni.memory_check import check_weights
    from ms_omni.runtime.card import limit_pool, start_card
    from ms_omni.runtime.device_memory import free_device_bytes

    device = setup_device(settings.device)
    if device == "Ascend":
        limit_pool()  # before anything is allocated
    dtype = _choose_dtype(settings.dtype, device)
    quantize = resolve_quantize(settings.quantize, settings.engine, directory)
    precision = Precision(dtype, quantize, device)
    check_precision(precision)
    world, parallel = join_job(settings, precision, config)
    if device == "Ascend":
        start_card()
    check_weights(settings, config, parallel, world.group_size, precision, free_device_bytes(device))
    attention = _choose_attention(settings.attn_implementation, device)
    import mindspore as ms

    from ms_omni.inputs.processor import InputProcessor

    processor = InputProcessor.from_pretrained(
        directory, min_pixels=settings.min_pixels, max_pixels=settings.max_pixels
    )
    options: dict[str, Any] = {
        "dtype": getattr(ms, dtype),
        "attn_implementation": attention,
        "with_talker": settings.with_talker,
        "parallel": parallel,
        "world": world,
        "progress": progress,
    }
    sampling = SamplingParams().resolved(generation_config)
    executor = _make_executor(settings, directory, device, quantize, sampling, options)
    return Loaded(device, dtype, quantize, attention, parallel, world, processor, executor)


def _make_executor(
    settings: EngineConfig,
    directory: Path,
    device: str,
    quantize: str,
    sampling: SamplingParams,
    options: dict[str, Any],
) -> Any:
    """The compiled executor, or mindone's where it is asked for or the compiled one does not know the decoder.
    sampling: what a warm-up compiles graphs for. options: keyword arguments of both executors."""
    if settings.engine != "mindone":
        from ms_omni.runtime.fused_executor import FusedExecutor

        try:
            executor = FusedExecutor(
                directory,
                device,
                compile_cache=settings.compile_cache,
                max_num_seqs=settings.max_num_seqs,
                launch_capture=settings.launch_capture,
                quantize=quantize,
                **options,
            )
            if settings.warm_up:
                executor.warm_up(sampling, options["progress"])
            return executor
        except UnknownDecoderError as error:
            if settings.engine == "fused" or quantize != "none":
                raise
            logger.warning("%s: using --engine mindone, which is slower", error)
    from ms_omni.runtime.mindone_executor import MindoneExecutor

    return MindoneExecutor(directory, device, **options)


def _choose_dtype(asked: str, device: str) -> str:
    if asked == "auto":
        return "float32" if device == "CPU" else "bfloat16"
    if device == "CPU" and asked != "float32":
        raise OmniError(
            f"--dtype {asked}: MindSpore's CPU backend computes in float32 only; allowed here: float32, auto"
        )
    return asked


def _choose_attention(asked: str, device: str) -> str:
    if asked == "auto":
        return "eager" if device == "CPU" else "flash_attention_2"
    if device == "CPU" and asked == "flash_attention_2":
        raise OmniError(f"--attn-implementation {asked}: needs an Ascend card; allowed here: eager, auto")
    return asked
