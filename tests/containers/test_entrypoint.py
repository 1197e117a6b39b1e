"""docker/entrypoint.sh loads CANN's environment before the command, which gets its own arguments and signals."""

import signal
import subprocess
from pathlib import Path

import pytest

ENTRYPOINT = Path(__file__).parents[2] / "docker/entrypoint.sh"
# As CANN's scripts do: unset variables, a last command that fails, and options of their own in "$@"
TOOLKIT = 'export LD_LIBRARY_PATH="$ASCEND_ROOT/toolkit:$LD_LIBRARY_PATH"\nexport TOOLKIT_SAW="$*"\n'
NNAL = 'until [[ -z "$1" ]]; do [[ $1 == --cxx_abi=* ]] || { echo "unknown option $1"; return 1; }; shift; done\n'
NNAL += 'export ATB_HOME_PATH="$ASCEND_ROOT/nnal"\n'


@pytest.fixture
def ascend_root(tmp_path):
    for name, text in (("ascend-toolkit", TOOLKIT), ("nnal/atb", NNAL)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "set_env.sh").write_text(text)
    return tmp_path


def start(root, *words):
    environment = {"PATH": "/usr/bin:/bin", "ASCEND_ROOT": str(root)}
    return subprocess.Popen([ENTRYPOINT, *words], env=environment, stdout=subprocess.PIPE, text=True)


def test_both_environments_are_loaded_without_the_commands_arguments(ascend_root):
    shown = 'echo "$LD_LIBRARY_PATH|$ATB_HOME_PATH|$TOOLKIT_SAW|$*"'
    process = start(ascend_root, "bash", "-c", shown, "name", "--port", "a b")
    out, _ = process.communicate(timeout=60)
    assert out == f"{ascend_root}/toolkit:|{ascend_root}/nnal||--port a b\n"
    assert process.returncode == 0


def test_an_image_without_cann_runs_the_command(tmp_path):
    process = start(tmp_path, "bash", "-c", "echo here; exit 3")
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("here\n", 3)


def test_the_command_takes_the_place_of_the_script(ascend_root):
    process = start(
        ascend_root, "bash", "-c", "trap 'echo drained; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("drained\n", 0)
