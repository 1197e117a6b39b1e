"""The modules, tests and directories that pages for developers name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("architecture", "glossary", "corrections", "decode-on-ascend", "emulator", "half-precision", "long-inputs")
PAGES = [ROOT / "CONTRIBUTING.md", *(ROOT / "docs" / f"{name}.md" for name in NAMES)]


def named(page):
    """What stands as code and looks like a Python file, a name with * of several, or a directory with a slash."""
    words = re.findall(r"`((?:[a-z_0-9*]+/)*[a-z_0-9*]+\.py|(?:[a-z_0-9]+/)+)`", page.read_text())
    return sorted(set(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    def is_there(word):
        below = (ROOT / "ms_omni", ROOT / "tests")
        return (ROOT / word).exists() or any(any(home.rglob(word.rstrip("/"))) for home in below)

    assert [word for word in named(page) if not is_there(word)] == []


def test_some_are_named():
    assert sum(len(named(page)) for page in PAGES) > 50
