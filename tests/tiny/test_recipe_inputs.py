"""What the tiny model is trained on is what the processor makes of files: same tokens, positions, picture sizes."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "tiny"))

import boundaries
import checkpoint_files
import scenes
import sounds
from dialogue import AudioVideo, Dialogue, Turn
from draw import write_picture, write_sound, write_video
from packing import Packer
from speech import SILENCE, parts
from text import Text
from words import SPOKEN


class _MediaFirst(random.Random):
    def random(self):
        return 0.9  # Packer puts the question first below 0.2


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tiny")
    checkpoint_files.write_files(directory)
    return directory


@pytest.fixture(scope="module")
def processor(files, cpu):
    from ms_omni.inputs.processor import InputProcessor

    return InputProcessor.from_pretrained(files)


def _media(kind, rng):
    if kind == "picture":
        return scenes.picture(rng)
    if kind == "sound":
        return sounds.beeps(rng, seconds=rng.choice((0.6, 2.0, 9.5)))
    scene = scenes.video(rng, rng.choice((2.0, 3.0, 7.0)))
    return scene if kind == "video" else AudioVideo(scene, sounds.silence(rng, scene.seconds))


def _write(medium, folder):
    path = folder / "medium"
    if isinstance(medium, sounds.Clip):
        write_sound(path.with_suffix(".wav"), medium)
        return {"type": "audio", "audio": str(path.with_suffix(".wav"))}
    if isinstance(medium, AudioVideo):
        write_video(path.with_suffix(".mp4"), medium.scene, medium.clip, fps=4)
        return {"type": "video", "video": str(path.with_suffix(".mp4"))}
    if medium.seconds:
        write_video(path.with_suffix(".mp4"), medium, fps=4)
        return {"type": "video", "video": str(path.with_suffix(".mp4"))}
    write_picture(path.with_suffix(".png"), medium)
    return {"type": "image", "image": str(path.with_suffix(".png"))}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["picture", "sound", "video", "audio in video"])
def test_packed_dialogue_equals_processed_files(kind, seed, files, processor, tmp_path):
    from ms_omni.checkpoint.config import read_config
    from ms_omni.models.rope_index import RopeTokens, rope_index

    medium = _media(kind, random.Random(f"{kind} {seed}"))
    turn = Turn([medium], "What is this?", "I don't know.")
    packer = Packer(Text(files))
    sequence, _seen, heard = packer.sequence(Dialogue("unknown", [turn], "Be brief."), _MediaFirst())
    conversation = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [_write(medium, tmp_path), {"type": "text", "text": "What is this?"}]},
    ]
    with_sound = kind == "audio in video"
    arrays = processor.prepare(conversation, use_audio_in_video=with_sound).arrays
    expected = arrays["input_ids"][0]
    frames = arrays["feature_attention_mask"].sum(-1) if "feature_attention_mask" in arrays else None
    if with_sound and int(frames[0]) // 8 != len(heard[0].samples) // 160 // 8:
        # AAC pads the track; what follows the last full block would differ by a token or two.
        sequence = _with_frames(packer, turn, int(frames[0]))
    length = len(expected)
    assert sequence.ids[:length] == expected.tolist()
    ids = read_config(files).thinker_config
    names = ("audio", "image", "video", "vision_start", "audio_start")
    tokens = RopeTokens(
        **{n: getattr(ids, f"{n}_token_id") for n in names}, position_id_per_seconds=13, spatial_merge_size=2
    )
    positions, _ = rope_index(
        expected, tokens, arrays.get("image_grid_thw"), arrays.get("video_grid_thw"), frames,
        arrays.get("video_second_per_grid"), with_sound,
    )  # fmt: skip
    np.testing.assert_array_equal(np.concatenate(sequence.positions, axis=1)[:, :length], positions)


def _with_frames(packer, turn, frames):
    clip = turn.media[0].clip
    longer = sounds.Clip(np.zeros(frames * 160, np.float32), clip.kind)
    turn = Turn([AudioVideo(turn.media[0].scene, longer)], turn.question, turn.answer)
    return packer.sequence(Dialogue("unknown", [turn], "Be brief."), _MediaFirst())[0]


def test_pictures_of_every_size_become_36_to_56_tokens():
    rng = random.Random(0)
    for _ in range(300):
        width, height = rng.randint(40, 2000), rng.randint(40, 2000)
        if max(width, height) > 4 * min(width, height):
            continue
        h, w = scenes.image_target(height, width)
        assert 30 <= h * w // 1024 <= 56, (width, height)


def test_an_answer_is_spoken_word_by_word():
    assert parts("I see a star. No.") == [
        ("i", False), ("see", False), ("a", False), ("star", True), *[(SILENCE, False)] * 4, ("no", True),
        (SILENCE, False), (SILENCE, False),
    ]  # fmt: skip


def test_the_vocabulary_is_the_one_of_the_weights(files):
    text = Text(files)
    assert text.vocab_size == 1280
    assert all(len(text.ids(" " + word)) == 1 for word in ("red", "circle", "seven", "silence"))


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Every word as 0.3 s of noise."""
    folder = tmp_path_factory.mktemp("bank")
    count, length = len(SPOKEN), 4800
    np.save(folder / "samples.npy", np.random.default_rng(0).integers(-9000, 9000, count * length).astype(np.int16))
    starts = np.arange(count) * length
    np.savez(folder / "index.npz", kinds=["word"] * count, texts=SPOKEN, starts=starts, ends=starts + length)
    return sounds.Bank(folder)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 8.01, 20.0])
@pytest.mark.parametrize("skill", ["digits", "word", "tones"])
def test_held_out_sounds_have_the_length_that_their_label_says(skill, seconds, bank):
    dialogues = boundaries.Fixed(bank, random.Random(3), seconds=seconds)
    fitting = [dialogue for dialogue in (dialogues.draw(skill) for _ in range(60)) if dialogues.fits(dialogue)]
    assert len(fitting) >= 5
    for dialogue in fitting:
        assert abs(len(dialogue.turns[0].media[0].samples) / sounds.RATE - seconds) < 0.011


def test_held_out_pictures_and_videos_have_the_size_and_length_that_their_label_says(bank):
    dialogues = boundaries.Fixed(bank, random.Random(4), size=(384, 96))
    for _ in range(20):
        (scene,) = dialogues.draw("image").turns[0].media
        assert (scene.width, scene.height) == (384, 96)
    dialogues = boundaries.Fixed(bank, random.Random(5), seconds=12.0)
    for _ in range(20):
        (scene,) = dialogues.draw("video").turns[0].media
        assert scene.seconds == 12.0 and min(scene.width, scene.height) >= scenes.NARROWEST
