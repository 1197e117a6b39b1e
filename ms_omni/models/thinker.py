"""mindone 0.5.0's Thinker, corrected: encoders fed from the host, image and video together, positions on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeThinkerCausalLMOutputWithPast,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    Qwen3OmniMoeThinkerTextModel,
)
from mindspore import Tensor, mint, ops

from ms_omni.kernels.concatenate import concatenated
from ms_omni.models.rope_index import RopeTokens, rope_index
from ms_omni.stages import stage


def to_numpy(value: Any) -> Any:
    """A tensor, array or list as a numpy array; None stays None."""
    if value is None or isinstance(value, np.ndarray):
        return value
    return value.asnumpy() if isinstance(value, Tensor) else np.asarray(value)


def rope_tokens(config: Any, spatial_merge_size: int) -> RopeTokens:
    """From a Thinker or Talker config of transformers, which name them alike."""
    return RopeTokens(
        audio=config.audio_token_id,
        image=config.image_token_id,
        video=config.video_token_id,
        vision_start=config.vision_start_token_id,
        audio_start=config.audio_start_token_id,
        position_id_per_seconds=config.position_id_per_seconds,
        spatial_merge_size=spatial_merge_size,
    )


class HostRopeIndex:
    """`get_rope_index` on the host, for Thinker and Talker (mindone's breaks on a video without its sound)."""

    config: Any
    spatial_merge_size: int

    def get_rope_index(
        self,
        input_ids: Any,
        image_grid_thw: Any = None,
        video_grid_thw: Any = None,
        attention_mask: Any = None,
        use_audio_in_video: bool = False,
        audio_seqlens: Any = None,
        second_per_grids: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """float32 position_ids (3, batch, seq) and deltas (batch, 1). Batch 1, without padding."""
        positions, delta = self.host_rope_index(
            to_numpy(input_ids), image_grid_thw, video_grid_thw, use_audio_in_video, audio_seqlens, second_per_grids
        )
        return Tensor(positions[:, None]), Tensor(np.array([[delta]], dtype=np.float32))

    def host_rope_index(
        self,
        input_ids: np.ndarray,
        image_grid_thw: Any,
        video_grid_thw: Any,
        use_audio_in_video: bool,
        audio_seqlens: Any,
        second_per_grids: Any,
    ) -> tuple[np.ndarray, float]:
        """float32 positions (3, seq) of input_ids (1, seq), and the delta of the next token's."""
        return rope_index(
            input_ids[0],
            rope_tokens(self.config, self.spatial_merge_size),
            to_numpy(image_grid_thw),
            to_numpy(video_grid_thw),
            to_numpy(audio_seqlens),
            to_numpy(second_per_grids),
            bool(use_audio_in_video),
        )


class ThinkerTextModel(Qwen3OmniMoeThinkerTextModel):
    """Takes deepstack features laid out over the whole sequence, so that no boolean index is needed."""

    def _deepstack_process(self, hidden_states: Tensor, visual_pos_masks: None, visual_embeds: Tensor) -> Tensor:
        """hidden_states, visual_embeds: (batch, seq, hidden), the latter zero outside pictures and video."""
        return hidden_states + visual_embeds.astype(hidden_states.dtype)


class Thinker(HostRopeIndex, Qwen3OmniMoeThinkerForConditionalGeneration):
    """Merges audio, image and video features into the prompt by one gather per kind of feature.

    mindone 0.5.0 fails on image and video in one conversation; transformers 4.57.1 fails there too, so the order of
    deepstack features follows transformers 5, which gives every visual position its own feature."""

    def construct(
        self,
        input_ids: Tensor | None = None,
        input_features: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        attention_mask: Tensor | None = None,
        feature_attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        use_audio_in_video: bool = False,
        cache_position: Tensor | None = None,
        video_second_per_grid: Any = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> Qwen3OmniMoeThinkerCausalLMOutputWithPast:
        """input_ids: int32, (1, seq): the whole prompt at first, then one token a call. Media arguments as the
        processor makes them. `logits_to_keep` n: logits of the last n positions only (0: all)."""
        embeds = self.get_input_embeddings()(input_ids)
        deepstack = None
        is_prefill = past_key_values is None or past_key_values.get_seq_length() == 0
        if is_prefill:
            features = self.encode_media(
                input_features,
                feature_attention_mask,
                pixel_values,
                image_grid_thw,
                pixel_values_videos,
                video_grid_thw,
            )
            embeds, deepstack = self.merge_media(to_numpy(input_ids), embeds, *features)
            mel_lengths = None if feature_attention_mask is None else to_numpy(feature_attention_mask).sum(-1)
            position_ids, self.rope_deltas = self.get_rope_index(
                input_ids, image_grid_thw, video_grid_thw, attention_mask, use_audio_in_video, mel_lengths,
                video_second_per_grid,
            )  # fmt: skip
        else:
            position_ids = (cache_position + self.rope_deltas).reshape(1, 1, -1).broadcast_to((3, 1, -1))
        outputs = self.model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=embeds,
            use_cache=use_cache,
            cache_position=cache_position,
            deepstack_visual_embeds=deepstack,
            output_hidden_states=output_hidden_states,
        )
        hidden = outputs.last_hidden_state
        return Qwen3OmniMoeThinkerCausalLMOutputWithPast(
            logits=self.lm_head(hidden[:, -logits_to_keep:] if logits_to_keep else hidden),
            hidden_states=outputs.hidden_states,
            past_key_values=outputs.past_key_values,
            rope_deltas=self.rope_deltas,
        )

    def encode_media(
        self,
        input_features: Tensor | None,
        feature_attention_mask: Tensor | None,
        pixel_values: Tensor | None,
        image_grid_thw: Tensor | None,
        pixel_values_videos: Tensor | None,
        video_grid_thw: Tensor | None,
    ) -> tuple[Tensor | None, tuple[Tensor, list[Tensor]] | None, tuple[Tensor, list[Tensor]] | None]:
        """Features of the audio, the pictures and the videos of a prompt; None for a kind that it lacks."""
        audio = image = video = None
        if input_features is not None:
            with stage("encoders"):
                audio = self.get_audio_features(input_features, feature_attention_mask)
        if pixel_values is not None:
            with stage("encoders"):
                image = self.visual(pixel_values, grid_thw=to_numpy(image_grid_thw))
        if pixel_values_videos is not None:
            with stage("encoders"):
                video = self.visual(pixel_values_videos, grid_thw=to_numpy(video_grid_thw))
        return audio, image, video

    def get_audio_features(
        self, input_features: Tensor, feature_attention_mask: Any = None, audio_feature_lengths: Any = None
    ) -> Tensor:
        """input_features: (clips, mel_bins, frames), padded at the end, with a mask (clips, frames). (audio tokens of
        all clips, hidden)."""
        lengths = (
            to_numpy(feature_attention_mask).sum(-1)
            if audio_feature_lengths is None
            else to_numpy(audio_feature_lengths)
        )
        packed = [input_features[i, :, : int(length)] for i, length in enumerate(lengths)]
        return self.audio_tower(concatenated(packed, dim=1), feature_lens=lengths).last_hidden_state

    def merge_media(
        self,
        ids: np.ndarray,
        embeds: Tensor,
        audio: Tensor | None,
        image: tuple[Tensor, list[Tensor]] | None,
        video: tuple[Tensor, list[Tensor]] | None,
    ) -> tuple[Tensor, list[Tensor] | None]:
        """Embeddings (1, seq, hidden) with every placeholder replaced, and the deepstack features of each level laid
        out over the sequence, zero where there is no picture or video."""
        media: tuple[tuple[str, int, tuple[Tensor, list[Tensor]] | None], ...] = (
            ("audio", self.config.audio_token_id, None if audio is None else (audio, [])),
            ("image", self.config.image_token_id, image),
            ("video", self.config.video_token_id, video),
        )
        flat, deep = [], []
        for what, token_id, encoded in media:
            if encoded is None:
                continue
            places, (features, levels) = np.flatnonzero(ids[0] == token_id), encoded
            if len(places) != features.shape[0]:
                raise ValueError(f"{what}: {len(places)} placeholders in the prompt, {features.shape[0]} features")
            flat.append((places, features))
            if levels:
                deep.append((places, levels))
        if not flat:
            return embeds, None
        merged = _lay_over(embeds[0], np.arange(ids.shape[1]), flat).unsqueeze(0)
        if not deep:
            return merged, None
        zero_row = mint.zeros((1, embeds.shape[-1]), dtype=embeds.dtype)
        nowhere = np.zeros(ids.shape[1], dtype=np.int64)
        levels = [
            _lay_over(zero_row, nowhere, [(places, levels[i]) for places, levels in deep]).unsqueeze(0)
            for i in range(len(deep[0][1]))
        ]
        return merged, levels


def _lay_over(base: Tensor, index: np.ndarray, parts: list[tuple[np.ndarray, Tensor]]) -> Tensor:
    """Gathers the rows `index` of `base` and puts the rows of every part at its places: (len(index), hidden)."""
    index = index.copy()
    rows, offset = [base], base.shape[0]
    for places, features in parts:
        index[places] = offset + np.arange(len(places))
        rows.append(features.astype(base.dtype))
        offset += len(places)
    return ops.gather(mint.cat(rows, dim=0), Tensor(index.astype(np.int32)), 0)
