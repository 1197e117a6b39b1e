"""Media that others name: attacks are refused in one line, and a server that counts was asked for nothing."""

import base64
import ipaddress
import os
import socket
import threading
import time
import tracemalloc
import urllib.parse
from dataclasses import replace
from pathlib import Path

import hostile_media as hostile
import numpy as np
import pytest
import soundfile
from counting_server import DRIP_S, CountingServer
from made_media import ASSETS, OWN_MEDIA, pixels, tone, write_clip
from PIL import Image

from ms_omni.config import EngineConfig
from ms_omni.errors import OmniError
from ms_omni.inputs import checked_fetch
from ms_omni.inputs import source as source_module
from ms_omni.inputs.access import MediaAccess, host_name
from ms_omni.inputs.addresses import may_be_asked
from ms_omni.inputs.av_audio import decode_audio_track
from ms_omni.inputs.mm_info import process_mm_info
from ms_omni.inputs.source import open_source
from ms_omni.inputs.video_frames import probe

PICTURE, SOUND, BALL = ASSETS / "shapes.png", ASSETS / "question.wav", ASSETS / "ball.mp4"
SIZE = (308, 224)
LOOPBACK = ("127.0.0.0/8", "::1/128")
STRICT = MediaAccess(restricted=True)


def words(text, separator=None):
    return text.split(separator)


def read(kind, medium, access, use_audio_in_video=False, **options):
    part = {"type": kind, kind: str(medium) if isinstance(medium, Path) else medium, **options}
    media = process_mm_info([{"role": "user", "content": [part]}], use_audio_in_video, access=access)
    return media[("audio", "image", "video").index(kind)][0]


