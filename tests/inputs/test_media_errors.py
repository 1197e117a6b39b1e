"""Media that cannot be used: one line that names them and says why."""

import os
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile
from made_media import ASSETS, OWN_MEDIA, REFERENCE_MEDIA, pixels, tone, write_clip
from PIL import Image

from ms_omni.errors import OmniError
from ms_omni.inputs import source as source_module
from ms_omni.inputs.mm_info import process_mm_info

BALL = ASSETS / "ball.mp4"
KINDS = ("image", "audio", "video")


def read(kind, medium, use_audio_in_video=False, **options):
    """The medium as the model gets it."""
    part = {"type": kind, kind: str(medium) if isinstance(medium, os.PathLike) else medium, **options}
    media = process_mm_info([{"role": "user", "content": [part]}], use_audio_in_video)
    return media[{"audio": 0, "image": 1, "video": 2}[kind]][0]


def complaint(*args, **options):
    """The message about a medium that must be refused."""
    with pytest.raises(OmniError) as caught:
        read(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cut(path, folder, fraction):
    """A copy of a file without its end."""
    data = path.read_bytes()
    target = folder / f"cut_{path.name}"
    target.write_bytes(data[: int(len(data) * fraction)])
    return target


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "content,reason",
    [
        (None, "no such file"),
        (b"", "is empty (0 bytes)"),
        (b"hello world\n" * 99, ("not an image that Pillow can read", "truncated or corrupt file (Invalid data")),
    ],
)
def test_missing_empty_and_foreign_files(kind, content, reason, tmp_path):
    path = tmp_path / "medium"
    if content is not None:
        path.write_bytes(content)
    reason = reason if isinstance(reason, str) else reason[kind != "image"]
    assert complaint(kind, path).startswith(f"{kind} {path}: {reason}")
    assert complaint(kind, f"file://{path}").startswith(f"{kind} {path}: {reason}")


@pytest.mark.parametrize("kind", KINDS)
def test_places_that_are_no_files(kind, tmp_path):
    assert complaint(kind, tmp_path) == f"{kind} {tmp_path}: is a directory, expected a file"
    assert complaint(kind, "a\0b") == f"{kind} a\\x00b: cannot be read (embedded null byte)"
    assert f"{kind} http://[x: cannot be fetched" in complaint(kind, "http://[x")
    assert f"{kind} http://127.0.0.1:9/x: cannot be fetched" in complaint(kind, "http://127.0.0.1:9/x")
    assert "must be base64" in complaint(kind, "data:image/png,abc")
    assert "not valid base64" in complaint(kind, "data:image/png;base64,@@@@")
    assert "is empty (0 bytes)" in complaint(kind, "data:image/png;base64,")


def test_a_file_without_permission(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(source_module, "open", refuse, raising=False)  # root may read everything: pretend
    assert complaint("audio", tmp_path / "a.wav") == f"audio {tmp_path}/a.wav: cannot be read (Permission denied)"


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.97])
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tiff", "bmp"])
def test_an_image_cut_short(suffix, fraction, tmp_path):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels(80, 60, 3)).save(path)
    assert read("image", path).size == (56, 84)
    short = cut(path, tmp_path, fraction)
    assert complaint("image", short).startswith(f"image {short}: ")


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.97])
@pytest.mark.parametrize(
    "name",
    ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.opus", "a.m4a", "a.aiff", "a.au", "a.rf64", "a.caf"],
)
def test_a_sound_cut_short(name, fraction, tmp_path, capfd):
    path = write_sound(tmp_path / name)
    assert abs(read("audio", path).size - 32000) < 3200
    capfd.readouterr()
    short = cut(path, tmp_path, fraction)
    assert complaint("audio", short).startswith(f"audio {short}: ")
    assert capfd.readouterr().err == ""


def test_a_sound_cut_between_two_packets(tmp_path):
    """FFmpeg takes that for the end of the file."""
    import av

    path = write_sound(tmp_path / "index_first.m4a")
    with av.open(str(path)) as container:
        start = list(container.demux())[20].pos
    path.write_bytes(path.read_bytes()[:start])
    assert complaint("audio", path).startswith(f"audio {path}: truncated file (")


