"""Dialogues to packed batches: many conversations one after the other, without padding, with everything that the model
and the renderer need as flat arrays. Token order and positions are those of transformers 4.57.1's processor and
get_rope_index; tests/tiny compares them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from dialogue import AudioVideo, Dialogue
from dialogues import Dialogues
from scenes import Scene, num_frames
from sounds import Clip
from text import Text
from words import HEARD

# Of a chunk of 100 mel frames, after three convolutions of stride 2.
TOKENS_PER_CHUNK = 13
MAX_THINGS = 6
# Positions of one temporal patch of a video: 13 a second, and the processor takes it for 2 s (fps 1, two frames).
STEP_POSITIONS = 26
HEARD_IDS = {symbol: index + 1 for index, symbol in enumerate(HEARD)}  # 0 is the blank


def audio_tokens(frames: int) -> int:
    """Tokens of `frames` mel frames (transformers _get_feat_extract_output_lengths)."""
    rest = frames % 100
    after = (rest - 1) // 2 + 1
    return ((after - 1) // 2 + 1 - 1) // 2 + 1 + frames // 100 * TOKENS_PER_CHUNK


@dataclass
class Sequence:
    """One conversation. kinds: 0 text, 1 picture, 2 sound, for every id. labels: -100 where nothing is learnt."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    next_position: int = 0

    def text(self, ids: tuple[int, ...] | list[int], learn: bool = False) -> None:
        count = len(ids)
        self.ids += ids
        self.labels += ids if learn else [-100] * count
        self.kinds += [0] * count
        self.positions.append(np.tile(np.arange(count) + self.next_position, (3, 1)))
        self.next_position += count

    def media(self, token: int, kind: int, positions: np.ndarray) -> None:
        count = positions.shape[1]
        self.ids += [token] * count
        self.labels += [-100] * count
        self.kinds += [kind] * count
        self.positions.append(positions)


def grid_positions(start: int, steps: int, height: int, width: int) -> np.ndarray:
    """(3, tokens) of a picture (one step) or video, height and width in merged tokens."""
    t, h, w = np.meshgrid(np.arange(steps) * STEP_POSITIONS, np.arange(height), np.arange(width), indexing="ij")
    return np.stack([t.ravel(), h.ravel(), w.ravel()]) + start