def refusal(kind, medium, access=STRICT, **options):
    with pytest.raises(OmniError) as caught:
        read(kind, medium, access, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1000 and message.isprintable()
    return message


def inline(data):
    return "data:;base64," + base64.b64encode(data).decode()


@pytest.fixture
def server():
    made = CountingServer()
    made.files["/a.png"] = PICTURE.read_bytes()
    yield made
    made.close()


@pytest.fixture
def inside(server):
    """Lets this machine be asked, as an operator lets storage of its own."""
    return MediaAccess(restricted=True, networks=LOOPBACK, fetch_seconds=60)


@pytest.fixture
def folder(tmp_path):
    """What is allowed, beside something that is not."""
    (tmp_path / "secret.png").write_bytes(PICTURE.read_bytes())
    media = tmp_path / "media"
    media.mkdir()
    (media / "a.png").write_bytes(PICTURE.read_bytes())
    return media


@pytest.fixture
def names(monkeypatch):
    """names[host] = addresses: what the resolver says; `names.asked` lists the hosts that it was asked for."""

    class Names(dict):
        asked: list = []

    known, real = Names(), socket.getaddrinfo
    known.asked = []

    def resolve(host, port, *args, **kwargs):
        known.asked.append(host)
        if host not in known:
            return real(host, port, *args, **kwargs)
        answer = known[host].pop(0) if isinstance(known[host][0], list) else known[host]
        family = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [(family[ipaddress.ip_address(a).version], socket.SOCK_STREAM, 6, "", (a, port)) for a in answer]

    monkeypatch.setattr(checked_fetch.socket, "getaddrinfo", resolve)
    return known


@pytest.fixture
def connected(monkeypatch):
    """The addresses that were connected to; nobody answers there."""
    calls = []

    def refuse(address, timeout):
        calls.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(checked_fetch.socket, "create_connection", refuse)
    return calls


# Addresses

INSIDE = words("""
127.0.0.1 127.255.255.254 0.0.0.0 10.0.0.5 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 100.100.100.200
192.0.0.192 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 192.88.99.1 168.63.129.16 224.0.0.1 239.1.1.1 240.0.0.1
255.255.255.255 ::1 :: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 ::ffff:0:127.0.0.1 fe80::1 fe80::1%eth0 fec0::1
fc00::1 fd00:ec2::254 ff02::1 ff0e::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::808:808 100::1 3fff::1 5f00::1 4000::1""")


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_not_public(address):
    assert not may_be_asked(ipaddress.ip_address(address), [])


@pytest.mark.parametrize("address", words("8.8.8.8 1.1.1.1 2606:4700::1 2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8"))
def test_addresses_that_are_public(address):
    assert may_be_asked(ipaddress.ip_address(address), [])


def test_a_network_that_is_allowed_is_seen_in_other_spellings_too():
    ten = [ipaddress.ip_network("10.0.0.0/8")]
    assert all(may_be_asked(ipaddress.ip_address(a), ten) for a in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"))
    assert not may_be_asked(ipaddress.ip_address("2002:a01:203::"), ten)


LOOPBACK_HOSTS = words(
    "127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.0.0.1 0X7F.1 0177.0.0.1 017700000001 0 0.0.0.0 localhost "
    "LOCALHOST localhost. [::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:0:0:1] [::] １２７.0.0.1 ①②⑦.⓪.⓪.① "
    "127。0。0。1 ｌocalhost"
)


@pytest.mark.parametrize("host", LOOPBACK_HOSTS)
@pytest.mark.parametrize("kind", ["image", "audio"])
def test_this_machine_in_every_spelling(host, kind, server):
    """The host is on the list, so that nothing but its address can be what is refused."""
    access = MediaAccess(restricted=True, domains=(host,), fetch_seconds=60)
    url = f"http://{host}:{server.port}/a.png"
    assert refusal(kind, url, access).startswith(f"{kind} {url}: cannot be fetched; allowed are http(s) from ")
    assert server.asked == []


def test_the_spellings_do_lead_to_this_machine(server, inside):
    """Else the test above would show nothing."""
    for host in LOOPBACK_HOSTS[:9]:
        assert read("image", f"http://{host}:{server.port}/a.png", inside).size == SIZE
    assert len(server.asked) == 9


URLS = words(
    "ftp://127.0.0.1:{port}/a.png gopher://127.0.0.1:{port}/a.png HTTP+UNIX://x/a.png http:/127.0.0.1:{port}/a.png "
    "http://user@127.0.0.1:{port}/a.png http://user:word@127.0.0.1:{port}/a.png http://8.8.8.8@127.0.0.1:{port}/a.png "
    "http://127.0.0.1:{port}\\@8.8.8.8/a.png http://127.0.0.1%2f:{port}/a.png http://127.0.0.1%00.x:{port}/ http:// "
    "http://[::1 http://[v1.x]/ http://127.0.0.1:99999/a.png http://127.0.0.1:x/ http:///a.png http://a..b/ "
    "http://127.0.0.1:{port}/a.png\r\nX-Evil:1 http://127.0.0.1:{port}/\tb http://xn--a/ //127.0.0.1:{port}/a.png",
    " ",
)


@pytest.mark.parametrize("url", URLS)
def test_urls_that_are_not_plain_ones(url, server, inside):
    """This machine may be asked, so that the form of the URL is what is refused."""
    assert "allowed are http(s) from public addresses" in refusal("image", url.format(port=server.port), inside)
    assert server.asked == []


def test_long_urls_and_endless_names(server, inside):
    assert "..." in refusal("image", f"http://127.0.0.1:{server.port}/{'a' * 9000}", inside)
    refusal("image", f"http://{'a' * 5000}.com/", inside)
    refusal("image", f"http://{'ä.' * 3000}com/", inside)
    assert server.asked == []


# Ports, domains, and what answers say


def test_ports_are_those_of_the_web_unless_the_host_is_named(names, connected):
    names["media.test"] = ["8.8.8.8"]
    for port in (22, 25, 6379, 8080):
        refusal("image", f"http://media.test:{port}/a.png")
    assert connected == []
    refusal("image", "https://media.test:80/a.png")
    refusal("image", "http://media.test:8080/a.png", MediaAccess(restricted=True, domains=("media.test",)))
    assert connected == [("8.8.8.8", 80), ("8.8.8.8", 8080)]


@pytest.mark.parametrize(
    "host",
    words("other.test media.test.evil.test evilmedia.test sub.media.test mediatest media.tesт xn--mdia-xqa.test"),
)
def test_hosts_that_are_not_on_the_list(host, names, connected):
    names[host_name(host)] = ["8.8.8.8"]
    access = MediaAccess(restricted=True, domains=("media.test",))
    assert "allowed are http(s) from media.test, data: URIs and no local files" in refusal(
        "image", f"http://{host}/", access
    )
    assert connected == [] and names.asked == []


@pytest.mark.parametrize(
    "listed,host",
    [("Media.TEST", "media.test"), ("media.test", "MEDIA.test."), ("bücher.test", "xn--bcher-kva.test"),
     ("xn--bcher-kva.test", "BÜCHER.test"), ("media.test.", "ｍedia。test")],
)  # fmt: skip
def test_a_host_on_the_list_in_other_spellings(listed, host, names, server):
    names[host_name(listed)] = ["127.0.0.1"]
    access = MediaAccess(restricted=True, domains=(listed,), networks=LOOPBACK)
    assert read("image", f"http://{host}:{server.port}/a.png", access).size == SIZE
    assert server.hosts == [f"{host_name(listed)}:{server.port}"]


def test_nobody_learns_what_is_inside(names, connected):
    """A name that is not there, one that is private, a port that is closed: the same words."""
    names["inside.test"], names["closed.test"] = ["10.0.0.1"], ["8.8.8.8"]
    said = [
        refusal("image", f"http://{host}/") for host in ("inside.test", "closed.test", "nothing.invalid", "10.0.0.2")
    ]
    assert len({text.split(": ", 1)[1] for text in said}) == 1
    assert connected == [("8.8.8.8", 80)]


def test_errors_of_a_host_that_may_be_asked(server, inside):
    assert refusal("image", f"http://127.0.0.1:{server.port}/none", inside).endswith("cannot be fetched (HTTP 404)")
    server.files["/empty"] = b""
    assert refusal("image", f"http://127.0.0.1:{server.port}/empty", inside).endswith("is empty (0 bytes)")


def test_proxies_of_the_environment_are_not_used(server, inside, monkeypatch):
    proxy = CountingServer()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    read("image", f"http://127.0.0.1:{server.port}/a.png", inside)
    assert proxy.asked == [] and server.asked == ["/a.png"]
    proxy.close()


# Redirects and rebinding

TARGETS = words("http://10.0.0.1/ http://169.254.169.254/latest/meta-data/ file:///etc/passwd ftp://8.8.8.8/ data:,x")


@pytest.mark.parametrize(
    "target", [*TARGETS, "http://[::ffff:a00:1]/", "//10.0.0.1/", "http://user:word@127.0.0.1/", "\\\\10.0.0.1"]
)
def test_redirects_are_checked(target, server, inside, connected, monkeypatch):
    real = socket.socket.connect
    opened = []

    def connect(address, timeout):
        opened.append(address)
        plain = socket.socket()
        real(plain, address)
        return plain

    monkeypatch.setattr(checked_fetch.socket, "create_connection", connect)
    url = f"http://127.0.0.1:{server.port}/to?{urllib.parse.quote(target)}"
    assert refusal("image", url, inside).startswith(f"image {url}: cannot be fetched")
    assert opened == [("127.0.0.1", server.port)] and len(server.asked) == 1


def test_a_redirect_may_not_leave_the_listed_hosts(server):
    other = CountingServer()
    access = MediaAccess(restricted=True, domains=("localhost",), networks=LOOPBACK)
    refusal("image", f"http://localhost:{server.port}/to?http://127.0.0.1:{other.port}/a.png", access)
    assert other.asked == [] and len(server.asked) == 1
    other.close()


def test_redirects_that_are_fine_and_one_too_many(server, inside):
    base = f"http://127.0.0.1:{server.port}"
    assert read("image", f"{base}/to?/a.png", inside).size == SIZE
    assert refusal("image", f"{base}/loop", inside).endswith("(more than 5 redirects)")
    assert server.asked.count("/loop") == 6


def test_a_name_is_resolved_once_and_its_address_is_the_one_connected_to(names, connected):
    names["rebind.test"] = [["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]]
    refusal("image", "http://rebind.test/a.png")
    assert connected == [("8.8.8.8", 80)] and names.asked == ["rebind.test"]


@pytest.mark.parametrize(
    "answer", [["8.8.8.8", "127.0.0.1"], ["2606:4700::1", "::1"], ["::ffff:10.0.0.1"], ["8.8.8.8", "fe80::1%1"]]
)
def test_one_private_address_among_public_ones(answer, names, connected):
    names["mixed.test"] = answer
    refusal("image", "http://mixed.test/a.png")
    assert connected == []


def test_a_redirect_is_resolved_anew_and_checked(names, server, inside):
    """The first answer leads here, the second, for the same name, to a private address."""
    names["rebind.test"] = [["127.0.0.1"], ["10.9.9.9"]]
    base = f"http://rebind.test:{server.port}"
    assert "cannot be fetched; allowed" in refusal("image", f"{base}/to?{base}/a.png", inside)
    assert len(server.asked) == 1


@pytest.fixture
def secure(monkeypatch):
    """A server whose certificate is for media.test."""
    certificate = str(OWN_MEDIA / "media.test.pem")
    made = CountingServer(certificate)
    made.files["/a.png"] = PICTURE.read_bytes()
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    yield made
    made.close()


def test_tls_verifies_the_name_although_the_address_is_connected_to(secure, names, inside, monkeypatch):
    names["media.test"] = names["other.test"] = ["127.0.0.1"]
    assert read("image", f"https://media.test:{secure.port}/a.png", inside).size == SIZE
    for host in ("other.test", "127.0.0.1"):
        assert "no TLS connection (CERTIFICATE_VERIFY_FAILED)" in refusal(
            "image", f"https://{host}:{secure.port}/a.png", inside
        )
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "no TLS connection (CERTIFICATE_VERIFY_FAILED)" in refusal(
        "image", f"https://media.test:{secure.port}/a.png", inside
    )
    assert len(secure.asked) == 1


# Time and size


@pytest.mark.parametrize("path", ["slow-head", "slow-body"])
def test_a_drip_ends(path, server):
    access = MediaAccess(restricted=True, networks=LOOPBACK, fetch_seconds=0.4)
    start = time.monotonic()
    assert refusal("image", f"http://127.0.0.1:{server.port}/{path}", access).endswith(
        "(took too long; at most 0.4 s are allowed)"
    )
    assert time.monotonic() - start < DRIP_S / 2


def test_a_host_that_never_answers_and_a_resolver_that_never_does(monkeypatch):
    access = MediaAccess(restricted=True, networks=LOOPBACK, fetch_seconds=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refusal("image", f"http://127.0.0.1:{silent.getsockname()[1]}/", access)
        assert "took too long" in refusal("image", f"https://127.0.0.1:{silent.getsockname()[1]}/", access)
    may_end, ended = threading.Event(), []

    def resolve(*args, **options):
        may_end.wait(60)
        ended.append(args)
        return []

    monkeypatch.setattr(checked_fetch.socket, "getaddrinfo", resolve)
    refusal("image", "http://slow.test/", access)
    assert not ended
    may_end.set()


@pytest.mark.parametrize("path", ["endless", "lying"])
def test_an_endless_stream_ends(path, server):
    access = MediaAccess(restricted=True, networks=LOOPBACK, max_bytes=300_000)
    assert refusal("image", f"http://127.0.0.1:{server.port}/{path}", access).endswith("(larger than 300000 bytes)")


def test_nothing_is_unpacked_on_the_way(server, inside):
    source = open_source(f"http://127.0.0.1:{server.port}/packed", "image", inside)
    assert source.data is not None and len(source.data) < 20_000


def test_a_data_uri_has_the_same_limit():
    access = MediaAccess(restricted=True, max_bytes=1000)
    assert "at most 1000 are allowed" in refusal("image", inline(bytes(5000)), access)
    assert "at most 1000 are allowed" in refusal("audio", inline(SOUND.read_bytes()), access)


# Local files


def test_files_below_the_directory_are_read(folder):
    access = MediaAccess(restricted=True, local_directory=str(folder))
    (folder / "a b.png").write_bytes(PICTURE.read_bytes())
    (folder / "link.png").symlink_to("a.png")
    for way in (folder / "a.png", f"file://{folder}/a.png", f"file://{folder}/a%20b.png", folder / "link.png"):
        assert read("image", way, access).size == SIZE
    assert "no such file" in refusal("image", folder / "none.png", access)


def outside(folder):
    """Ways out of a directory, each made of what lies beside or in it."""
    (folder / "link").symlink_to("../secret.png")
    (folder / "up").symlink_to("..")
    (folder / "chain").symlink_to("link")
    (folder / "dangling").symlink_to("../nothing")
    (folder / "process").symlink_to("/proc/self/environ")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    (folder.parent / "media-too").mkdir()
    (folder.parent / "media-too" / "a.png").write_bytes(PICTURE.read_bytes())
    inner = ("../secret.png", "link", "up/secret.png", "chain", "dangling", "process", "zero", "pipe", "", ".",
             "../media-too/a.png", "../media", "a.png/../../secret.png", "a\0b")  # fmt: skip
    far = (
        "/etc/passwd", "/etc/nothing", "/proc/self/environ", "/proc/self/fd/0", "/dev/stdin", "/dev/zero", "~/.ssh/id",
        "file:///etc/passwd", "file:///etc/%70asswd", "file://host/share", "file://localhost/etc/passwd",
        "file:/etc/passwd", "FILE:///etc/passwd", "concat:/etc/passwd|/etc/hosts", "pipe:0", "fd:0", "C:\\x",
        "subfile,,start,0,end,9,,:/etc/passwd", "rtsp://127.0.0.1/x", "//etc/passwd", "\\\\host\\share",
        "%2e%2e/secret.png",
    )  # fmt: skip
    encoded = f"file://{folder}/%2e%2e/secret.png"
    return [*(f"{folder}/{name}" for name in inner), *far, encoded]


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
def test_files_elsewhere_are_refused_whether_they_are_there_or_not(kind, folder):
    access = MediaAccess(restricted=True, local_directory=str(folder))
    for way in outside(folder):
        said = refusal(kind, way, access)
        assert said.endswith(": is not allowed; " + access.where), said
        assert str(folder) not in said.split(": is not allowed", 1)[1]


@pytest.mark.parametrize("way", ["{folder}/a.png", "file://{folder}/a.png", "/etc/passwd", "a.png"])
def test_without_a_directory_there_are_no_local_files(way, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert refusal("image", way.format(folder=folder)).endswith("data: URIs and no local files")


def test_a_link_that_is_put_in_place_after_the_look(folder, monkeypatch):
    """First of the file itself, then of a directory on its way."""
    access = MediaAccess(restricted=True, local_directory=str(folder))
    real = os.open
    (folder / "sub").mkdir()
    (folder / "sub" / "secret.png").write_bytes(PICTURE.read_bytes())

    def swap(path, flags):
        if path.endswith("a.png"):
            (folder / "a.png").unlink()
            (folder / "a.png").symlink_to("../secret.png")
        else:
            (folder / "sub").rename(folder / "old")
            (folder / "sub").symlink_to("..")
        return real(path, flags)

    monkeypatch.setattr(source_module.os, "open", swap)
    assert "is not allowed" in refusal("image", folder / "a.png", access)
    assert "is not allowed" in refusal("image", folder / "sub" / "secret.png", access)


def test_what_was_checked_is_what_is_read(folder):
    source = open_source(str(folder / "a.png"), "image", MediaAccess(restricted=True, local_directory=str(folder)))
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to("../secret.wav")
    assert source.head(8) == PICTURE.read_bytes()[:8]


def test_a_local_file_has_the_same_limit(folder):
    access = MediaAccess(restricted=True, local_directory=str(folder), max_bytes=1000)
    assert "at most 1000 are allowed" in refusal("image", folder / "a.png", access)
    (folder / "empty").touch()
    assert "is empty (0 bytes)" in refusal("image", folder / "empty", access)


@pytest.mark.parametrize("place", ["/", "/proc", "/dev/shm", "/sys/kernel", "/nothing", __file__])
def test_directories_that_are_no_place_for_media(place):
    with pytest.raises(OmniError, match="--allowed-local-media-path .*: expected a directory"):
        MediaAccess(restricted=True, local_directory=place)


# Pictures

BOMBS = {
    "png": hostile.png(60_000, 60_000),
    "png, a little too large": hostile.png(8193, 8192),
    "gif": hostile.gif(65_000, 65_000),
    "gif, its frame": hostile.gif_frame(65_000, 65_000),
    "bmp": hostile.bmp(30_000, 30_000),
    "webp": hostile.webp(16_383, 16_383),
    "jpeg": bytes(hostile.saved("JPEG")).replace(b"\x08\x00\x40\x00\x40", b"\x08\xff\xff\xff\xff"),
    "png, its comment": hostile.png(1, 1, bytes(50_000_000)),
    "jpeg of many scans": hostile.jpeg_of_scans(100),
    "ico": hostile.ico_with_large_png(60_000),
    "tiff": bytes(hostile.saved("TIFF")),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/etc/passwd) run\n",
    "psd": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\xff\xff\0\0\xff\xff\0\x08\0\3" + bytes(64),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1/'/></svg>",
    "xpm": b"/* XPM */\nstatic char *x[] = {\"1 1 1 1\",\"a c #000\",\"a\"};",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_pictures_that_are_larger_than_they_seem(name):
    refusal("image", inline(BOMBS[name]))  # the imports
    tracemalloc.start()
    said = refusal("image", inline(BOMBS[name]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    words = ("pixels", "not one of BMP, GIF, JPEG, PNG, WEBP", "Decompressed data too large", "scans")
    assert any(word in said for word in words), said
    assert peak < 10_000_000


def test_a_picture_of_a_film_is_checked_as_well():
    assert "pixels" in refusal("video", [inline(BOMBS["png"])] * 2)


def test_ordinary_pictures_are_read():
    for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        assert read("image", inline(bytes(hostile.saved(form))), STRICT).size == (56, 56)
    assert read("image", inline(bytes(hostile.saved("JPEG", progressive=True))), STRICT).size == (56, 56)
    assert read("image", Image.new("RGB", (56, 56)), STRICT).size == (56, 56)
    assert read("image", np.zeros((56, 56, 3), np.uint8), STRICT).size == (56, 56)


@pytest.mark.parametrize(
    "options",
    [{"min_pixels": 1 << 27, "max_pixels": 1 << 28}, {"min_pixels": 1e12, "max_pixels": 1e13},
     {"min_pixels": 1 << 53, "max_pixels": 1 << 53}],
)  # fmt: skip
def test_keys_that_ask_for_a_giant(options):
    assert "asked for; at most" in refusal("image", PICTURE_URI, **options)


PICTURE_URI = inline(PICTURE.read_bytes())


def test_a_number_that_no_float_holds():
    for key, value in (("min_pixels", 10**400), ("max_pixels", 1e300), ("min_pixels", float("inf"))):
        assert f"{key!r} must be a whole number" in refusal("image", PICTURE_URI, **{key: value})
    assert "'resized_width' must be" in refusal("image", PICTURE_URI, resized_height=9, resized_width=1 << 60)


# Sound

SOUNDS = {
    "frames that are not there": (hostile.flac_of_samples(2**36 - 1), "samples in all channels; at most"),
    "many channels": (hostile.wave(16_000, 1000, 64_000), "1000 channels at 16000 Hz; allowed are"),
    "a high rate": (hostile.wave(2_000_000_000, 1), "Hz; allowed are"),
    "a low rate": (hostile.wave(1, 1), "Hz; allowed are"),
    "no rate": (hostile.wave(0, 1), ""),
    "no channel": (hostile.wave(16_000, 0), ""),
    "a chunk that is not there": (hostile.wave(16_000, 1, 64, 0x7FFFFF00), "truncated file"),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_that_are_larger_than_they_seem(name):
    data, words = SOUNDS[name]
    assert words in refusal("audio", inline(data))


def test_a_sound_of_many_seconds():
    long = MediaAccess(restricted=True, max_seconds=1)
    assert "seconds; at most 1 are allowed" in refusal("audio", inline(SOUND.read_bytes()), long)
    assert read("audio", inline(SOUND.read_bytes()), long, audio_start=0.5, audio_end=1).shape == (8000,)
    assert "seconds; at most 1 are allowed" in refusal(
        "video", inline(BALL.read_bytes()), long, use_audio_in_video=True
    )
    few = MediaAccess(restricted=True, max_samples=1000)
    assert "samples in all channels; at most 1000" in refusal("audio", inline(SOUND.read_bytes()), few)
    assert "samples in all channels; at most 1000" in refusal("audio", inline(BALL.read_bytes()), few)


def test_a_sound_that_changes_midway(tmp_path):
    data = b""
    for rate in (16_000, 44_100):
        soundfile.write(tmp_path / "a.mp3", tone(rate, 0.5), rate)
        data += (tmp_path / "a.mp3").read_bytes()
    for access in (MediaAccess(), STRICT):
        with pytest.raises(OmniError, match="changes its sample rate or channels midway"):
            decode_audio_track(open_source(inline(data), "audio", access))


# Films

TABLES = {
    "samples": hostile.mp4(samples=200_000_000),
    "edits": hostile.mp4(samples=100_000, edits=1000),
    "fragments": hostile.mp4(more=hostile.fragment(200_000_000)),
    "items": hostile.mp4(more=hostile.heif_items(b"iloc", 200_000_000)),
    "their names": hostile.mp4(more=hostile.heif_items(b"iinf", 200_000_000)),
    "behind a broken box": hostile.mp4(more=b"\0\0\0\3abcd" + hostile.fragment(200_000_000)),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("kind", ["video", "audio"])
def test_tables_of_an_mp4_that_are_larger_than_they_seem(name, kind):
    said = refusal(kind, inline(TABLES[name]))
    assert "entries in its index; at most 8388608 are allowed" in said or "has length 3" in said


def test_a_compressed_index():
    assert "compressed index" in refusal("video", inline(hostile.mp4(more=hostile.box(b"cmov", bytes(9)))))


def test_an_mp4_that_does_not_begin_like_one():
    """Its tables would not be looked at."""
    assert "not of a format" in refusal("video", inline(hostile.box(b"junk", bytes(9)) + BALL.read_bytes()))


@pytest.mark.parametrize("access", [MediaAccess(), STRICT], ids=["trusted", "restricted"])
def test_titles_that_are_not_utf_8(access, tmp_path):
    data = BALL.read_bytes()
    assert data[8:12] == b"isom"
    assert read("video", inline(data[:8] + b"is\xffm" + data[12:]), access, nframes=2).shape[0] == 2


def test_films_with_large_many_or_long_frames(tmp_path):
    clip = inline(write_clip(tmp_path / "a.mkv", np.stack([pixels(96, 128, 3, k) for k in range(12)]), 2).read_bytes())
    assert read("video", clip, STRICT).shape[0] == 12

    def said(**limits):
        return refusal("video", clip, MediaAccess(restricted=True, **limits))

    assert "frames of more than 12287 pixels" in said(max_frame_pixels=12287)
    assert "147456 pixels in all frames; at most" in said(max_video_pixels=147455)
    assert "6 seconds; at most 5" in said(max_seconds=5)
    assert "packets; at most" in said(max_seconds=0.04)
    assert "12 frames; at most 10" in said(max_frames=10)
    assert "bytes of frames; at most" in said(max_decoded_bytes=100_000)
    assert "pixels a frame are asked for" in refusal("video", clip, STRICT, resized_height=9000, resized_width=9000)


def test_a_frame_that_is_larger_than_the_file_says(tmp_path):
    """The decoder itself is held to the limit: the size that the container states is nobody's promise."""
    frames = np.stack([pixels(96, 128, 3, k) for k in range(4)])
    path = write_clip(tmp_path / "a.mkv", frames, 2, codec="mpeg4")
    data = bytearray(path.read_bytes())
    width, height = data.index(b"\xb0\x81\x80"), data.index(b"\xba\x81\x60")  # Matroska's PixelWidth and PixelHeight
    data[width + 2], data[height + 2] = 16, 16
    assert read("video", inline(bytes(data)), STRICT, resized_height=96, resized_width=128).shape[2:] == (84, 140)
    access = MediaAccess(restricted=True, max_frame_pixels=12_000)
    options = {"resized_height": 84, "resized_width": 84}
    assert "frames of more than 12000 pixels" in refusal("video", inline(bytes(data)), access, **options)


def test_the_time_of_a_whole_conversation(server):
    """Each medium by itself would be in time."""
    access = MediaAccess(restricted=True, networks=LOOPBACK, fetch_seconds=DRIP_S, all_seconds=0.5)
    parts = [
        {"type": "image", "image": PICTURE_URI},
        {"type": "image", "image": f"http://127.0.0.1:{server.port}/slow-body"},
    ]
    start = time.monotonic()
    with pytest.raises(OmniError, match="took too long|took longer than 0.5 s"):  # in the fetch, or before it
        process_mm_info([{"role": "user", "content": parts}], False, access=access)
    assert time.monotonic() - start < DRIP_S / 2
    late = MediaAccess(restricted=True, all_seconds=1e-9)
    for kind, data in (
        ("image", PICTURE_URI),
        ("video", inline(BALL.read_bytes())),
        ("audio", inline(SOUND.read_bytes())),
    ):
        assert "all media of the conversation took longer than 1e-09 s" in refusal(kind, data, late)


def test_a_film_that_takes_long(monkeypatch):
    source = open_source(inline(BALL.read_bytes()), "video", STRICT)
    late = replace(source, access=replace(STRICT, until=time.monotonic() - 1))
    with pytest.raises(OmniError, match="took longer than 600 s"):
        probe(late)


def test_counts_of_media():
    frames = [np.zeros((56, 56, 3), np.uint8)] * 5
    assert "conversation: 5 frames in lists; at most 4 are allowed" in refusal(
        "video", frames, MediaAccess(restricted=True, max_frames=4)
    )
    parts = [{"type": "image", "image": PICTURE_URI}] * 3
    for access, words in (
        (MediaAccess(restricted=True, max_media=2), "conversation: 3 media; at most 2 are allowed"),
        (MediaAccess(restricted=True, max_decoded_bytes=250_000), "413952 bytes of media; at most 250000"),
    ):
        with pytest.raises(OmniError, match=words):
            process_mm_info([{"role": "user", "content": parts}], False, access=access)


# Files that name others: never, whoever names them


def playlists(base):
    sdp = (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n"
    )
    dash = (
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' "
        "mediaPresentationDuration='PT4S' profiles='urn:mpeg:dash:profile:isoff-main:2011'><Period><AdaptationSet "
        "mimeType='video/mp4'><Representation "
        f"id='1' bandwidth='1' width='9' height='9'><BaseURL>{base}/ball.mp4</BaseURL></Representation></AdaptationSet>"
        "</Period></MPD>"
    )
    reference = hostile.full(b"url ", f"{base}/ball.mp4\0".encode())
    begin, end = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n", "#EXT-X-ENDLIST\n"
    return {
        "hls": f"{begin}#EXTINF:4,\n{base}/ball.mp4\n{end}",
        "hls of a file": f"{begin}#EXTINF:4,\n{BALL}\n{end}",
        "hls key": f'{begin}#EXT-X-KEY:METHOD=AES-128,URI="{base}/key"\n#EXTINF:4,\n{BALL}\n{end}',
        "concat": f"ffconcat version 1.0\nfile '{base}/ball.mp4'\n",
        "concat of a file": f"ffconcat version 1.0\nfile '{BALL}'\n",
        "dash": dash,
        "sdp": sdp,
        "rtsp": f"RTSPtextRTSP://127.0.0.1:{base.rpartition(':')[2]}/x\n",
        "asx": f"<asx version='3.0'><entry><ref href='{base}/ball.mp4'/></entry></asx>",
        "pls": f"[playlist]\nFile1={base}/ball.mp4\n",
        "mov": hostile.mp4(reference=reference),
        "svg": f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{base}/a.png'/></svg>",
    }  # fmt: skip


@pytest.mark.parametrize("name", playlists("http://x:1"))
@pytest.mark.parametrize("whose", ["trusted", "restricted"])
@pytest.mark.parametrize("kind", ["video", "audio"])
def test_no_file_opens_another(name, whose, kind, server, inside, tmp_path):
    server.files["/ball.mp4"] = BALL.read_bytes()
    content = playlists(f"http://127.0.0.1:{server.port}")[name]
    data = content if isinstance(content, bytes) else content.encode()
    access = inside if whose == "restricted" else MediaAccess()
    suffix = {"hls": ".m3u8", "dash": ".mpd", "concat": ".ffconcat", "mov": ".mov"}.get(name.split()[0], "." + name)
    path = tmp_path / f"list{suffix}"
    path.write_bytes(data)
    local = MediaAccess(restricted=True, local_directory=str(tmp_path)) if whose == "restricted" else access
    refusal(kind, inline(data), access)
    refusal(kind, path, local)
    assert server.asked == []
    server.files[f"/{path.name}"] = data
    refusal(kind, f"http://127.0.0.1:{server.port}/{path.name}", access)
    assert server.asked == [f"/{path.name}"]


def test_a_name_that_looks_like_a_protocol_or_a_pattern(tmp_path, monkeypatch, server):
    """A file of that name is there, and is what is read."""
    monkeypatch.chdir(tmp_path)
    Path("concat:a").write_bytes(BALL.read_bytes())
    assert read("video", "concat:a", MediaAccess(), nframes=2).shape[0] == 2
    for index in range(3):
        Image.new("RGB", (56, 56)).save(f"{index}.png")
    Path("%d.png").write_bytes(PICTURE.read_bytes())
    assert "not of a format" in refusal("video", "%d.png", MediaAccess())


# Settings


@pytest.mark.parametrize(
    "settings,words",
    [({"domains": ("http://a.test",)}, "--allowed-media-domain http://a.test: expected"),
     ({"domains": ("*.a.test",)}, "without \\*"), ({"domains": ("a.test:80",)}, "without a port"),
     ({"domains": ("",)}, "expected a host"), ({"networks": ("x",)}, "expected a network"),
     ({"networks": ("10.0.0.1/8",)}, "--allowed-media-network 10.0.0.1/8: expected a network"),
     ({"max_bytes": 0}, "max_bytes 0: expected a number above 0"), ({"max_seconds": float("nan")}, "max_seconds nan")],
)  # fmt: skip
def test_settings_that_mean_nothing(settings, words):
    with pytest.raises(OmniError, match=words):
        MediaAccess(restricted=True, **settings)


def test_limits_without_restriction_and_a_reader_that_has_none():
    with pytest.raises(OmniError, match="need restricted=True"):
        MediaAccess(domains=("a.test",))
    for call in (
        lambda: EngineConfig(media_reader="qwen_omni_utils", media_access=STRICT),
        lambda: process_mm_info([], False, reader="qwen_omni_utils", access=STRICT),
    ):
        with pytest.raises(OmniError, match="--media-reader qwen_omni_utils: opens whatever it is given"):
            call()
