"""Peak memory of a stretch of work: resident memory of the process, and what the device allocated."""

from __future__ import annotations

import threading
from pathlib import Path

from ms_omni.hardware.memory import proc_bytes

INTERVAL_S = 0.02
_RESET_PEAK = "5"  # of /proc/PID/clear_refs: the peak begins anew (Linux, proc(5))


class PeakMemory:
    """`start()`, the work, `stop()`. Where Linux does not let a process begin its peak anew, a thread looks now and
    then, and misses what is shorter."""

    def __init__(self, device: str, proc: Path = Path("/proc/self")):
        """device: "CPU" has no memory of its own."""
        self._on_card, self._proc = device != "CPU", proc
        self._sampler: _Sampler | None = None

    def start(self) -> None:
        """What came before does not count, except what is still held."""
        if not self._reset_host():
            self._sampler = _Sampler(self._proc)
            self._sampler.start()
        if self._on_card:
            import mindspore as ms

            ms.runtime.reset_peak_memory_stats()

    def stop(self) -> tuple[int | None, int | None]:
        """Bytes of the process and of the device; None for what cannot be told."""
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
    """Looks at the resident memory every INTERVAL_S."""

    def __init__(self, proc: Path):
        super().__init__(name="ms-omni-memory", daemon=True)
        self._proc, self._ended, self._peak = proc, threading.Event(), 0

    def run(self) -> None:
        self._look()
        while not self._ended.wait(INTERVAL_S):
            self._look()

    def stop(self) -> int | None:
        """The largest that was seen; None if it cannot be read."""
        self._ended.set()
        self.join()
        self._look()
        return self._peak or None

    def _look(self) -> None:
        self._peak = max(self._peak, proc_bytes(self._proc / "status", "VmRSS") or 0)
