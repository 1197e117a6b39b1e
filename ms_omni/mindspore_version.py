"""Which releases of MindSpore this package runs on, and what of Ascend's software each of them goes with.

Nothing else of the package asks for MindSpore's version: where releases differ, the code takes a form that all have, or
tries both places of what has moved (`kernels/mindspore_internals.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from ms_omni.errors import OmniError

SUPPORTED = ">=2.7.1,<2.11"  # as pyproject.toml says
# What all tests are run with, those of the Ascend backend over emulated operators among them
TESTED = "2.7.1"


@dataclass(frozen=True)
class Release:
    """A release of MindSpore. cann: the release that it is paired with. takes: major and minor numbers of those that
    MindSpore itself accepts, from 8.3 on, whose documents this package's operators were written from.

    Sources: docs/doctor.md."""

    mindspore: str
    cann: str
    takes: tuple[str, ...]

    @property
    def supported_cann(self) -> str:
        """The CANN versions that it takes, oldest to newest, as `doctor` prints them."""
        return self.cann if len(self.takes) == 1 else f"{self.takes[0]} to {self.cann}"


RELEASES = (
    Release("2.7.1", "8.3.RC1", ("8.3",)),
    Release("2.7.2", "8.5.0", ("8.5",)),
    Release("2.8.0", "8.5.0", ("8.3", "8.5")),
    Release("2.9.0", "9.0.0", ("8.3", "8.5", "9.0")),
    Release("2.10.0", "9.1.0", ("8.3", "8.5", "9.0", "9.1")),
)
# The release of driver and firmware that each CANN is paired with
DRIVERS = {"8.3": "25.3.RC1", "8.5": "25.5.0", "9.0": "26.0.RC1", "9.1": "26.0.RC1"}


def check_mindspore() -> None:
    """Raises OmniError for an installed MindSpore that is not supported, without importing it."""
    from packaging.specifiers import SpecifierSet

    try:
        found = metadata.version("mindspore")
    except metadata.PackageNotFoundError:  # not there, which its import says, or built under another name
        return
    if not SpecifierSet(SUPPORTED).contains(found, prereleases=True):
        raise OmniError(f'mindspore {found} is installed: expected {SUPPORTED}; pip install "mindspore=={TESTED}"')


def release_of(version: str | None) -> Release:
    """The release that `version` belongs to. For none, or one that is not supported: the one that is tested."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    if version is None or not SpecifierSet(SUPPORTED).contains(version, prereleases=True):
        version = TESTED
    return [release for release in RELEASES if Version(release.mindspore) <= Version(version)][-1]


def release_that_takes(cann: str, after: Release) -> Release | None:
    """The first one after `after` that accepts a CANN of these major and minor numbers."""
    later = RELEASES[RELEASES.index(after) + 1 :]
    return next((release for release in later if cann in release.takes), None)
