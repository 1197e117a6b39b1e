"""`ms-omni serve` as a process of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from serving import web

from ms_omni.parallel.msrun import free_port


class Process:
    """url: where it answers. lines: what it has written to stderr."""

    def __init__(self, words, launch=()):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "ms_omni", *launch, "serve", "--port", str(self.port), *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(iter(self.process.stderr.readline, "")))
        self._reader.start()

    def wait_until_ready(self, seconds=240):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "".join(self.lines)
            try:
                if web.get(f"{self.url}/health").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise AssertionError("".join(self.lines))

    @property
    def resident_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def metric(self, name):
        text = web.get(f"{self.url}/metrics").text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    def end(self, number=signal.SIGTERM, seconds=60):
        """Its exit code."""
        os.kill(self.process.pid, number)
        return self.wait(seconds)

    def wait(self, seconds=60):
        code = self.process.wait(seconds)
        self._reader.join(60)
        return code


@contextmanager
def served(*words, launch=()):
    process = Process(words, launch)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.process.kill()
                process.wait()
