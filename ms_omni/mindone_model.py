"""For scripts written for mindone: a model with mindone's `generate`, and its processor.

Names and results follow mindone 0.5.0: Qwen3OmniMoeForConditionalGeneration and Qwen3OmniMoeProcessor.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ms_omni.checkpoint import built_in
from ms_omni.config import SamplingParams
from ms_omni.engine import OmniEngine
from ms_omni.errors import OmniError, did_you_mean
from ms_omni.parallel.world import World

# Arguments of `generate` that are not sampling settings. The result is always an object with `sequences`.
_OWN_OPTIONS = ("speaker", "return_audio", "use_audio_in_video", "thinker_return_dict_in_generate", "progress")
# transformers' default temperatures
_SAMPLES = {"thinker_do_sample": 1.0, "talker_do_sample": 0.9}
_INPUTS = (
    "attention_mask", "pixel_values", "image_grid_thw", "pixel_values_videos", "video_grid_thw",
    "video_second_per_grid", "input_features", "feature_attention_mask",
)  # fmt: skip


def load_model(
    path: str | Path = built_in.NAME,
    *,
    engine: str = "mindone",
    parallel: str = "none",
    device: str = "auto",
    dtype: Any = None,
    attn_implementation: str = "auto",
    with_talker: bool = True,
    quantize: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> Any:
    """mindone's Qwen3OmniMoeForConditionalGeneration with this package's corrections and the weights of `path`: a
    checkpoint directory, a hub name in the local cache, or the built-in tiny model. Sets the device up.

    engine: "mindone" for mindone's decoder layers and its own `generate`, which takes all of its options; "fused" for
    the compiled runtime, many times as fast, whose model has no decoder layers and whose `generate` takes the options
    of `FusedGenerate`. Both know the checkpoint's ends of text and sampling settings.
    parallel: how the processes of an msrun job share the model: none, auto, zero3; with "fused" also ep and tp.
    device: auto, CPU, Ascend. dtype: a MindSpore float type or its name; by default float32 on a CPU, bfloat16 on a
    card. with_talker False: no speech. quantize: 8-bit weights, of "fused" alone: auto (as the checkpoint has them),
    none, int8, int8-dynamic. progress: called with ("load", weights done, weights in all).
    Raises OmniError for what cannot be used."""
    omni = OmniEngine.from_pretrained(
        path,
        engine=engine,
        parallel=parallel,
        device=device,
        dtype="auto" if dtype is None else str(dtype).lower(),
        attn_implementation=attn_implementation,
        with_talker=with_talker,
        quantize=quantize,
        progress=progress,
    )
    if engine == "mindone":
        omni.close()  # `generate` runs on the caller's thread, not on one of the engine
        model = omni.model
        model.generate = MindoneGenerate(omni)
    else:
        model = _twin(omni.model)  # refers to the engine, whose threads refer to the original
        model.generate = FusedGenerate(omni)
    model.is_writer = omni.is_writer
    return model


def _twin(cell: Any) -> Any:
    """A copy of a cell with the same parts and weights but its own attributes, which copy.copy would share."""
    base, attributes = cell.__getstate__()
    kind: Any = type(cell)
    twin = kind.__new__(kind)
    twin.__setstate__((base, dict(attributes)))
    return twin


def load_processor(
    path: str | Path = built_in.NAME, *, min_pixels: int | None = None, max_pixels: int | None = None
) -> Any:
    """mindone's Qwen3OmniMoeProcessor of a checkpoint (as for `load_model`), with transformers' results, and with sound
    of any length. min_pixels, max_pixels: bounds for the area of images. Raises OmniError."""
    from ms_omni.checkpoint.resolve import resolve_checkpoint
    from ms_omni.inputs.processor import InputProcessor
    from ms_omni.kernels import setup_device

    setup_device()
    return InputProcessor.from_pretrained(resolve_checkpoint(path), min_pixels, max_pixels).processor


@dataclass(frozen=True)
class Generated:
    """sequences: int32 (1, prompt + new tokens), a MindSpore tensor."""

    sequences: Any


class FusedGenerate:
    """`model.generate(**inputs, ...)` by the compiled runtime."""

    def __init__(self, omni: OmniEngine):
        self._omni = omni

    def __call__(self, input_ids: Any = None, **options: Any) -> tuple[Generated, Any]:
        """input_ids and the processor's other results: of one prompt, as arrays or tensors.

        speaker ("Ethan"), return_audio (default: if there is a Talker), use_audio_in_video; the fields of
        SamplingParams (thinker_max_new_tokens, thinker_temperature, talker_top_k, seed, ...); thinker_do_sample and
        talker_do_sample, where False means temperature 0, for the Talker's code predictor too.
        Returns (Generated, wave): the wave is float32 (1, 1, samples), 24 000 Hz, None without speech.
        Raises OmniError for what cannot be used, and for options of mindone's `generate` that are not named here."""
        from mindspore import Tensor, mint

        from ms_omni.inputs.cast import cast_inputs

        if input_ids is None:
            raise OmniError("generate: input_ids is missing: give what the processor makes, generate(**inputs)")
        inputs = {"input_ids": input_ids, **{name: options.pop(name) for name in _INPUTS if name in options}}
        settings = _sampling(options, self._omni.generation_config)
        omni_options = {name: options.pop(name) for name in _OWN_OPTIONS if name in options}
        if omni_options.pop("thinker_return_dict_in_generate", True) is False:
            raise OmniError("thinker_return_dict_in_generate False: expected True, the result has its `sequences`")
        if options:
            raise _unknown(next(iter(options)))
        output = self._omni.generate(inputs, sampling=settings, **omni_options)
        prompt = cast_inputs({"input_ids": input_ids}, self._omni.dtype)["input_ids"]
        sequences = mint.cat([prompt, Tensor([output.token_ids], dtype=prompt.dtype)], dim=1)
        wave = None if output.audio is None else Tensor(output.audio.samples).reshape(1, 1, -1)
        return Generated(sequences), wave


