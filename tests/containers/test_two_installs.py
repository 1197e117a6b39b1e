"""Both images install the dependencies first, with an empty package, and then the package itself: it must be whole."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ms_omni.mindspore_version import TESTED

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.ascend"])
def test_the_installed_package_is_whole(name, tmp_path):
    source, target, programs = tmp_path / "src", tmp_path / "target", tmp_path / "bin"
    source.mkdir()
    programs.mkdir()
    # `pip` and `python -m pip` of the image, without dependencies and into a directory
    for program, pip in (("pip", f"{sys.executable} -m pip"), ("python", sys.executable)):
        script = f'#!/bin/sh\nexec {pip} "$@" --quiet --no-deps --upgrade --target {target}\n'
        (programs / program).write_text(script)
        (programs / program).chmod(0o755)
    environment = os.environ | {"MINDSPORE_VERSION": TESTED, "PATH": f"{programs}:{os.environ['PATH']}"}

    text = (ROOT / "docker" / name).read_text().split("WORKDIR /src\n")[1].replace("\\\n", " ")
    steps = re.findall(r"^(COPY|RUN) (.*)$", text.split("\nFROM ")[0].split("COPY docker/")[0], re.MULTILINE)
    assert [kind for kind, _ in steps] == ["COPY", "RUN", "COPY", "RUN"]
    for kind, what in steps:
        if kind == "RUN":
            line = what.replace("/src/", f"{source}/")
            subprocess.run(["bash", "-euc", line], cwd=source, env=environment, check=True)
            continue
        *names, place = what.split()
        for each in names:
            if (ROOT / each).is_dir():
                # with the times of the files, as Docker copies them
                shutil.copytree(
                    ROOT / each, source / place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy2(ROOT / each, source / place)
    wanted = {path.relative_to(ROOT / "ms_omni") for path in (ROOT / "ms_omni").rglob("*.py")}
    found = {path.relative_to(target / "ms_omni") for path in (target / "ms_omni").rglob("*.py")}
    assert found == wanted
    assert (target / "ms_omni/__init__.py").read_text() == (ROOT / "ms_omni/__init__.py").read_text()
