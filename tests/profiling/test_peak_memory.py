"""Peak memory, of this process and of a made-up /proc."""

import numpy as np
import pytest

from ms_omni.profiling.memory import PeakMemory

MIB = 1 << 20


@pytest.mark.slow  # of the whole process, whatever else it does at the moment
def test_what_is_held_for_a_moment_counts_and_what_came_before_does_not():
    peak = PeakMemory("CPU")
    np.ones(200 * MIB, np.uint8)
    peak.start()
    quiet, device = peak.stop()
    peak.start()
    np.ones(100 * MIB, np.uint8)
    assert peak.stop()[0] - quiet == pytest.approx(100 * MIB, abs=20 * MIB)
    assert device is None


def test_where_the_peak_cannot_begin_anew_a_thread_looks(tmp_path):
    """No clear_refs can be written into a directory that is not there."""
    (tmp_path / "status").write_text("VmHWM:\t9000 kB\nVmRSS:\t  2000 kB\n")
    (tmp_path / "clear_refs").mkdir()
    peak = PeakMemory("CPU", tmp_path)
    peak.start()
    (tmp_path / "status").write_text("VmHWM:\t9000 kB\nVmRSS:\t  3000 kB\n")
    assert peak.stop() == (3000 * 1024, None)


def test_nothing_is_told_where_nothing_can_be_read(tmp_path):
    peak = PeakMemory("CPU", tmp_path / "no such place")
    peak.start()
    assert peak.stop() == (None, None)