class MindoneGenerate:
    """mindone's own `generate`, with the checkpoint's settings as defaults; prints nothing."""

    def __init__(self, omni: OmniEngine):
        self._omni = omni
        self._defaults = _mindone_defaults(omni)

    def __call__(self, input_ids: Any = None, **options: Any) -> Any:
        """As mindone's `generate`, and with `seed`: None draws one, the same on all ranks of a group."""
        import mindspore as ms

        model, options = self._omni.model, {**self._defaults, **options}
        # shard_model may have spread the model after it was loaded
        seed = _seed_of_group(options.pop("seed", None), getattr(model, "world", self._omni.world))
        if seed is not None:
            ms.manual_seed(seed)
        if model.has_talker:
            model.talker.code_predictor.greedy = not options["talker_do_sample"]
        return type(model).generate(model, input_ids, **options)


def _seed_of_group(seed: int | None, world: World) -> int | None:
    """`seed`, or one that the group's leader draws: all ranks of a group must sample the same tokens."""
    if seed is not None or world.group_size == 1:
        return seed
    from mindspore import Tensor, int32

    from ms_omni.parallel.collectives import broadcast

    return int(broadcast(Tensor([secrets.randbits(31)], dtype=int32), world).asnumpy()[0])


def _mindone_defaults(omni: OmniEngine) -> dict[str, Any]:
    sampling = SamplingParams().resolved(omni.generation_config)
    defaults: dict[str, Any] = {
        "thinker_eos_token_id": omni.eos_token_ids,
        "thinker_pad_token_id": omni.eos_token_ids[0],
        "thinker_max_new_tokens": sampling.thinker_max_new_tokens,
        "thinker_do_sample": bool(sampling.thinker_temperature),
    }
    if sampling.thinker_temperature:
        for name in ("thinker_temperature", "thinker_top_k", "thinker_top_p"):
            defaults[name] = getattr(sampling, name)
    for name in ("talker_max_new_tokens", "talker_top_k", "talker_top_p", "talker_repetition_penalty"):
        defaults[name] = getattr(sampling, name)
    defaults["talker_do_sample"] = bool(sampling.talker_temperature)
    defaults["talker_temperature"] = sampling.talker_temperature or 1.0
    return defaults


def _sampling(options: dict[str, Any], generation_config: Mapping[str, Any]) -> SamplingParams:
    """Removes the sampling settings from `options`. With do_sample True and no temperature, a checkpoint that decodes
    greedily gets transformers' default temperature."""
    names = [field.name for field in fields(SamplingParams)]
    values = {name: options.pop(name) for name in names if name in options}
    defaults = SamplingParams().resolved(generation_config)
    for name, temperature in _SAMPLES.items():
        samples, setting = options.pop(name, None), name.replace("do_sample", "temperature")
        if samples is False:
            values[setting] = 0.0
        elif samples and not values.get(setting, getattr(defaults, setting)):
            values[setting] = temperature
    return SamplingParams(**values)


def _unknown(name: str) -> OmniError:
    known = [*_INPUTS, *_OWN_OPTIONS, *_SAMPLES, *(field.name for field in fields(SamplingParams))]
    return OmniError(
        f"generate: {name} is unknown{did_you_mean(name, known)}; known here: {', '.join(known)}; "
        'load_model(engine="mindone") takes all of mindone\'s'
    )
