"""Decoding with mindone's own `generate`: the baseline engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.models.load import load_network
from ms_omni.models.talker import NUM_SPECIALS
from ms_omni.models.talker_prompt import TalkerPrompt, TrailingText, build_talker_prompt
from ms_omni.runtime.cache_sizes import config_row_bytes
from ms_omni.runtime.results import Answer, Listener, Question, Stopwatch
from ms_omni.stages import Turns, stage

# An id that no vocabulary has: generate() never stops at it
NO_EOS = 2**31 - 1


def silence_step_reports() -> None:
    """mindone 0.5.0's generate prints a line a step to stdout, and a rate that leaves the first two steps out. Ours
    come from `progress` and `stats`, so its `print` is shadowed in that one module."""
    from mindone.transformers.generation import utils

    vars(utils)["print"] = lambda *args, **kwargs: None


class TokenStreamer:
    """What mindone's generate hands new ids to. The first call brings the prompt and is passed over. With the first new
    id the prefill has ended: `stages` turns."""

    def __init__(self, on_tokens: Callable[[list[int]], None], stages: Turns):
        self._on_tokens, self._stages = on_tokens, stages
        self._has_prompt = False

    def put(self, ids: Any) -> None:
        """ids: int, any shape, the new ones (or the prompt)."""
        if self._has_prompt:
            self._stages.turn()
            self._on_tokens(np.asarray(ids.asnumpy() if isinstance(ids, Tensor) else ids).reshape(-1).tolist())
        self._has_prompt = True

    def end(self) -> None:
        """Nothing is held back."""


class MindoneRuntime:
    """The corrected model, decoded by mindone's own generate."""

    def __init__(
        self,
        directory: Path,
        dtype: Any,
        attn_implementation: str,
        with_talker: bool,
        progress: Any = None,
        parallel: str = "none",
        world: Any = None,
    ):
        """directory: a checkpoint. dtype: a MindSpore float type. parallel, world: as `load_network` takes them."""
        silence_step_reports()
        self._itemsize = numpy_dtype(dtype).itemsize
        self.model = load_network(
            directory,
            dtype=dtype,
            attn_implementation=attn_implementation,
            with_talker=with_talker,
            parallel=parallel,
            world=world,
            progress=progress,
        )

    def answer(self, question: Question, listener: Listener) -> Answer:
        """The Thinker's whole answer, then the Talker's whole speech, whose frames come all at once."""
        watch = Stopwatch(time.perf_counter)
        result = watch.time("thinker_s", lambda: self._think(question, listener))
        num_prompt, sampling = len(question.prompt_ids), question.sampling
        token_ids = result.sequences.asnumpy()[0, num_prompt:].tolist()
        reason = "stop" if not sampling.ignore_eos and token_ids[-1] in question.stop_ids else "length"
        if question.speaker_id is None:
            return Answer(token_ids, reason, seconds=watch.seconds)
        config = self.model.config.talker_config
        if len(token_ids) == 1:  # the end: not a word was said
            silence = np.zeros((config.num_code_groups, 0), np.int32)
            return Answer(token_ids, reason, silence, "stop", watch.seconds)
        codes, has_ended = watch.time("talker_s", lambda: self._talk(question, result, listener))
        listener.frames(codes)
        return Answer(token_ids, reason, codes, "stop" if has_ended else "length", watch.seconds)

    def take_part(self) -> None:
        """Ranks of one group answer the same conversations here: there is nothing to take part in."""

    def missing_cache_bytes(self, stage: str, num_prompt: int, max_new_tokens: int) -> int:
        """A cache grows with the answer and goes with it. Whole on every rank: zero3 shares out weights alone."""
        text = getattr(self.model.config, f"{stage}_config").text_config
        return (num_prompt + max_new_tokens) * config_row_bytes(text, self._itemsize)

    def _think(self, question: Question, listener: Listener) -> Any:
        sampling = question.sampling
        with Turns("thinker_prefill", "thinker_decode") as stages:
            return self.model.thinker.generate(
                **question.inputs,
                use_audio_in_video=question.use_audio_in_video,
                max_new_tokens=sampling.thinker_max_new_tokens,
                **_sampling_kwargs(sampling.thinker_temperature, sampling.thinker_top_k, sampling.thinker_top_p),
                **_eos_kwargs(question.stop_ids, sampling.ignore_eos),
                output_hidden_states=question.speaker_id is not None,
                return_dict_in_generate=True,
                streamer=TokenStreamer(listener.tokens, stages),
            )

    def _prompt(self, question: Question, result: Any) -> tuple[TalkerPrompt, TrailingText]:
        """The Talker's prompt and text after a Thinker run that kept its hidden states."""
        num_prompt, layer = len(question.prompt_ids), self.model.config.talker_config.accept_hidden_layer
        embeds = mint.cat([step[0][0] for step in result.hidden_states], dim=0)
        hidden = result.hidden_states[0][layer][0]
        prompt = build_talker_prompt(
            self.model,
            question.prompt_ids,
            embeds[:num_prompt],
            hidden,
            embeds[num_prompt : num_prompt + 1],
            question.speaker_id or 0,
        )
        text = TrailingText(prompt)
        if embeds.shape[0] > num_prompt + 1:
            text.add(self.model.talker.text_projection(embeds[num_prompt + 1 :]))
        text.complete()
        return prompt, text

    def _talk(self, question: Question, thinker: Any, listener: Listener) -> tuple[np.ndarray, bool]:
        """The codec frames, int32 (num_code_groups, frames), and whether they end by themselves. N tokens make N - 1
        frames: a frame is complete when the token after it is asked for (transformers 4.57.1)."""
        talker, config, sampling = self.model.talker, self.model.config.talker_config, question.sampling
        with stage("talker_prefill"):
            prompt, text = self._prompt(question, thinker)
        eos, vocab_size = config.codec_eos_token_id, config.text_config.vocab_size
        kept = () if sampling.ignore_eos else (eos,)
        talker.code_predictor.greedy = sampling.talker_temperature == 0
        suppressed = [i for i in range(max(vocab_size - NUM_SPECIALS, 0), vocab_size) if i not in kept]
        with Turns("talker_prefill", "talker_decode") as stages:
            result = talker.generate(
                inputs_embeds=prompt.inputs_embeds,
                attention_mask=mint.ones(prompt.input_ids.shape, dtype=prompt.input_ids.dtype),
                trailing_text_hidden=text.whole(),
                tts_pad_embed=prompt.pad.unsqueeze(0),
                talker_input_ids=prompt.input_ids,
                **_media_of_talker(question.inputs),
                max_new_tokens=sampling.talker_max_new_tokens,
                **_sampling_kwargs(sampling.talker_temperature, sampling.talker_top_k, sampling.talker_top_p),
                repetition_penalty=sampling.talker_repetition_penalty,
                suppress_tokens=suppressed,
                **_eos_kwargs([eos], sampling.ignore_eos),
                output_hidden_states=True,
                return_dict_in_generate=True,
                streamer=TokenStreamer(lambda ids: listener.talker_token(), stages),
            )
            frames = [step[-1] for step in result.hidden_states if step[-1] is not None]
            codes = np.zeros((config.num_code_groups, 0), dtype=np.int32)
            if frames:
                codes = ops.stack(frames, axis=-1).asnumpy()[0].astype(np.int32)
        return codes, not sampling.ignore_eos and int(result.sequences.asnumpy()[0, -1]) == eos


def _media_of_talker(inputs: Mapping[str, Any]) -> dict[str, Any]:
    media = {key: inputs[key] for key in ("image_grid_thw", "video_grid_thw", "video_second_per_grid") if key in inputs}
    if "feature_attention_mask" in inputs:
        media["audio_feature_lengths"] = inputs["feature_attention_mask"].astype("int32").sum(-1)
    return media


def _sampling_kwargs(temperature: float | None, top_k: int | None, top_p: float | None) -> dict[str, Any]:
    if not temperature:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": float(temperature), "top_k": top_k, "top_p": float(top_p or 1.0)}


def _eos_kwargs(eos_token_ids: list[int], ignore_eos: bool) -> dict[str, Any]:
    return {"eos_token_id": [NO_EOS] if ignore_eos else eos_token_ids, "pad_token_id": eos_token_ids[0]}
