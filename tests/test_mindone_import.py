"""mindone's other models are imported when somebody asks for them, and only then."""

import subprocess
import sys

import pytest

COUNT = "import sys; print(len([name for name in sys.modules if name.startswith('mindone.transformers.models.')]))"
PROGRAMS = {
    "the engine": ("import ms_omni.engine, ms_omni.models.load, ms_omni.inputs.processor as p\n"
                   "from pathlib import Path; import ms_omni\n"
                   "p.InputProcessor.from_pretrained(Path(ms_omni.__file__).parent / 'assets' / 'tiny')\n"
                   "from mindone.transformers import masking_utils; from mindone.transformers.models import whisper",
                   range(10, 40)),
    "a name of mindone's": ("import ms_omni, mindone.transformers.models as m\n"
                            "assert not hasattr(m, 'nonsense') and m.bert.BertModel\n"
                            "from mindone.transformers import *; from mindone.transformers import __version__\n"
                            "assert AutoModel and __version__.startswith('4.')",
                            range(500, 2000)),
}  # fmt: skip


@pytest.mark.parametrize("name", ["the engine", pytest.param("a name of mindone's", marks=pytest.mark.slow)])
def test_models_that_are_imported(name):
    program, expected = PROGRAMS[name]
    done = subprocess.run([sys.executable, "-c", f"{program}\n{COUNT}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.splitlines()[-1]) in expected
