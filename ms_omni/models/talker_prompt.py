"""The Talker's prompt: what the Thinker read and said, as the Talker wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor, mint, ops

# Assistant prefix: <|im_start|>, "assistant" and the line break, from the Thinker's prompt.
ASSISTANT_HEADER_TOKENS = 3


@dataclass(frozen=True)
class TalkerPrompt:
    """inputs_embeds: (1, prompt, talker_hidden). input_ids: int32, (1, prompt), for positions only.
    trailing_text: (1, n, talker_hidden), one to add at every frame after the first. pad: (1, 1, talker_hidden), to add
    once that text is used up."""

    inputs_embeds: Tensor
    input_ids: Tensor
    trailing_text: Tensor
    pad: Tensor


def split_turns(prompt_ids: np.ndarray, total_length: int, im_start: int) -> list[tuple[int, int, int]]:
    """(role token, start, end) of every <|im_start|> segment; the last one reaches to `total_length`."""
    starts = np.flatnonzero(prompt_ids == im_start).tolist()
    return [
        (int(prompt_ids[start + 1]), start, end) for start, end in zip(starts, [*starts[1:], total_length], strict=True)
    ]


def build_talker_prompt(
    model: Any, sequence: np.ndarray, num_prompt_tokens: int, embeds: Tensor, hidden: Tensor, speaker_id: int
) -> TalkerPrompt | None:
    """model: the whole Qwen3-Omni. sequence: int, (tokens,), prompt and answer. embeds, hidden: (1, n, thinker_hidden),
    the Thinker's layer-0 embeddings and its hidden states at `accept_hidden_layer`, without the answer's last token
    (which the Thinker never read). None when the answer has no token to speak.

    System turns and earlier answers are left out. Text is projected from its embedding, pictures, video and sound from
    their hidden states. Source: transformers 4.57.1 `Qwen3OmniMoeForConditionalGeneration.generate`.
    """
    config = model.config
    turns = split_turns(sequence[:num_prompt_tokens], len(sequence), config.im_start_token_id)
    user_rows = [np.arange(start, end) for role, start, end in turns if role == config.user_token_id]
    role, answer_start, _ = turns[-1]
    if role != config.assistant_token_id:
        raise ValueError(f"the prompt ends with role token {role}, not with the assistant's")
    answer_end = embeds.shape[1]
    if answer_end <= answer_start + ASSISTANT_HEADER_TOKENS:
        return None
    specials = Tensor(np.array([[config.tts_bos_token_id, config.tts_eos_token_id, config.tts_pad_token_id]], np.int32))
    bos, eos, pad = model.talker.text_projection(model.thinker.get_input_embeddings()(specials)).chunk(3, dim=1)
    answer = model.talker.text_projection(embeds[:, answer_start:answer_end])
    prefix = _assistant_prefix(model, answer, bos, pad, speaker_id)
    parts, ids = [prefix], [np.full(prefix.shape[1], config.tts_pad_token_id)]
    if user_rows:
        rows = np.concatenate(user_rows)
        parts.insert(0, _user_part(model, sequence, rows, embeds, hidden))
        ids.insert(0, sequence[rows])
    return TalkerPrompt(
        inputs_embeds=mint.cat(parts, dim=1),
        input_ids=Tensor(np.concatenate(ids)[None].astype(np.int32)),
        trailing_text=mint.cat([answer[:, ASSISTANT_HEADER_TOKENS + 1 :], eos], dim=1),
        pad=pad,
    )


def _user_part(model: Any, sequence: np.ndarray, rows: np.ndarray, embeds: Tensor, hidden: Tensor) -> Tensor:
    """(1, len(rows), talker_hidden)."""
    thinker = model.config.thinker_config
    is_media = np.isin(sequence[rows], (thinker.audio_token_id, thinker.image_token_id, thinker.video_token_id))
    projected, places = [], []
    for wanted, source, projection in (
        (~is_media, embeds, model.talker.text_projection),
        (is_media, hidden, model.talker.hidden_projection),
    ):
        if wanted.any():
            projected.append(projection(ops.gather(source[0], Tensor(rows[wanted].astype(np.int32)), 0)))
            places.append(np.flatnonzero(wanted))
    order = np.argsort(np.concatenate(places)).astype(np.int32)
    return ops.gather(projected[0] if len(projected) == 1 else mint.cat(projected, dim=0), Tensor(order), 0).unsqueeze(
        0
    )


def _assistant_prefix(model: Any, answer: Tensor, bos: Tensor, pad: Tensor, speaker_id: int) -> Tensor:
    """(1, 9, talker_hidden): the header, four pads, bos and the first word, each on top of a codec token's embedding:
    none for the header, then nothink, think_bos, think_eos, the speaker, pad, bos."""
    talker = model.config.talker_config
    text = mint.cat(
        [answer[:, :ASSISTANT_HEADER_TOKENS], pad.broadcast_to((1, 4, pad.shape[-1])), bos,
         answer[:, ASSISTANT_HEADER_TOKENS : ASSISTANT_HEADER_TOKENS + 1]], dim=1
    )  # fmt: skip
    codec_ids = [
        talker.codec_nothink_id,
        talker.codec_think_bos_id,
        talker.codec_think_eos_id,
        speaker_id,
        talker.codec_pad_id,
        talker.codec_bos_id,
    ]
    codec = model.talker.get_input_embeddings()(Tensor(np.array([codec_ids], np.int32)))
    silent = mint.zeros((1, ASSISTANT_HEADER_TOKENS, codec.shape[-1]), dtype=codec.dtype)
    return text + mint.cat([silent, codec], dim=1)
