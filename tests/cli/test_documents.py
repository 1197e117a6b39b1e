"""What README and docs tell a user to type exists: files, commands and flags."""

import re
import shlex
from pathlib import Path

import pytest

from ms_omni.cli.commands import COMMANDS, command_parser
from ms_omni.cli.example import MEDIA
from ms_omni.cli.settings import yaml_keys
from ms_omni.config import ATTN_IMPLEMENTATIONS, DEVICES, DTYPES, ENGINES, MEDIA_READERS, PARALLEL_MODES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "docs" / "cookbook").glob("*.md"))


def shell_lines():
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            joined = block.replace("\\\n", " ")
            yield from (line.split("  #")[0].strip() for line in joined.splitlines())


@pytest.mark.parametrize("line", [line for line in shell_lines() if "ms-omni " in line])
def test_commands_parse_and_name_files_that_exist(line):
    words = shlex.split(line.split("| ")[-1].removeprefix("bash launch/emulated.sh "))
    assert words[0] == "ms-omni"
    args = vars(command_parser(words[1]).parse_args(words[2:]))
    files = [args[key] for key in ("conversation", "config") if key in args] + args.get("image", [])
    examples = ("example/conversation.json", *(f"example/{name}" for name in MEDIA.values()))
    assert all(name == "-" or name in examples or (ROOT / name).is_file() for name in files)


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("bash ")])
def test_scripts_exist(line):
    assert (ROOT / line.split()[1]).is_file()


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).is_file(), (page.name, target)


def test_every_flag_is_documented_and_every_documented_flag_exists():
    documented = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "docs/cli.md").read_text()))
    flags = {option for command in COMMANDS for option in command_parser(command)._option_string_actions}
    long_flags = {flag for flag in flags if flag.startswith("--") and flag != "--help"}
    assert documented <= long_flags
    assert {flag for flag in long_flags if not flag.startswith("--no-")} <= documented


def test_documented_choices_are_the_allowed_ones():
    text = (ROOT / "docs/cli.md").read_text().replace("\\|", "|")
    for flag, allowed in (
        ("engine", ENGINES),
        ("parallel", PARALLEL_MODES),
        ("device", DEVICES),
        ("dtype", DTYPES),
        ("attn-implementation", ATTN_IMPLEMENTATIONS),
        ("media-reader", MEDIA_READERS),
    ):
        assert f"`--{flag} {'|'.join(allowed)}`" in text
    assert {"conversation", "model"} <= yaml_keys("understand")


def test_demo_conversation_is_valid():
    from ms_omni.inputs.conversation import load_conversation, media_parts

    conversation = load_conversation(ROOT / "launch" / "conversation.json")
    assert [kind for kind, _, _ in media_parts(conversation)] == ["image", "audio", "video"]
    assert all(Path(medium).is_file() for _, medium, _ in media_parts(conversation))


def test_every_public_name_is_documented():
    import ms_omni

    page = (ROOT / "docs/python.md").read_text().split("## All public names")[1]
    assert set(re.findall(r"`(\w+)`", re.sub(r"\|[^|]*\|$", "|", page, flags=re.MULTILINE))) >= set(ms_omni.__all__)