class Packer:
    """Batches of about `budget` tokens. Arrays of one batch: see `pack`."""

    def __init__(self, text: Text):
        self.text = text
        names = (
            "<|vision_start|>",
            "<|vision_end|>",
            "<|image_pad|>",
            "<|video_pad|>",
            "<|audio_start|>",
            "<|audio_end|>",
            "<|audio_pad|>",
        )
        self.vision_start, self.vision_end, self.image, self.video, self.audio_start, self.audio_end, self.audio = (
            text.id(name) for name in names
        )
        self.im_start, self.im_end = text.id("<|im_start|>"), text.id("<|im_end|>")
        self.newline = text.ids("\n")

    def sequence(self, dialogue: Dialogue, rng: random.Random) -> tuple[Sequence, list[Scene], list[Clip]]:
        """The conversation, its scenes and clips in the order of their tokens."""
        out, scenes, clips = Sequence(), [], []
        if dialogue.system:
            out.text(
                [
                    self.im_start,
                    *self.text.ids("system"),
                    *self.newline,
                    *self.text.ids(dialogue.system),
                    self.im_end,
                    *self.newline,
                ]
            )
        for turn in dialogue.turns:
            out.text([self.im_start, *self.text.ids("user"), *self.newline])
            question_first = rng.random() < 0.2
            if question_first and turn.question:
                out.text(self.text.ids(turn.question))
            for medium in turn.media:
                self._medium(out, medium)
                if isinstance(medium, AudioVideo):
                    scenes.append(medium.scene)
                    clips.append(medium.clip)
                else:
                    (clips if isinstance(medium, Clip) else scenes).append(medium)  # type: ignore[arg-type]
            if not question_first and turn.question:
                out.text(self.text.ids(turn.question))
            out.text([self.im_end, *self.newline, self.im_start, *self.text.ids("assistant"), *self.newline])
            out.text([*self.text.ids(turn.answer), self.im_end], learn=True)
            out.text(self.newline)
        return out, scenes, clips

    def _medium(self, out: Sequence, medium: Any) -> None:
        if isinstance(medium, Clip):
            out.text([self.audio_start])
            count = audio_tokens(len(medium.samples) // 160)
            out.media(self.audio, 2, np.tile(np.arange(count) + out.next_position, (3, 1)))
            out.next_position += count
            out.text([self.audio_end])
            return
        if isinstance(medium, AudioVideo):
            self._audio_in_video(out, medium)
            return
        out.text([self.vision_start])
        steps = num_frames(medium.seconds) // 2 if medium.seconds else 1
        positions = grid_positions(out.next_position, steps, medium.target[0] // 32, medium.target[1] // 32)
        out.media(self.video if medium.seconds else self.image, 1, positions)
        out.next_position = int(positions.max()) + 1
        out.text([self.vision_end])

    def _audio_in_video(self, out: Sequence, medium: AudioVideo) -> None:
        """Sound and picture tokens in the order of their times."""
        scene = medium.scene
        out.text([self.vision_start, self.audio_start])
        start = out.next_position
        seen = grid_positions(start, num_frames(scene.seconds) // 2, scene.target[0] // 32, scene.target[1] // 32)
        count = audio_tokens(len(medium.clip.samples) // 160)
        heard = np.tile(np.arange(count) + start, (3, 1))
        step = scene.target[0] // 32 * (scene.target[1] // 32)
        done_seen = done_heard = 0
        while done_seen < seen.shape[1] and done_heard < count:
            if seen[0, done_seen] <= heard[0, done_heard]:
                out.media(self.video, 1, seen[:, done_seen : done_seen + step])
                last, done_seen = seen[:, done_seen : done_seen + step], done_seen + step
            else:
                until = min(count, int(seen[0, done_seen]) - start)
                last = heard[:, done_heard:until]
                out.media(self.audio, 2, last)
                done_heard = until
        for token, kind, rest in ((self.video, 1, seen[:, done_seen:]), (self.audio, 2, heard[:, done_heard:])):
            if rest.shape[1]:
                out.media(token, kind, rest)
                last = rest
        out.next_position = int(last.max()) + 1
        out.text([self.audio_end, self.vision_end])

    def batch(
        self, dialogues: Dialogues, budget: int, patches: int, skill: str | None = None, count: int = 10_000
    ) -> dict[str, np.ndarray]:
        """Draws dialogues until `budget` tokens or `patches` patches are reached, or `count` of them are there."""
        drawn, tokens, seen = [], 0, 0
        while len(drawn) < count and tokens < budget and seen < patches:
            dialogue = dialogues.draw(skill)
            sequence, scenes, clips = self.sequence(dialogue, dialogues.rng)
            drawn.append((dialogue, sequence, scenes, clips))
            tokens += len(sequence.ids)
            seen += sum(sequence.kinds[i] == 1 for i in range(len(sequence.kinds))) * 4
        return self.pack(drawn)

    def pack(self, drawn: list[tuple[Dialogue, Sequence, list[Scene], list[Clip]]]) -> dict[str, np.ndarray]:
        """ids, labels (already shifted: labels[i] follows ids[i]), kinds (N,), positions (3, N), starts
        (sequences + 1,);        skills: of each sequence; what `_pictures` and `_sounds` say of the media."""
        from dialogues import SKILLS

        names = list(SKILLS)
        ids = np.concatenate([np.asarray(s.ids) for _, s, _, _ in drawn])
        labels = np.concatenate([np.asarray([*s.labels[1:], -100]) for _, s, _, _ in drawn])
        out = {
            "ids": ids, "labels": labels,
            "kinds": np.concatenate([np.asarray(s.kinds) for _, s, _, _ in drawn]),
            "positions": np.concatenate([np.concatenate(s.positions, axis=1) for _, s, _, _ in drawn], axis=1),
            "starts": np.cumsum([0, *(len(s.ids) for _, s, _, _ in drawn)]),
            "skills": np.asarray([names.index(d.skill) for d, _, _, _ in drawn]),
        }  # fmt: skip
        out |= pictures([scene for _, _, scenes, _ in drawn for scene in scenes])
        out |= sounds([clip for _, _, _, clips in drawn for clip in clips])
        return out


def pictures(scenes: list[Scene]) -> dict[str, np.ndarray]:
    """Per unit (a picture, or two frames of a video): grid (h, w) in patches, scale from its pixels to the file's,
    ground, floor, noise, softness, and the things at both frames: (units, 2, MAX_THINGS, 4) x, y, r, rot and
    (units, MAX_THINGS, 4) shape (-1: none) and colour values, with the colour's number in `unit_colours`."""
    grids, scales, grounds, floors, looks, shapes, rgbs, colours, places = ([] for _ in range(9))
    for scene in scenes:
        frames = num_frames(scene.seconds) if scene.seconds else 2
        shares = [k / (frames - 1) for k in range(frames)] if scene.seconds else [0.0, 0.0]
        shape = np.full(MAX_THINGS, -1)
        rgb, colour = np.zeros((MAX_THINGS, 3)), np.zeros(MAX_THINGS, int)
        for index, thing in enumerate(scene.things):
            shape[index], rgb[index], colour[index] = thing.shape, thing.rgb, thing.colour
        for unit in range(frames // 2):
            where = np.zeros((2, MAX_THINGS, 4))
            for frame in range(2):
                progress = scene.progress(shares[2 * unit + frame])
                for index, thing in enumerate(scene.things):
                    where[frame, index] = (*thing.at(progress), thing.r, thing.rot)
            grids.append((scene.target[0] // 16, scene.target[1] // 16))
            scales.append((scene.height / scene.target[0], scene.width / scene.target[1]))
            grounds.append(scene.ground)
            floors.append((scene.floor[0] * scene.height, *scene.floor[1]) if scene.floor else (1e9, 0, 0, 0))
            looks.append((scene.noise, scene.softness, scene.height))
            shapes.append(shape)
            rgbs.append(rgb)
            colours.append(colour)
            places.append(where)
    count = len(grids)
    return {
        "unit_grids": np.asarray(grids, int).reshape(count, 2),
        "unit_scales": np.asarray(scales, np.float32).reshape(count, 2),
        "unit_grounds": np.asarray(grounds, np.float32).reshape(count, 2, 3),
        "unit_floors": np.asarray(floors, np.float32).reshape(count, 4),
        "unit_looks": np.asarray(looks, np.float32).reshape(count, 3),
        "unit_shapes": np.asarray(shapes, int).reshape(count, MAX_THINGS),
        "unit_rgbs": np.asarray(rgbs, np.float32).reshape(count, MAX_THINGS, 3),
        "unit_colours": np.asarray(colours, int).reshape(count, MAX_THINGS),
        "unit_places": np.asarray(places, np.float32).reshape(count, 2, MAX_THINGS, 4),
    }  # fmt: skip


def sounds(clips: list[Clip]) -> dict[str, np.ndarray]:
    """wave: all clips, each mirrored by 200 samples at both ends; frame_starts (frames,) into it, frame_clips
    (frames,),    clip_frames (clips,); heard: symbols one after the other with heard_lengths (clips,)."""
    waves, frame_starts, frame_clips, offset = [np.zeros(0, np.float32)], [np.zeros(0, int)], [np.zeros(0, int)], 0
    for number, clip in enumerate(clips):
        wave = np.pad(clip.samples, 200, mode="reflect")
        frames = len(clip.samples) // 160
        waves.append(wave)
        frame_starts.append(offset + np.arange(frames) * 160)
        frame_clips.append(np.full(frames, number))
        offset += len(wave)
    heard = [[HEARD_IDS[symbol] for symbol in clip.heard] for clip in clips]
    return {
        "wave": np.concatenate(waves), "frame_starts": np.concatenate(frame_starts),
        "frame_clips": np.concatenate(frame_clips),
        "clip_frames": np.asarray([len(clip.samples) // 160 for clip in clips], int),
        "heard": np.asarray([symbol for symbols in heard for symbol in symbols], int),
        "heard_lengths": np.asarray([len(symbols) for symbols in heard], int),
    }  # fmt: skip