def write_sound(path):
    """Two seconds."""
    if path.suffix != ".m4a":
        subtype = "OPUS" if path.suffix == ".opus" else None
        container = "OGG" if path.suffix == ".opus" else None
        soundfile.write(path, tone(48000, 2), 48000, subtype=subtype, format=container)
        return path
    import av

    options = {"movflags": "faststart"} if path.stem == "index_first" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(48000, 2).T.copy(), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_wave_with_an_unknown_length_or_a_tail_is_whole(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(16000, 1), 16000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    start = data.find(b"data") + 4
    (tmp_path / "tail.wav").write_bytes(data + b"TAG from a tagger that follows no rule")
    data[start : start + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "piped.wav").write_bytes(data)
    for name in ("tail.wav", "piped.wav"):
        assert read("audio", tmp_path / name).size == 16000


def test_an_mp3_that_does_not_say_how_long_it_is(tmp_path):
    """libsndfile then guesses, here too much."""
    import av

    path = tmp_path / "a.mp3"
    with av.open(str(path), "w", options={"write_xing": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(44100, 2).T.copy(), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with soundfile.SoundFile(path) as file:
        assert file.frames > len(file.read())
    assert abs(read("audio", path).size - 32000) < 3200


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.97])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.avi", "v.webm", "v.ts"])
def test_a_video_cut_short(name, fraction, tmp_path):
    codec = {"webm": "libvpx", "avi": "mjpeg", "mkv": "ffv1"}.get(name.split(".")[1], "mpeg4")
    frames = np.stack([pixels(64, 96, 3, seed) for seed in range(12)])
    if codec == "mjpeg":
        path = write_mjpeg(tmp_path / name, frames)
    else:
        path = write_clip(tmp_path / name, frames, 6, codec=codec)
    assert read("video", path).shape[0] == 4
    short = cut(path, tmp_path, fraction)
    assert complaint("video", short).startswith(f"video {short}: ")


def write_mjpeg(path, frames):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=6)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuvj420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_of_two_equal_sound_tracks_the_first_is_heard(tmp_path):
    path = write_tracks(tmp_path / "two.ts", tone(48000, 1, 2), np.zeros((48000, 2), np.float32))
    assert np.abs(read("audio", path)).max() > 0.1


def write_tracks(path, *tracks):
    """Stereo tracks float32 (samples, 2) at 48 kHz."""
    import av

    with av.open(str(path), "w") as container:
        streams = [container.add_stream("aac", rate=48000, layout="stereo") for _ in tracks]
        for stream, samples in zip(streams, tracks, strict=True):
            frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout="stereo")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def test_the_sound_of_a_video_cut_short(tmp_path):
    short = cut(BALL, tmp_path, 0.9)
    assert complaint("audio", short).startswith(f"audio {short}: truncated file (")


def test_tracks_that_are_missing(tmp_path):
    silent = REFERENCE_MEDIA / "silent.mp4"
    assert read("video", silent).ndim == 4
    assert complaint("video", silent, True) == f"video {silent}: has no audio track"
    assert complaint("audio", silent) == f"audio {silent}: has no audio track"
    sound = write_sound(tmp_path / "a.m4a")
    assert complaint("video", sound) == f"video {sound}: has no video track"
    picture = ASSETS / "shapes.png"
    assert complaint("video", picture) == f"video {picture}: not of a format that is read as sound or video"


def test_frames_have_no_sound():
    message = complaint("video", [str(ASSETS / "shapes.png")] * 2, True)
    assert message == "a video given as frames has no audio track; use_audio_in_video needs a video file"


def test_empty_audio(tmp_path):
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0, np.float32), 16000)
    assert complaint("audio", path) == f"audio {path}: empty audio (no samples)"
    assert complaint("audio", np.zeros(0, np.float32)) == "audio array: empty audio (no samples)"


