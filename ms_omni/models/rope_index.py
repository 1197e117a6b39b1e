"""Three-axis (time, height, width) rotary positions of a multimodal prompt, computed on the host."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ms_omni.models.audio_encoder import audio_token_counts


@dataclass(frozen=True)
class RopeTokens:
    """The token ids and constants that positions depend on, from a Thinker or Talker config."""

    audio: int
    image: int
    video: int
    vision_start: int
    audio_start: int
    position_id_per_seconds: float
    spatial_merge_size: int


@dataclass
class _Media:
    """Grids and lengths of the media that are still to come while a prompt is walked through."""

    image_grids: list[list[int]]
    video_grids: list[list[int]]
    seconds_per_grid: list[float]
    audio_tokens: list[int]
    num_images: int = 0
    num_videos: int = 0


def rope_index(
    input_ids: np.ndarray,
    tokens: RopeTokens,
    image_grid_thw: np.ndarray | None = None,
    video_grid_thw: np.ndarray | None = None,
    audio_mel_lengths: np.ndarray | None = None,
    seconds_per_grid: np.ndarray | None = None,
    use_audio_in_video: bool = False,
) -> tuple[np.ndarray, float]:
    """Positions of one prompt.

    input_ids: int, (seq,), no padding. *_grid_thw: int, (num, 3). audio_mel_lengths: mel frames per clip.
    seconds_per_grid: seconds per temporal patch of each video. Returns float32 (3, seq) and the delta by which the
    position of the next token differs from its index.

    Source: transformers 4.57.1 `get_rope_index`. Without a picture or video every axis is 0, 1, 2, ...; after a medium,
    text goes on from one past the last position that was laid down. mindone 0.5.0 raises for a video without its sound
    (`.cpu()` of a tensor) and synchronises with the device for every element.
    """
    ids = np.asarray(input_ids).tolist()
    if image_grid_thw is None and video_grid_thw is None:
        return np.tile(np.arange(len(ids), dtype=np.float32), (3, 1)), 0.0
    media = _Media(
        [] if image_grid_thw is None else np.asarray(image_grid_thw).tolist(),
        [] if video_grid_thw is None else np.asarray(video_grid_thw).tolist(),
        [] if seconds_per_grid is None else np.asarray(seconds_per_grid, dtype=np.float32).tolist(),
        [] if audio_mel_lengths is None else audio_token_counts(audio_mel_lengths).tolist(),
    )
    followers = [second for first, second in pairwise(ids) if first == tokens.vision_start]
    media.num_images = followers.count(tokens.image)
    media.num_videos = followers.count(tokens.audio_start if use_audio_in_video else tokens.video)
    pieces: list[np.ndarray] = []
    at = 0
    while at < len(ids):
        kind = _kind(ids[at], ids[at + 1] if at + 1 < len(ids) else None, tokens, media)
        if kind == "text":
            end = at + 1
            while end < len(ids) and ids[end] not in (tokens.vision_start, tokens.audio_start):
                end += 1
            _lay_line(pieces, end - at)
            at = end
            continue
        # One marker token before and one after; sound inside a video has both pairs of markers.
        markers = 2 if kind == "audio_in_video" else 1
        _lay_line(pieces, markers)
        length = _lay_medium(pieces, kind, media, tokens)
        _lay_line(pieces, min(markers, len(ids) - at - markers - length))
        at += 2 * markers + length
    positions = np.concatenate(pieces, axis=1)
    if positions.shape[1] != len(ids):
        raise ValueError(f"the media describe {positions.shape[1]} tokens, the prompt has {len(ids)}")
    return positions, float(positions.max() + np.float32(1) - np.float32(len(ids)))


def _kind(start_id: int, next_id: int | None, tokens: RopeTokens, media: _Media) -> str:
    """The kind of medium, or text, that begins with these two ids. A marker without a placeholder behind it is text.

    transformers does not tell its Talker about use_audio_in_video: a video with its sound then counts as text and an
    audio clip unless a picture or video is still to come. The released Talker was used that way, so it stays so.
    """
    if start_id == tokens.audio_start and next_id in (tokens.audio, tokens.video):
        return "audio"
    if start_id == tokens.vision_start:
        if next_id == tokens.image:
            return "image"
        if next_id == tokens.video:
            return "video"
        if next_id == tokens.audio_start and (media.num_images > 0 or media.num_videos > 0):
            return "audio_in_video"
    return "text"


def _lay_medium(pieces: list[np.ndarray], kind: str, media: _Media, tokens: RopeTokens) -> int:
    """Appends the positions of the next medium of that kind; returns how many tokens it has."""
    start = _next_start(pieces)
    if kind == "audio":
        block = _line(media.audio_tokens.pop(0)) + start
    elif kind == "image":
        media.num_images -= 1
        block = _grid(media.image_grids.pop(0), 1.0, tokens) + start
    else:
        media.num_videos -= 1
        block = _grid(media.video_grids.pop(0), media.seconds_per_grid.pop(0), tokens) + start
    if kind != "audio_in_video":
        pieces.append(block)
        return block.shape[1]
    merged, left_over = _interleave(block, _line(media.audio_tokens.pop(0)) + start)
    pieces += [merged[:, :-left_over], merged[:, -left_over:]]
    return merged.shape[1]


def _line(length: int) -> np.ndarray:
    return np.tile(np.arange(length, dtype=np.float32), (3, 1))


def _grid(grid_thw: list[int], seconds_per_grid: float, tokens: RopeTokens) -> np.ndarray:
    """float32, (3, t * h * w tokens); time in units of 1/position_id_per_seconds s."""
    t, h, w = grid_thw[0], grid_thw[1] // tokens.spatial_merge_size, grid_thw[2] // tokens.spatial_merge_size
    times = np.arange(t, dtype=np.float32) * np.float32(seconds_per_grid) * np.float32(tokens.position_id_per_seconds)
    time, row, col = np.meshgrid(times, np.arange(h), np.arange(w), indexing="ij")
    return np.stack([time.reshape(-1), row.reshape(-1), col.reshape(-1)]).astype(np.float32)


def _interleave(video: np.ndarray, audio: np.ndarray) -> tuple[np.ndarray, int]:
    """Both merged by time, video first where they coincide. Also returns the length of the rest at the end, when one of
    the two is used up: transformers continues the text from the maximum of that rest only."""
    order = np.argsort(np.concatenate([video[0], audio[0]]), kind="stable")
    merged = np.concatenate([video, audio], axis=1)[:, order]
    is_video = order < video.shape[1]
    changes = np.flatnonzero(is_video != is_video[-1])
    return merged, len(order) - (int(changes[-1]) + 1 if changes.size else 0)


def _next_start(pieces: list[np.ndarray]) -> np.float32:
    """One past the last position that was laid down."""
    return np.float32(pieces[-1].max() + np.float32(1)) if pieces else np.float32(0)


def _lay_line(pieces: list[np.ndarray], length: int) -> None:
    if length > 0:
        pieces.append(_line(length) + _next_start(pieces))
