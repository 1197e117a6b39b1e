"""Answers by mindone's own `generate`, one request at a time: the baseline engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.inputs.cast import cast_inputs
from ms_omni.limits import BLOCK_SIZE
from ms_omni.models.load import load_network
from ms_omni.models.talker import NUM_SPECIALS
from ms_omni.models.talker_prompt import TalkerPrompt, ThinkerOutput, build_talker_prompts
from ms_omni.parallel.world import World
from ms_omni.runtime.cache_sizes import config_row_bytes
from ms_omni.runtime.device_memory import free_device_bytes
from ms_omni.runtime.device_state import decode_waves
from ms_omni.scheduling.request import RequestCancelled
from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Limits, Pool, Span
from ms_omni.stages import StageSequence
from ms_omni.stages import stage as timed

OnTokens = Callable[[list[int]], None]

# An id that no vocabulary has: generate() never stops at it
NO_EOS = 2**31 - 1


def silence_step_reports() -> None:
    """mindone 0.5.0's generate prints a line a step to stdout, and a rate that leaves the first two steps out. Ours
    come from `progress` and `stats`, so its `print` is shadowed in that one module."""
    from mindone.transformers.generation import utils

    vars(utils)["print"] = lambda *args, **kwargs: None


class TokenStreamer:
    """Receives the new ids from mindone's generate. The first call brings the prompt, which is ignored; the first new
    id ends the prefill: `stages` turns."""

    def __init__(self, on_tokens: OnTokens, stages: StageSequence):
        self._on_tokens, self._stages = on_tokens, stages
        self._has_prompt = False

    def put(self, ids: Any) -> None:
        """ids: int, any shape, the new ones (or the prompt)."""
        if self._has_prompt:
            self._stages.turn()
            self._on_tokens(np.asarray(ids.asnumpy() if isinstance(ids, Tensor) else ids).reshape(-1).tolist())
        self._has_prompt = True

    def end(self) -> None:
        """Called at the end; nothing is buffered."""


@dataclass
class _DeviceState:
    """State of one request. inputs: cast to tensors. thinker: the result of its `generate`. prompt, text: the Talker's.
    stream: as of `device_state.DeviceState`."""

    inputs: Mapping[str, Any]
    thinker: Any = None
    prompt: TalkerPrompt | None = None
    text: Tensor | None = None
    stream: Any = None


class MindoneExecutor:
    """The corrected model, decoded by mindone's own generate: the Thinker's prefill reports the whole text, the
    Talker's the whole speech. mindone's caches grow with an answer; the pools of `limits` stand for the memory left for
    them."""

    def __init__(
        self,
        directory: Path,
        device: str,
        *,
        dtype: Any,
        attn_implementation: str,
        with_talker: bool,
        parallel: str,
        world: World,
        progress: Any = None,
    ):
        """directory: a checkpoint. dtype: a MindSpore float type. parallel, world: as `load_network` takes them."""
        silence_step_reports()
        self._dtype, self._world = dtype, world
        self.model = load_network(
            directory,
            dtype=dtype,
            attn_implementation=attn_implementation,
            with_talker=with_talker,
            parallel=parallel,
            world=world,
            progress=progress,
        )
        decoders: dict[Stage, Any] = {"thinker": self.model.config.thinker_config.text_config}
        if self.model.has_talker:
            decoders["talker"] = self.model.config.talker_config.text_config
        self.limits = one_at_a_time(decoders, numpy_dtype(dtype).itemsize, free_device_bytes(device))

    def start(self, states: Sequence[RequestState], stage: Stage) -> None:
        """Thinker: the inputs and the seed of all that is drawn. Talker: its prompt."""
        (state,) = states
        if stage == "talker":
            with timed("talker_prefill"):
                state.device_state.prompt, state.device_state.text = self._prompt(state)
            state.device_state.thinker = None  # the hidden states of all steps
            return
        ms.manual_seed(state.seed)
        with timed("processor"):
            state.device_state = _DeviceState(cast_inputs(state.prepared.arrays, self._dtype))

    def prefill(self, states: Sequence[RequestState], stage: Stage, spans: Sequence[Span]) -> None:
        """Makes all tokens of a stage."""
        (state,) = states
        if stage == "thinker":
            state.device_state.thinker = self._think(state)
        else:
            self._talk(state)

    def decode_thinker(self, states: Sequence[RequestState], num_steps: int) -> None:
        """Never called: the prefill has reported all tokens."""
        raise AssertionError("mindone's generate makes all tokens in its prefill")

    def decode_talker(self, states: Sequence[RequestState]) -> None:
        """As `decode_thinker`."""
        raise AssertionError("mindone's generate makes all frames in its prefill")

    def vocode(self, states: Sequence[RequestState], counts: Sequence[int]) -> None:
        """As Executor."""
        with timed("code2wav"):
            decode_waves(self.model.code2wav, states, counts)

    def release(self, state: RequestState) -> None:
        """As Executor."""
        state.device_state = None

    def _think(self, state: RequestState) -> Any:
        sampling, stop_ids = state.request.sampling, list(state.request.stop_ids)
        with StageSequence("thinker_prefill", "thinker_decode") as stages:
            return self.model.thinker.generate(
                **state.device_state.inputs,
                use_audio_in_video=state.request.use_audio_in_video,
                max_new_tokens=sampling.thinker_max_new_tokens,
                **_sampling_kwargs(sampling.thinker_temperature, sampling.thinker_top_k, sampling.thinker_top_p),
                repetition_penalty=sampling.thinker_repetition_penalty,
                **_eos_kwargs(stop_ids, sampling.ignore_eos),
                output_hidden_states=state.talker is not None,
                return_dict_in_generate=True,
                streamer=TokenStreamer(self._unless_cancelled(state, state.add_tokens), stages),
            )

    def _prompt(self, state: RequestState) -> tuple[TalkerPrompt, Tensor]:
        """The Talker's prompt, and the answer's text from its second token to its end, (1, tokens + 1, talker_hidden),
        after a Thinker run that kept its hidden states."""
        ids, result = state.prepared.prompt_ids, state.device_state.thinker
        num_prompt, layer = len(ids), self.model.config.talker_config.accept_hidden_layer
        embeds = mint.cat([step[0][0] for step in result.hidden_states], dim=0)
        assert state.request.speech is not None
        speaker_id, hidden = state.request.speech.speaker_id, result.hidden_states[0][layer][0]
        answer = ThinkerOutput(ids, embeds[:num_prompt], hidden, state.thinker.token_ids[0], speaker_id)
        (prompt,) = build_talker_prompts(self.model, [answer])
        text = [prompt.end]
        if embeds.shape[0] > num_prompt + 1:
            text.insert(0, self.model.talker.text_projection(embeds[num_prompt + 1 :]))
        return prompt, mint.cat(text, dim=0).unsqueeze(0)

    def _talk(self, state: RequestState) -> None:
        """Reports tokens as they come, and all frames at the end. N tokens make N - 1 frames: a frame is complete when
        the token after it is asked for (transformers 4.57.1)."""
        talker, config, sampling = self.model.talker, self.model.config.talker_config, state.request.sampling
        prompt, text = state.device_state.prompt, state.device_state.text
        eos, vocab_size = config.codec_eos_token_id, config.text_config.vocab_size
        kept = () if sampling.ignore_eos else (eos,)
        talker.code_predictor.greedy = sampling.talker_temperature == 0
        suppressed = [i for i in range(max(vocab_size - NUM_SPECIALS, 0), vocab_size) if i not in kept]
        with StageSequence("talker_prefill", "talker_decode") as stages:
            result = talker.generate(
                inputs_embeds=prompt.embeds.unsqueeze(0),
                attention_mask=mint.ones((1, len(prompt.ids)), dtype=ms.int32),
                trailing_text_hidden=text,
                tts_pad_embed=prompt.pad.unsqueeze(0),
                talker_input_ids=Tensor(prompt.ids[None]),
                **_media_of_talker(state.device_state.inputs),
                max_new_tokens=sampling.talker_max_new_tokens,
                **_sampling_kwargs(sampling.talker_temperature, sampling.talker_top_k, sampling.talker_top_p),
                repetition_penalty=sampling.talker_repetition_penalty,
                suppress_tokens=suppressed,
                **_eos_kwargs([eos], sampling.ignore_eos),
                output_hidden_states=True,
                return_dict_in_generate=True,
                streamer=TokenStreamer(self._unless_cancelled(state, state.add_codec_tokens), stages),
            )
            frames = [step[-1] for step in result.hidden_states if step[-1] is not None]
            if frames:
                state.add_frames(ops.stack(frames, axis=-1).asnumpy()[0])

    def _unless_cancelled(
        self, state: RequestState, report: Callable[[list[int]], None]
    ) -> Callable[[list[int]], None]:
        """`report`, which ends the call at its next token once the request is cancelled. Not in a group: the other
        ranks would wait for this one's collectives."""

        def put(ids: list[int]) -> None:
            if self._world.group_size == 1 and state.is_cancelled:
                raise RequestCancelled("the request was cancelled")
            report(ids)

        return put


def one_at_a_time(decoders: Mapping[Stage, Any], itemsize: int, free_bytes: int | None) -> Limits:
    """decoders: their parts of transformers' configuration. itemsize: bytes of a cached value. free_bytes: for the
    caches of all decoders, which get the same number of tokens, at most the model's positions; None if unknown. Every
    rank of a group has whole caches: zero3 shares weights only."""
    row_bytes = {name: config_row_bytes(text, itemsize) for name, text in decoders.items()}
    pools: dict[Stage, Pool] = {}
    for name, text in decoders.items():
        blocks = -(-text.max_position_embeddings // BLOCK_SIZE)
        if free_bytes is not None:
            blocks = min(blocks, free_bytes // (sum(row_bytes.values()) * BLOCK_SIZE))
        pools[name] = Pool(blocks + 1, BLOCK_SIZE, row_bytes[name] * BLOCK_SIZE)
    whole_prompt = max(text.max_position_embeddings for text in decoders.values())
    return Limits(pools, max_num_seqs=1, prefill_chunk=whole_prompt, num_steps=1)


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
