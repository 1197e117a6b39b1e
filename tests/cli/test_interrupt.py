"""Ctrl-C ends a command in order, whatever MindSpore makes of the signal."""

import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from ms_omni.cli.interrupt import interrupts_raise, raise_interrupt_again


def test_ctrl_c_ends_in_order_after_mindspore_has_taken_the_signal_over():
    program = (
        "import os, signal, sys, time\n"
        "from ms_omni.cli.interrupt import interrupts_raise\n"
        "import mindspore as ms\n"
        "with interrupts_raise(debug=False):\n"
        "    try:\n"
        "        print(ms.Tensor([1.0]) + 1)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(20)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120).returncode == 7


def test_the_signals_handler_is_given_back_and_ranks_keep_theirs(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    with interrupts_raise(debug=False):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    with interrupts_raise(debug=False):
        assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_was_swallowed_is_raised_again(number):
    raise_interrupt_again()
    with interrupts_raise(debug=False):
        with suppress(KeyboardInterrupt):  # as MindSpore's parser does
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            raise_interrupt_again()
    raise_interrupt_again()


@pytest.mark.parametrize("debug", [False, True])
def test_what_a_library_prints_of_an_interrupt_is_not_shown(debug):
    program = (
        "import os, signal, sys\n"
        "sys.modules['mindspore'] = None\n"
        "from ms_omni.cli.interrupt import interrupts_raise\n"
        f"with interrupts_raise(debug={debug}):\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        os.write(2, b'a page of C++\\n')\n"
        "        print('interrupted', file=sys.stderr)\n"
        "os.write(2, b'the next command\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    page = ["a page of C++"] if debug else []
    assert done.stderr.splitlines() == [*page, "interrupted", "the next command"]
