"""The Talker's prompt: what the Thinker read and said, as the Talker wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor, mint, ops

# Assistant prefix: <|im_start|>, "assistant" and the line break, from the Thinker's prompt.
ASSISTANT_HEADER_TOKENS = 3
# Of the Talker's prompt behind the user's turns: the header, four pads, bos and the answer's first token
PREFIX_TOKENS = ASSISTANT_HEADER_TOKENS + 6


@dataclass(frozen=True)
class TalkerPrompt:
    """inputs_embeds: (1, prompt, talker_hidden). input_ids: int32, (1, prompt), for positions only. end, pad: (1,
    talker_hidden), what is added to a frame once when the text is used up, and ever after."""

    inputs_embeds: Tensor
    input_ids: Tensor
    end: Tensor
    pad: Tensor


class TrailingText:
    """What is added to each frame after the prompt: the answer's text from its second token on, one token a frame, as
    far as it is known."""

    def __init__(self, prompt: TalkerPrompt):
        self._prompt = prompt
        self._rows: list[Tensor] = []
        self._is_complete = False

    def add(self, projected: Tensor) -> None:
        """projected: (tokens, talker_hidden), the next tokens of the text."""
        self._rows += [projected[i : i + 1] for i in range(projected.shape[0])]

    def complete(self) -> None:
        """No text is to come."""
        self._is_complete = True

    def at(self, frame: int) -> Tensor | None:
        """(1, talker_hidden) for a frame, counted from 0; None while that text is not known yet."""
        if frame < len(self._rows):
            return self._rows[frame]
        if not self._is_complete:
            return None
        return self._prompt.end if frame == len(self._rows) else self._prompt.pad

    def whole(self) -> Tensor:
        """(1, tokens + 1, talker_hidden): the text and its end."""
        return mint.cat([*self._rows, self._prompt.end], dim=0).unsqueeze(0)


def split_turns(prompt_ids: np.ndarray, total_length: int, im_start: int) -> list[tuple[int, int, int]]:
    """(role token, start, end) of every <|im_start|> segment; the last one reaches to `total_length`."""
    starts = np.flatnonzero(prompt_ids == im_start).tolist()
    return [
        (int(prompt_ids[start + 1]), start, end) for start, end in zip(starts, [*starts[1:], total_length], strict=True)
    ]


def talker_prompt_tokens(config: Any, prompt_ids: np.ndarray) -> int:
    """How long the Talker's prompt is for a Thinker's, int (tokens,). config: transformers' Qwen3OmniMoeConfig."""
    return len(_user_rows(config, prompt_ids)) + PREFIX_TOKENS


def build_talker_prompt(
    model: Any, prompt_ids: np.ndarray, embeds: Tensor, hidden: Tensor, first_word: Tensor, speaker_id: int
) -> TalkerPrompt:
    """model: the whole Qwen3-Omni. prompt_ids: int, (tokens,), the Thinker's. embeds, hidden: (tokens, thinker_hidden),
    its layer-0 embeddings and its hidden states at `accept_hidden_layer`. first_word: (1, thinker_hidden), the
    embedding of the answer's first token.

    System turns and earlier answers are left out. Text is projected from its embedding, pictures, video and sound from
    their hidden states. Source: transformers 4.57.1 `Qwen3OmniMoeForConditionalGeneration.generate`.
    """
    config = model.config
    role, answer_start, _ = split_turns(prompt_ids, len(prompt_ids), config.im_start_token_id)[-1]
    if role != config.assistant_token_id:
        raise ValueError(f"the prompt ends with role token {role}, not with the assistant's")
    specials = Tensor(np.array([config.tts_bos_token_id, config.tts_eos_token_id, config.tts_pad_token_id], np.int32))
    special_rows = model.talker.text_projection(model.thinker.get_input_embeddings()(specials))
    bos, end, pad = special_rows[0:1], special_rows[1:2], special_rows[2:3]
    header = embeds[answer_start : answer_start + ASSISTANT_HEADER_TOKENS]
    answer = model.talker.text_projection(mint.cat([header, first_word], dim=0))
    prefix = _assistant_prefix(model, answer, bos, pad, speaker_id)
    parts, ids = [prefix], [np.full(prefix.shape[0], config.tts_pad_token_id)]
    rows = _user_rows(config, prompt_ids)
    if len(rows):
        parts.insert(0, _user_part(model, prompt_ids, rows, embeds, hidden))
        ids.insert(0, prompt_ids[rows])
    return TalkerPrompt(
        inputs_embeds=mint.cat(parts, dim=0).unsqueeze(0),
        input_ids=Tensor(np.concatenate(ids)[None].astype(np.int32)),
        end=end,
        pad=pad,
    )


def _user_rows(config: Any, prompt_ids: np.ndarray) -> np.ndarray:
    """Which tokens of a Thinker's prompt are the user's, int."""
    turns = split_turns(prompt_ids, len(prompt_ids), config.im_start_token_id)
    rows = [np.arange(start, end) for role, start, end in turns if role == config.user_token_id]
    return np.concatenate(rows) if rows else np.zeros(0, int)


def _user_part(model: Any, prompt_ids: np.ndarray, rows: np.ndarray, embeds: Tensor, hidden: Tensor) -> Tensor:
    """(len(rows), talker_hidden)."""
    thinker = model.config.thinker_config
    is_media = np.isin(prompt_ids[rows], (thinker.audio_token_id, thinker.image_token_id, thinker.video_token_id))
    projected, places = [], []
    for wanted, source, projection in (
        (~is_media, embeds, model.talker.text_projection),
        (is_media, hidden, model.talker.hidden_projection),
    ):
        if wanted.any():
            projected.append(projection(ops.gather(source, Tensor(rows[wanted].astype(np.int32)), 0)))
            places.append(np.flatnonzero(wanted))
    order = np.argsort(np.concatenate(places)).astype(np.int32)
    return ops.gather(projected[0] if len(projected) == 1 else mint.cat(projected, dim=0), Tensor(order), 0)


def _assistant_prefix(model: Any, answer: Tensor, bos: Tensor, pad: Tensor, speaker_id: int) -> Tensor:
    """(9, talker_hidden): the header, four pads, bos and the first word, each on top of a codec token's embedding: none
    for the header, then nothink, think_bos, think_eos, the speaker, pad, bos. answer: header and first word."""
    talker = model.config.talker_config
    text = mint.cat(
        [answer[:ASSISTANT_HEADER_TOKENS], pad.broadcast_to((4, pad.shape[-1])), bos, answer[ASSISTANT_HEADER_TOKENS:]],
        dim=0,
    )
    codec_ids = [
        talker.codec_nothink_id,
        talker.codec_think_bos_id,
        talker.codec_think_eos_id,
        speaker_id,
        talker.codec_pad_id,
        talker.codec_bos_id,
    ]
    codec = model.talker.get_input_embeddings()(Tensor(np.array(codec_ids, np.int32)))
    silent = mint.zeros((ASSISTANT_HEADER_TOKENS, codec.shape[-1]), dtype=codec.dtype)
    return text + mint.cat([silent, codec], dim=0)
