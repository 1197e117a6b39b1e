"""Nothing but the result reaches stdout, whatever the libraries print, in Python or in C."""

import subprocess
import sys

import pytest

PROGRAM = """
import logging, os, sys, warnings
from ms_omni.cli.quiet import results_only_on_stdout
with results_only_on_stdout(debug={debug}) as results:
    print("python noise")
    os.write(1, b"noise of C code\\n")
    warnings.warn("a warning")
    logging.getLogger("library").warning("a logged warning")
    logging.getLogger("library").error("a logged error")
    results.write("resült\\n")
print("after")
"""


@pytest.mark.parametrize("debug", [False, True])
def test_descriptor_one_holds_the_result_alone(debug):
    words = [sys.executable, "-X", "utf8", "-c", PROGRAM.format(debug=debug)]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "resült\nafter\n"
    heard = [noise in done.stderr for noise in ("python noise", "noise of C code", "a warning", "a logged warning")]
    assert heard == [debug] * 4
    assert "a logged error" in done.stderr


def test_captured_stdout_works_too(capsys):
    from ms_omni.cli.quiet import results_only_on_stdout

    with results_only_on_stdout(debug=False) as results:
        print("noise")
        results.write("result")
    assert capsys.readouterr().out == "result"
