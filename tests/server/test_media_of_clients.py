"""Media that clients name: none of this machine and its network, unless the operator says so."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ms_omni import MediaAccess

PICTURE = Path(__file__).parents[1] / "tiny/media/image_64x64_17_1.png"


@pytest.fixture(scope="module")
def storage():
    """(URL of a picture on this machine, the paths that were asked for)."""
    asked = []

    class Storage(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/redirect":
                self.send_response(302)
                self.send_header("Location", "/picture.png")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PICTURE.read_bytes())

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


@pytest.fixture
def ask(http, trained, monkeypatch):
    """ask(url, **access) -> response to a question about that picture, by a server with this access."""

    def send(url, **access):
        monkeypatch.setattr(trained._preprocessor, "_access", MediaAccess(restricted=True, **access))
        parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What do you see?"}]
        body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 3}
        return http.post("/v1/chat/completions", json=body)

    return send


@pytest.mark.parametrize(
    "url",
    ["{storage}/picture.png", "{storage}/redirect", "http://localhost:{port}/x.png", "http://[::1]:{port}/x.png",
     "http://[::ffff:127.0.0.1]:{port}/x.png", "http://0x7f000001:{port}/x.png", "http://2130706433:{port}/x.png",
     "http://127.1:{port}/x.png", "http://0:{port}/x.png", "http://169.254.169.254/latest/meta-data/",
     "http://user@127.0.0.1:{port}/x.png", "ftp://127.0.0.1:{port}/x.png", "file://{picture}", "{picture}",
     "/etc/passwd", "/dev/zero", "/proc/self/environ", "../../../etc/passwd", "file:///etc/passwd", "gopher://x/"],
)  # fmt: skip
def test_nothing_of_this_machine_is_read(ask, storage, url):
    base, asked = storage
    url = url.format(storage=base, port=base.rpartition(":")[2], picture=PICTURE)
    answer = ask(url)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith("image ")
    assert not asked and "root:" not in answer.text


def test_what_the_operator_allows_is_read(ask, storage, tmp_path):
    base, asked = storage
    assert ask(f"{base}/redirect", networks=("127.0.0.0/8",)).status_code == 200 and len(asked) == 2
    (tmp_path / "a.png").write_bytes(PICTURE.read_bytes())
    (tmp_path / "link.png").symlink_to(PICTURE)
    assert ask(f"file://{tmp_path}/a.png", local_directory=str(tmp_path)).status_code == 200
    for path in (PICTURE, tmp_path / "link.png", tmp_path / "../a.png"):
        assert ask(f"file://{path}", local_directory=str(tmp_path)).status_code == 400
    asked.clear()
