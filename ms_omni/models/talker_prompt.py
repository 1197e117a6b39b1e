"""The Talker's prompt, made from the Thinker's prompt and first token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor, mint, ops

from ms_omni.kernels.concatenate import concatenated
from ms_omni.kernels.device import on_cpu
from ms_omni.kernels.host_threads import in_row_parts
from ms_omni.kernels.numpy_encoder import Linear
from ms_omni.kernels.numpy_math import silu

# Assistant prefix: <|im_start|>, "assistant" and the line break, from the Thinker's prompt.
ASSISTANT_HEADER_TOKENS = 3
# Of the Talker's prompt behind the user's turns: the header, four pads, bos and the answer's first token
PREFIX_TOKENS = ASSISTANT_HEADER_TOKENS + 6


@dataclass(frozen=True)
class ThinkerOutput:
    """The Thinker's side of a conversation. prompt_ids: int (tokens,). embeds, hidden: (tokens, thinker_hidden), of the
    prompt: embeddings, and hidden states at `accept_hidden_layer`. first_token: of the answer. speaker_id: a codec
    token."""

    prompt_ids: np.ndarray
    embeds: Tensor
    hidden: Tensor
    first_token: int
    speaker_id: int


@dataclass(frozen=True)
class TalkerPrompt:
    """embeds: (prompt, talker_hidden). ids: int32 (prompt,), for positions only. end, pad: (1, talker_hidden), added to
    the first frame behind the text, and to every later one."""

    embeds: Tensor
    ids: np.ndarray
    end: Tensor
    pad: Tensor


def split_turns(prompt_ids: np.ndarray, total_length: int, im_start: int) -> list[tuple[int, int, int]]:
    """(role token, start, end) of every <|im_start|> segment; the last one ends at `total_length`."""
    starts = np.flatnonzero(prompt_ids == im_start).tolist()
    ends = [*starts[1:], total_length]
    return [(int(prompt_ids[start + 1]), start, end) for start, end in zip(starts, ends, strict=False)]


def talker_prompt_tokens(config: Any, prompt_ids: np.ndarray) -> int:
    """Length of the Talker's prompt for the Thinker's `prompt_ids`, int (tokens,). config: transformers'
    Qwen3OmniMoeConfig. Raises ValueError for a prompt that does not end with the assistant's turn."""
    turns = split_turns(prompt_ids, len(prompt_ids), config.im_start_token_id)
    role = turns[-1][0] if turns else "none"
    if role != config.assistant_token_id:
        raise ValueError(
            f"the prompt ends with role token {role}, not with the assistant's: nobody is asked to speak; "
            "expected one of a chat template with add_generation_prompt=True"
        )
    return len(_user_rows(config, prompt_ids)) + PREFIX_TOKENS


def build_talker_prompts(model: Any, answers: Sequence[ThinkerOutput]) -> list[TalkerPrompt]:
    """model: the whole Qwen3-Omni.

    System turns and earlier answers are left out. Text is projected from its embedding, pictures, video and sound from
    their hidden states. Source: transformers 4.57.1 `Qwen3OmniMoeForConditionalGeneration.generate`.
    """
    config, talker = model.config, model.config.talker_config
    rows = [_Rows.of(config, answer.prompt_ids) for answer in answers]
    words = [config.tts_bos_token_id, config.tts_eos_token_id, config.tts_pad_token_id]
    words += [answer.first_token for answer in answers]
    parts = [model.thinker.get_input_embeddings()(_ids(words))]
    parts += [ops.gather(answer.embeds, _ids(each.text), 0) for answer, each in zip(answers, rows, strict=True)]
    table = projected(model.talker.text_projection, mint.cat(parts, dim=0))
    end, pad = table[1:2], table[2:3]
    first_media = table.shape[0]
    media = [
        ops.gather(a.hidden, _ids(each.media), 0) for a, each in zip(answers, rows, strict=True) if len(each.media)
    ]
    if media:
        table = mint.cat([table, projected(model.talker.hidden_projection, concatenated(media))], dim=0)
    codes = [talker.codec_nothink_id, talker.codec_think_bos_id, talker.codec_think_eos_id, talker.codec_pad_id]
    codes += [talker.codec_bos_id, *(answer.speaker_id for answer in answers)]
    codec = model.talker.get_input_embeddings()(_ids(codes))
    codec = mint.cat([mint.zeros((1, codec.shape[1]), dtype=codec.dtype), codec], dim=0)
    order, added, text = list[np.ndarray](), list[np.ndarray](), len(words)
    for number, each in enumerate(rows):
        # The user's text, the header, four pads, bos, the first word
        user = np.where(each.is_media, first_media + np.cumsum(each.is_media), text + np.cumsum(~each.is_media)) - 1
        text, first_media = text + len(each.text), first_media + len(each.media)
        header = np.arange(text - ASSISTANT_HEADER_TOKENS, text)
        order += [user, header, np.array([2, 2, 2, 2, 0, 3 + number])]
        # Nothing; then nothink, think_bos, think_eos, the speaker, pad, bos
        added += [np.zeros(len(user) + len(header)), np.array([1, 2, 3, 6 + number, 4, 5])]
    embeds = ops.gather(table, _ids(np.concatenate(order)), 0) + ops.gather(codec, _ids(np.concatenate(added)), 0)
    prompts, begin = [], 0
    for answer, each in zip(answers, rows, strict=True):
        ids = np.append(answer.prompt_ids[each.user], np.full(PREFIX_TOKENS, config.tts_pad_token_id))
        prompts.append(TalkerPrompt(embeds[begin : begin + len(ids)], ids.astype(np.int32), end, pad))
        begin += len(ids)
    return prompts


def projected(mlp: Any, x: Tensor) -> Tensor:
    """mlp: a mindone Qwen3OmniMoeTalkerResizeMLP. x: (rows, thinker_hidden). (rows, talker_hidden)."""
    if not on_cpu():
        return mlp(x)
    widen, narrow, array = Linear(mlp.linear_fc1), Linear(mlp.linear_fc2), x.float().asnumpy()
    made = in_row_parts(lambda part: narrow(silu(widen(array[part]))), len(array), narrow.weight.shape[1:])
    return Tensor.from_numpy(made).astype(x.dtype)


@dataclass(frozen=True)
class _Rows:
    """Token places in a Thinker's prompt. user: of the user's turns. is_media: bool, which of these are media. text: of
    the user's text, then of the answer's header. media: of the user's media."""

    user: np.ndarray
    is_media: np.ndarray
    text: np.ndarray
    media: np.ndarray

    @classmethod
    def of(cls, config: Any, prompt_ids: np.ndarray) -> _Rows:
        thinker, user = config.thinker_config, _user_rows(config, prompt_ids)
        media_ids = (thinker.audio_token_id, thinker.image_token_id, thinker.video_token_id)
        is_media = np.isin(prompt_ids[user], media_ids)
        _, answer, _ = split_turns(prompt_ids, len(prompt_ids), config.im_start_token_id)[-1]
        header = np.arange(answer, answer + ASSISTANT_HEADER_TOKENS)
        return cls(user, is_media, np.append(user[~is_media], header), user[is_media])


def _user_rows(config: Any, prompt_ids: np.ndarray) -> np.ndarray:
    """Places of the user's tokens in a Thinker's prompt, int."""
    turns = split_turns(prompt_ids, len(prompt_ids), config.im_start_token_id)
    rows = [np.arange(start, end) for role, start, end in turns if role == config.user_token_id]
    return np.concatenate(rows) if rows else np.zeros(0, int)


def _ids(values: Any) -> Tensor:
    return Tensor(np.asarray(values, np.int32))
