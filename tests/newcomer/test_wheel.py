"""The sdist and the wheel have the package's files and no others, and the wheel works where no checkout is."""

import email
import subprocess
import tarfile
import zipfile

import pytest
from packaging.metadata import Metadata
from packaging.specifiers import SpecifierSet
from readme import ROOT

pytestmark = pytest.mark.slow
# What else of the checkout goes into the sdist
BESIDE = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml"}


@pytest.fixture(scope="module")
def package_files(checkout):
    """Of ms_omni, the linked directories of assets included."""
    listed = subprocess.run(["find", "-L", "ms_omni", "-type", "f"], cwd=checkout, capture_output=True, text=True)
    return {name for name in listed.stdout.split("\n") if name and "__pycache__" not in name}


@pytest.fixture(scope="module")
def wheel(dist):
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_has_the_package_and_nothing_else(wheel, package_files):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == package_files
    assert {"ms_omni/py.typed", "ms_omni/assets/tiny/model.safetensors", "ms_omni/acceptance/recorded.npz"} <= names
    assert {"ms_omni/assets/released/instruct.json", "ms_omni/assets/workloads/smoke.yaml"} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_the_sdist_has_the_package_and_what_stands_beside_it(dist, package_files):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
    assert all(member.isfile() for member in members), "no links, which Windows and zip have not"
    names = {member.name.split("/", 1)[1] for member in members}
    made = {name for name in names if name.startswith("ms_omni.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert names - made == package_files | BESIDE


def test_metadata_are_valid_and_whole(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.read(name)
    metadata = Metadata.from_email(text, validate=True)
    assert metadata.name == "ms-omni"
    assert (metadata.license_expression, metadata.license_files) == ("Apache-2.0", ["LICENSE"])
    assert metadata.requires_python == SpecifierSet(">=3.10,<3.12")
    assert metadata.description == (ROOT / "README.md").read_text() and metadata.project_urls and metadata.summary
    assert metadata.description_content_type.startswith("text/markdown")
    assert email.message_from_bytes(text)["Author"]
    assert "Typing :: Typed" in metadata.classifiers


def test_the_wheel_answers_far_from_the_checkout(newcomer, wheel):
    # Once more: what README's commands have installed since may stand in its place
    again = newcomer.run(f"pip install --quiet --force-reinstall --no-deps '{wheel.filename}'")
    assert again.returncode == 0, again
    version = wheel.filename.split("/")[-1].split("-")[1]
    found = newcomer.run("ms-omni --version; python -c 'import ms_omni; print(ms_omni.__version__, ms_omni.__file__)'")
    first, second = found.stdout.splitlines()
    assert first == f"ms-omni {version}"
    assert second.startswith(f"{version} {newcomer.venv}/"), "the installed package"
    done = newcomer.run('ms-omni understand --text "What is your name?"')
    assert done.returncode == 0 and done.stdout.startswith("I am a tiny model"), done
    assert newcomer.run("pip check").returncode == 0
    doctor = newcomer.run("ms-omni doctor")
    assert doctor.returncode == 0 and "ready to try on a CPU" in doctor.stdout, doctor
