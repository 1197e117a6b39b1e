"""Version, changes, citation, security and issue forms: valid by their schemas, and in agreement with the package."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

import ms_omni
from ms_omni.cli.main import COMMANDS

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FORMS = [path for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]


def form(name):
    return yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text())


def test_the_version_is_said_once_in_the_code_and_heads_the_changes():
    changes = re.findall(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes[0] == PROJECT["version"]
    assert sorted(changes, key=Version, reverse=True) == changes
    said = [path for path in (ROOT / "ms_omni").rglob("*.py") if PROJECT["version"] in path.read_text()]
    assert said == [], "ms_omni.__version__ is read from the installed package"


def test_the_version_of_a_checkout_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} 3.2.1")
    assert ms_omni.__version__ == "ms-omni 3.2.1"

    def missing(name):
        raise import_module("importlib.metadata").PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert ms_omni.__version__ == "0+not-installed"


def test_type_checkers_see_the_public_names_where_they_come_from():
    (block,) = (node for node in ast.parse(Path(ms_omni.__file__).read_text()).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {name.asname or name.name: node.module for node in imports for name in node.names}
    assert seen == ms_omni._EXPORTS
    assert set(ms_omni.__all__) == {*seen, "__version__"}
    for name, module in seen.items():
        assert getattr(ms_omni, name) is getattr(import_module(module), name)


@pytest.mark.parametrize(
    "schema, files",
    [
        ("vendor.citation-file-format", [ROOT / "CITATION.cff"]),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [ROOT / ".github/ISSUE_TEMPLATE/config.yml"]),
    ],
)
def test_valid_by_the_schema(schema, files):
    assert files
    command = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]


def test_security_names_the_supported_version():
    minor = ".".join(PROJECT["version"].split(".")[:2])
    assert f"now {minor}." in (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize("name", ["bug", "card"])
def test_forms_ask_for_what_doctor_and_accept_say(name):
    fields = {field["id"]: field for field in form(name)["body"] if "id" in field}
    assert "ms-omni doctor --json" in fields["doctor"]["attributes"]["label"]
    assert fields["doctor"]["validations"]["required"]
    assert "ms-omni accept" in fields["accept"]["attributes"]["label"]
    assert "render" not in fields["accept"]["attributes"], "no file can be dragged into a field that is rendered"
    # accept is for cards: a report of a CPU has none
    assert fields["accept"].get("validations", {}).get("required", False) == (name == "card")


def test_commands_and_files_that_they_name_exist():
    pages = [*FORMS, ROOT / "SECURITY.md"]
    for page in pages:
        for line in re.findall(r"`(ms-omni [^`]*)`", page.read_text()):
            for command in line.split(" -- "):
                words = command.removeprefix("ms-omni ").split()
                if words == ["--version"]:
                    continue
                assert words[0] in COMMANDS, (page.name, line)
                parser = import_module(f"ms_omni.cli.{words[0]}")
                flags = [word for word in words[1:] if word.startswith("--")]
                assert all(f'"{flag}"' in Path(parser.__file__).read_text() for flag in flags), (page.name, line)
    security = (ROOT / "SECURITY.md").read_text()
    for target, _, anchor in re.findall(r"\]\(([^)#]+)(#([^)]*))?\)", security):
        assert (ROOT / target).is_file(), target
        headings = [
            re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
            for line in re.findall(r"^#+ (.*)$", (ROOT / target).read_text(), re.MULTILINE)
        ]
        assert not anchor or anchor in headings, anchor
    for flag in ("--allowed-local-media-path", "--api-key", "--host"):
        assert flag in security and flag in (ROOT / "docs/cli.md").read_text()
