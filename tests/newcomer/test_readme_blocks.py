"""README has a command for all that a newcomer wants, and CI runs each of its blocks, or says why not."""

import re

from readme import NOT_RUN, PROGRAMS, ROOT, SCRIPTS_NOT_RUN, blocks, is_run, is_whole, python_program, scripts

BLOCKS = blocks("README.md")
COMMANDS = [command for block in BLOCKS if block.language == "bash" for command in block.commands]


def test_every_block_is_run_or_shows_what_is_printed():
    assert {block.language for block in BLOCKS} <= {"bash", "python", ""}
    shown = [line for block in BLOCKS if not block.language for line in block.text.splitlines()]
    hidden = [line for line in shown if line.strip().startswith(PROGRAMS) and is_run(line.strip())]
    assert hidden == [], "a command belongs into a bash block, where it is run"
    assert all(map(is_whole, COMMANDS))


def test_what_is_not_run_is_there():
    lines = [line.strip() for block in BLOCKS for line in block.text.splitlines()]
    for beginning, reason in NOT_RUN.items():
        assert reason and any(line.startswith(beginning) for line in lines), beginning
    assert set(SCRIPTS_NOT_RUN) <= set(scripts())
    assert set(scripts()) - set(SCRIPTS_NOT_RUN) == {"bash launch/demo.sh"}, "run by test_readme.py"
    assert re.search(r"^tests .* launch/test\.sh", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_there_is_a_command_for_all_that_a_newcomer_wants():
    for wanted in (
        r"pip install \.$",
        r"ms-omni understand .*--image \S+ .*--text",
        r"ms-omni understand .*--audio \S+",
        r"ms-omni batch .*--manifest (\S+)",
        r"ms-omni profile .*--out",
        r"ms-omni report \S+/profile\.json",
        r"ms-omni serve",
        r"curl .*/v1/chat/completions",
        r"ms-omni plan",
        r"ms-omni doctor",
    ):
        assert any(re.search(wanted, command, re.DOTALL) for command in COMMANDS), wanted
    assert "OmniEngine.from_pretrained" in python_program("README.md")


def test_commands_go_over_several_lines():
    (block,) = (block for block in BLOCKS if RELEASED_QUESTION in block.text)
    (command,) = (command for command in block.commands if RELEASED_QUESTION in command)
    assert command.startswith("ms-omni launch") and command.endswith("--audio-out answer.wav")


RELEASED_QUESTION = "--conversation example/conversation.json"
