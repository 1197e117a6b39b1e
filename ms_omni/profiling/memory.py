"""Peak memory during some work: resident memory of the process, and what the device allocated."""

from __future__ import annotations

import threading
from pathlib import Path

from ms_omni.hardware.memory import proc_bytes

INTERVAL_S = 0.02
_RESET_PEAK = "5"  # for /proc/PID/clear_refs: resets VmHWM (Linux, proc(5))


class PeakMemory:
    """`start()`, the work, `stop()`. Where Linux does not let a process reset its peak, a thread samples the memory and
    misses shorter peaks."""

    def __init__(self, device: str, proc: Path = Path("/proc/self")):
        """device: "CPU" or "Ascend"."""
        self._on_card, self._proc = device != "CPU", proc
        self._sampler: _Sampler | None = None

    def start(self) -> None:
        """Earlier peaks do not count; memory that is still held does."""
        if not self._reset_host():
            self._sampler = _Sampler(self._proc)
            self._sampler.start()
        if self._on_card:
            import mindspore as ms

            ms.runtime.reset_peak_memory_stats()

    def stop(self) -> tuple[int | None, int | None]:
        """Peak bytes of the process and of the device; None for what is not known."""
        if self._sampler is not None:
            host: int | None = self._sampler.stop()
            self._sampler = None
        else:
            host = proc_bytes(self._proc / "status", "VmHWM")
        return host, self._device_bytes()

    def _reset_host(self) -> bool:
        try:
            (self._proc / "clear_refs").write_text(_RESET_PEAK)
        except OSError:
            return False
        return True

    def _device_bytes(self) -> int | None:
        if not self._on_card:
            return None
        import mindspore as ms

        return int(ms.runtime.max_memory_allocated()) or None


class _Sampler(threading.Thread):
    """Reads the resident memory every INTERVAL_S."""

    def __init__(self, proc: Path):
        super().__init__(name="ms-omni-memory", daemon=True)
        self._proc, self._ended, self._peak = proc, threading.Event(), 0

    def run(self) -> None:
        self._look()
        while not self._ended.wait(INTERVAL_S):
            self._look()

    def stop(self) -> int | None:
        """The largest value; None if it cannot be read."""
        self._ended.set()
        self.join()
        self._look()
        return self._peak or None

    def _look(self) -> None:
        self._peak = max(self._peak, proc_bytes(self._proc / "status", "VmRSS") or 0)
