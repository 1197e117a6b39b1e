"""Packed batches to what the processors would give: patches of pictures, log-mel frames. Runs where the model runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scenes import ANGLES, radius_table


@lru_cache(maxsize=4)
def _table(device: str) -> torch.Tensor:
    return torch.from_numpy(radius_table()).to(device).flatten()


@lru_cache(maxsize=4)
def _mel_filters(device: str) -> torch.Tensor:
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(201, 128, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(filters.astype(np.float32)).to(device)


def patch_index(grids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(unit, row, column) of every patch, (P,) each, in the processors' order: merged tokens row by row, the 2 x 2
    patches of a token together."""
    counts = grids[:, 0] * grids[:, 1]
    unit = torch.repeat_interleave(torch.arange(len(grids), device=grids.device), counts)
    first = torch.cumsum(counts, 0) - counts
    index = torch.arange(len(unit), device=grids.device) - first[unit]
    token, inner = index // 4, index % 4
    width = grids[unit, 1] // 2
    return unit, token // width * 2 + inner // 2, token % width * 2 + inner % 2


def draw_frame(
    b: dict[str, torch.Tensor],
    unit: torch.Tensor,
    rows: torch.Tensor,
    columns: torch.Tensor,
    frame: int,
    noise: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One of the two frames: values 0..255 (P, 3, 16, 16), and how much of the patch each thing covers (P, things)."""
    device = rows.device
    inner = torch.arange(16, device=device) + 0.5
    scales = b["unit_scales"][unit]
    y = ((rows[:, None] * 16 + inner) * scales[:, :1])[:, :, None]  # (P, 16, 1), pixels of the file
    x = ((columns[:, None] * 16 + inner) * scales[:, 1:])[:, None, :]
    looks = b["unit_looks"][unit]
    share = (y / looks[:, 2, None, None]).unsqueeze(1)  # (P, 1, 16, 1)
    ground = b["unit_grounds"][unit][..., None, None]
    image = (ground[:, 0] * (1 - share) + ground[:, 1] * share).expand(-1, 3, 16, 16)
    floor = b["unit_floors"][unit]
    is_floor = (y > floor[:, :1, None]).unsqueeze(1)
    image = torch.where(is_floor, floor[:, 1:, None, None], image)
    # One pixel of the picture, in pixels of the file, is as wide as an edge is soft.
    edge = (scales.mean(1) * looks[:, 1])[:, None, None].clamp_min(0.7)
    table = _table(str(device))
    covers = []
    for thing in range(b["unit_shapes"].shape[1]):
        place = b["unit_places"][unit, frame, thing]
        dy, dx = y - place[:, 1, None, None], x - place[:, 0, None, None]
        distance = torch.sqrt(dx * dx + dy * dy + 1e-6)
        turn = (torch.atan2(dy, dx) - place[:, 3, None, None]) / (2 * math.pi) * ANGLES
        shape = b["unit_shapes"][unit, thing]
        index = torch.remainder(torch.round(turn).long(), ANGLES) + shape.clamp_min(0)[:, None, None] * ANGLES
        alpha = ((table[index] * place[:, 2, None, None] - distance) / edge + 0.5).clamp(0, 1)
        alpha = alpha * (shape >= 0)[:, None, None]
        image = image + alpha[:, None] * (b["unit_rgbs"][unit, thing][:, :, None, None] - image)
        covers.append(alpha.mean((1, 2)))
    return (image + noise * looks[:, 0, None, None, None]).clamp(0, 255), torch.stack(covers, 1)


def render_pictures(
    b: dict[str, torch.Tensor], draw: Callable[..., Any] = draw_frame
) -> tuple[torch.Tensor, torch.Tensor]:
    """(patches (P, 1536) as pixel_values, seen (P / 4, 2): shape and colour number that fill a token, 0 for none).
    draw: draw_frame, perhaps compiled."""
    unit, rows, columns = patch_index(b["unit_grids"])
    frames, covers = [], []
    for index in range(2):
        noise = torch.randn(len(unit), 1, 16, 16, device=rows.device)
        image, cover = draw(b, unit, rows, columns, index, noise)
        frames.append(image)
        covers.append(cover)
    still = (b["unit_places"][:, 0] == b["unit_places"][:, 1]).flatten(1).all(1)[unit]
    frames[1] = torch.where(still[:, None, None, None], frames[0], frames[1])
    patches = torch.stack(frames, 2) / 127.5 - 1  # (P, 3, 2, 16, 16)
    cover = ((covers[0] + covers[1]) / 2).view(-1, 4, covers[0].shape[1]).mean(1)
    most, thing = cover.max(1)
    token_unit = unit[::4]
    found = most > 0.15
    shape = torch.where(found, b["unit_shapes"][token_unit, thing] + 1, 0)
    colour = torch.where(found, b["unit_colours"][token_unit, thing] + 1, 0)
    return patches.flatten(1), torch.stack([shape, colour], 1)


def log_mel(b: dict[str, torch.Tensor]) -> torch.Tensor:
    """float32 (frames, 128), as WhisperFeatureExtractor computes each clip."""
    wave, starts, clips = b["wave"], b["frame_starts"], b["frame_clips"]
    device = wave.device
    window = torch.hann_window(400, periodic=True, device=device)
    pieces = wave[starts[:, None] + torch.arange(400, device=device)] * window
    power = torch.fft.rfft(pieces).abs() ** 2
    mel = torch.log10((power @ _mel_filters(str(device))).clamp_min(1e-10))
    loudest = torch.full((len(b["clip_frames"]),), -99.0, device=device)
    loudest = loudest.scatter_reduce(0, clips, mel.amax(1), "amax")
    return (torch.maximum(mel, loudest[clips][:, None] - 8.0) + 4.0) / 4.0