def test_ranges_behind_the_end(made):
    wave, clip = made / "stereo.wav", made / "clip.mkv"
    assert complaint("audio", wave, audio_start=5) == f"audio {wave}: starts at second 5, but it lasts only 1.7 s"
    assert "nothing left from second 5" in complaint("audio", clip, audio_start=5)
    expected = "video_start 9 to video_end 3 holds fewer than 2 of its 24 frames (3.00 s at 8 fps)"
    assert complaint("video", clip, video_start=9) == f"video {clip}: {expected}"
    expected = "100 frames asked for, the video has 24 (at least 2 are needed)"
    assert complaint("video", clip, nframes=100) == f"video {clip}: {expected}"


def test_sizes_that_cannot_be(tmp_path, made):
    thin = tmp_path / "thin.png"
    Image.new("RGB", (2, 500)).save(thin)
    assert complaint("image", thin) == f"image {thin}: 2 x 500 pixels: one side may be at most 200 times the other"
    image, clip = made / "rgb.png", made / "clip.mkv"
    expected = "max_pixels 99 is below min_pixels 3136 (defaults count too)"
    assert complaint("image", image, max_pixels=99) == f"image {image}: {expected}"
    assert complaint("video", clip, max_pixels=99).startswith(f"video {clip}: max_pixels 99 is below min_pixels 100352")
    message = complaint("image", image, min_pixels=9, max_pixels=99)
    assert message == f"image {image}: 211 x 123 pixels do not fit into max_pixels 99 with sides of at least 28"


def test_arrays_of_the_wrong_kind():
    assert "expected uint8 of shape (H, W)" in complaint("image", np.zeros((4, 4, 3), np.float32))
    assert "expected mono floating samples at 16000 Hz, got int16" in complaint("audio", np.zeros(99, np.int16))
    assert "got float32 (2, 9)" in complaint("audio", np.zeros((2, 9), np.float32))
    assert "expected uint8 of shape (T, 3, H, W)" in complaint("video", np.zeros((4, 8, 8, 3), np.uint8))
    assert "not finite" in complaint("audio", np.full(999, np.nan, np.float32))
    frames = [Image.new("RGB", (60, 60)), Image.new("RGB", (60, 200))]
    assert "all must have one size, got 112x112, 56x224" in complaint("video", frames)


def test_hidden_frames_of_a_trimmed_video_do_not_count():
    """Its edit list starts at 0.5 s of 2 s, behind packets that are decoded but not shown."""
    video, metadata = process_mm_info(
        [{"role": "user", "content": [{"type": "video", "video": str(OWN_MEDIA / "trimmed.mp4")}]}],
        False,
        return_video_metadata=True,
    )[2][0]
    assert metadata["total_num_frames"] == 15 and metadata["frames_indices"] == [0, 5, 9, 14]
    assert len(np.unique(video.reshape(4, -1), axis=0)) == 4


class Liar(BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)

    def log_message(self, *args):
        pass


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """serve(handler) -> the address of a server on this machine."""
    servers = []

    def start(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_media_over_http(serve, made, monkeypatch):
    address = serve(partial(Quiet, directory=str(made)))
    same = np.asarray(read("image", f"{address}/rgb.png")) == np.asarray(read("image", made / "rgb.png"))
    assert same.all()
    assert (read("video", f"{address}/clip.mkv") == read("video", made / "clip.mkv")).all()
    np.testing.assert_allclose(read("audio", f"{address}/stereo.wav"), read("audio", made / "stereo.wav"), atol=1e-6)
    assert complaint("image", f"{address}/x") == f"image {address}/x: cannot be fetched (HTTP 404 File not found)"
    monkeypatch.setattr(source_module, "HTTP_MAX_BYTES", 100)
    assert complaint("image", f"{address}/rgb.png") == f"image {address}/rgb.png: larger than 100 bytes"


def test_a_transfer_that_ends_early(serve):
    address = serve(Liar)
    assert complaint("image", address).startswith(f"image {address}: ")
    assert "cannot be fetched (IncompleteRead)" in complaint("image", address) or "ended early" in complaint(
        "image", address
    )
