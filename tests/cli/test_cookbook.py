"""Every page of docs/cookbook does what it says: its commands and its program on the built-in model, by one engine for
all pages; their form alone on a random checkpoint."""

import json
import re
import shlex
import subprocess
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from ms_omni.errors import OmniError
from ms_omni.tasks import TASKS

PAGES = Path(__file__).parents[2] / "docs" / "cookbook"
RELEASED = "--model Qwen/"
CAPTIONER = "Qwen/Qwen3-Omni-30B-A3B-Captioner"


def blocks(name, language):
    text = (PAGES / f"{name}.md").read_text()
    return [
        body for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE) if kind == language
    ]


class Shared:
    """An engine that nobody closes, in the place of those that commands and programs make. loaded: the models."""

    def __init__(self, engine):
        self._engine, self.loaded = engine, []

    def __call__(self, config, progress=None):
        self.loaded.append(config.model)
        return self

    def from_pretrained(self, model="built-in"):
        self.loaded.append(model)
        return self

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self._engine, name)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """A directory with the media that `ms-omni example` writes."""
    from ms_omni.cli.main import main

    place = tmp_path_factory.mktemp("pages")
    with redirect_stdout(StringIO()):
        assert main(["example", str(place / "example")]) == 0
    return place


@pytest.fixture(scope="module")
def built_in_engine(cpu):
    from ms_omni import OmniEngine

    with OmniEngine.from_pretrained(device="CPU") as engine:
        yield engine


@pytest.fixture(scope="module")
def captioner_engine(captioner_dir, cpu):
    from ms_omni import OmniEngine

    with OmniEngine.from_pretrained(captioner_dir, device="CPU") as engine:
        yield engine


def use(monkeypatch, engine, place):
    shared = Shared(engine)
    monkeypatch.setattr("ms_omni.engine.OmniEngine", shared)
    monkeypatch.chdir(place)
    return shared


def run_commands(cli, name, extra=()):
    """What each `ms-omni understand` of a page does; what stands before it, a shell does."""
    results = []
    for block in blocks(name, "bash"):
        before = []
        for line in block.splitlines():
            if not line.startswith("ms-omni understand"):
                before.append(line)
                continue
            if script := "\n".join(each for each in before if not each.startswith("ms-omni")):
                subprocess.run(["bash", "-euc", script], check=True)
            before = []
            if RELEASED not in line:
                results.append(cli(*shlex.split(line)[1:], *extra))
    return results


def run_program(name):
    out = StringIO()
    with redirect_stdout(out):
        for program in blocks(name, "python"):
            exec(compile(program, f"{name}.md", "exec"), {})
    return out.getvalue()


def test_every_task_has_its_page():
    assert {page.stem for page in PAGES.glob("*.md")} == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_page_has_the_prompts_of_the_table_and_their_sources(name):
    text = (PAGES / f"{name}.md").read_text()
    for prompt in TASKS[name].prompts:
        assert f"> {prompt.text}\n" in text
        assert ("ours, no document has one" if prompt.source == "ours" else prompt.source) in text
    assert TASKS[name].source in text and f"--task {name} " in text
    tasks_page = (PAGES.parent / "tasks.md").read_text()
    (row,) = [line for line in tasks_page.splitlines() if line.startswith(f"| [{name}](cookbook/{name}.md) | ")]
    assert all(f"`{prompt.text}`" in row for prompt in TASKS[name].prompts)
    assert f"| {' or '.join(TASKS[name].media)} |" in row


@pytest.mark.parametrize("name", [name for name in TASKS if name != "captioner"])
def test_a_page_on_the_built_in_model(cli, built_in_engine, example, monkeypatch, name):
    shared = use(monkeypatch, built_in_engine, example)
    done = run_commands(cli, name)
    assert done and all(each.code == 0 for each in done), done
    said = [json.loads(each.out)["text"] if "{" in each.out else each.out.rstrip("\n") for each in done]
    program = run_program(name).splitlines()
    assert len(shared.loaded) == len(done) + 1
    printed = blocks(name, "")
    if printed:
        assert said == program == [printed[0].rstrip("\n")]
    elif name == "audio-visual-dialogue":
        assert program == ["I don't know."] * 2, "two turns"
    elif name in ("object-grounding", "audio-function-call"):
        assert program == ["[]"]
    else:
        assert set(said) == {"I don't know."} and program == said[:1]
    if any("--audio-out answer.wav" in block for block in blocks(name, "bash")):
        import soundfile

        assert soundfile.info(example / "answer.wav").duration > 0.3


def test_the_page_of_all_tasks(cli, built_in_engine, example, monkeypatch):
    use(monkeypatch, built_in_engine, example)
    page = (PAGES.parent / "tasks.md").read_text()
    said = []
    for block in re.findall(r"^```bash\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            line = line.split("  #")[0]
            if not line.startswith("ms-omni"):
                subprocess.run(["bash", "-euc", line], check=True)
                continue
            done = cli(*shlex.split(line)[1:])
            assert done.code == 0, (line, done)
            said += done.out.splitlines()
    assert "The voice says hello seven." in said and "The square is blue." in said
    results = [json.loads(line)["text"] for line in Path("answers/results.jsonl").read_text().splitlines()]
    assert results == ["I don't know.", "The voice says hello seven."]
    out = StringIO()
    with redirect_stdout(out):
        for program in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
            exec(compile(program, "tasks.md", "exec"), {})
    assert out.getvalue() == "The voice says hello seven.\n"


def test_boxes_and_calls_of_the_built_in_model_are_flagged_and_none(cli, built_in_engine, example, monkeypatch):
    use(monkeypatch, built_in_engine, example)
    (done,) = run_commands(cli, "object-grounding")
    document = json.loads(done.out)
    assert document["boxes"] == [] and document["image_size"] == [320, 200] and document["boxes_error"]
    (done,) = run_commands(cli, "audio-function-call")
    assert json.loads(done.out)["tool_calls"] == []


def test_the_captioners_page(cli, captioner_engine, captioner_dir, example, monkeypatch):
    use(monkeypatch, captioner_engine, example)
    (line,) = [each for block in blocks("captioner", "bash") for each in block.splitlines() if RELEASED in each]
    words = [str(captioner_dir) if word == CAPTIONER else word for word in shlex.split(line)]
    done = cli(*words[1:], "--max-new-tokens", "4")
    assert done.code == 0 and done.out.endswith("\n"), done
    assert run_program("captioner").endswith("\n")
    for asked in ("What is it?", [{"role": "user", "content": [{"type": "text", "text": "What is it?"}]}]):
        with pytest.raises(OmniError, match="the checkpoint: is a Captioner and takes one audio and no text; got text"):
            captioner_engine.generate(asked)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "captioner"])
def test_a_page_on_a_random_checkpoint(cli, fused, tiny_dir, example, monkeypatch, name):
    shared = use(monkeypatch, fused, example)
    words = ["--model", str(tiny_dir), "--max-new-tokens", "4", "--talker-max-new-tokens", "4"]
    done = run_commands(cli, name, words)
    assert done and all(each.code == 0 and each.out.endswith("\n") for each in done), done
    assert set(shared.loaded) == {str(tiny_dir)}
