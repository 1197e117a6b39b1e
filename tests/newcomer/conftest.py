"""The package as it is released, and a machine on which somebody installs it for the first time."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from readme import ROOT

# Nothing of the environment that runs the tests reaches a command of the newcomer's.
OWN_VARIABLES = ("EMULATED", "MS_OMNI_", "PYTHON", "VENV", "VIRTUAL_ENV", "CI")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A fresh copy of the files of this checkout: what pip and setuptools write beside them stays there."""
    place = tmp_path_factory.mktemp("checkout") / "ms_omni"
    listed = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_symlink() or (ROOT / name).exists():  # not those that were just removed
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name, follow_symlinks=False)
    return place


@pytest.fixture(scope="session")
def dist(checkout, tmp_path_factory):
    """A directory with an sdist, and the wheel that was built from it."""
    directory = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", directory, checkout], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Deprecat" not in done.stdout + done.stderr
    return directory


class Newcomer:
    """home/venv: an environment. place: an empty directory. run: a command line of bash in it."""

    def __init__(self, home: Path, checkout: Path):
        self.checkout, self.venv, self.place = checkout, home / "venv", home / "place"
        self.place.mkdir()
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(OWN_VARIABLES)}
        own = str(Path(sys.executable).parent)
        path = ":".join(each for each in os.environ["PATH"].split(":") if each != own)
        self.environment["PATH"] = f"{self.venv / 'bin'}:{path}"

    def run(self, line, at=None, env=None):
        """-> CompletedProcess. at: another directory. env: further variables."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=at or self.place, env=self.environment | (env or {}), capture_output=True, text=True, timeout=900,
        )  # fmt: skip

    def start(self, line):
        """-> Popen of the one program of the line."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=self.place, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip


@pytest.fixture(scope="session")
def newcomer(dist, checkout):
    """Somebody with the wheel installed into an environment that had nothing but pip."""
    with tempfile.TemporaryDirectory(prefix="newcomer") as directory:  # 3.3 GB, so not among those that pytest keeps
        someone = Newcomer(Path(directory), checkout)
        make = f"source '{checkout}/launch/setup.sh'; ms_omni_make_venv '{someone.venv}'"
        done = someone.run(make, env={"PYTHON": sys.executable})
        assert done.returncode == 0, done
        before = someone.run("python -m pip list --format freeze").stdout
        assert {re.split("==", line)[0] for line in before.split()} <= {"pip", "setuptools", "wheel"}, before
        done = someone.run(f"pip install --quiet --disable-pip-version-check '{dist}'/*.whl")
        assert done.returncode == 0, done
        yield someone
