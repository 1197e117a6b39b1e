"""What a card is called and how large it is: emulated cards of other kinds, each in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GIB = 1 << 30


def on_card(soc, memory_gb, *words, directory):
    """A process on such a card: (exit code, stdout, stderr)."""
    environment = {**os.environ, "EMULATED_SOC": soc, "EMULATED_MEMORY_GB": str(memory_gb), "GLOG_v": "3"}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), environment.get("PYTHONPATH", "")))
    command = [sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, env=environment, timeout=900)
    return done.returncode, done.stdout, done.stderr


ASK = """
import mindspore as ms
from ms_omni import OmniError
from ms_omni.kernels import setup_device
from ms_omni.planning.choose import choose_parallel
from ms_omni.planning.model import plan_config
from ms_omni.profiling.roofline import device_bandwidth
from ms_omni.runtime import card
from ms_omni.runtime.card import GIB, card_hardware, card_name, limit_pool
from ms_omni.runtime.device_memory import free_device_bytes

class Engine:
    device = setup_device("Ascend")

card._communicators = lambda: 4  # what their buffers take, MindSpore's own limit would not leave
limit = limit_pool()
print("found", card_name(), card_hardware().name, round(card_hardware().memory_bytes / 1e9), limit // GIB)
print("bandwidth", device_bandwidth(Engine)[0])
try:
    print("mode", choose_parallel(plan_config("instruct"), 2, card_hardware())[0])
except OmniError as error:
    print("refused", error)
kept = []
try:
    while True:
        kept.append(ms.mint.zeros((GIB // 2,), dtype=ms.int8))
        kept[-1][:1].asnumpy()
except RuntimeError:
    print("pool", len(kept) / 2, limit / GIB, free_device_bytes("Ascend") / GIB)
"""


@pytest.mark.parametrize(
    ("soc", "memory_gb", "name", "usable", "mode"),
    [("Ascend910B4", 3, "910b4", 3, "refused"), ("Ascend910_9392", 3, "a3", 3, "refused")],
)
def test_names_and_sizes(tmp_path, soc, memory_gb, name, usable, mode):
    code, out, err = on_card(soc, memory_gb, "-c", ASK, directory=tmp_path)
    assert code == 0, err[-2000:]
    found = re.search(r"^found (\S+) (\S+) (\d+) (\d+)$", out, re.MULTILINE)
    assert found and found[1] == soc and found[2] == name and int(found[3]) == usable
    assert re.search(r"^bandwidth (8|16)00000000000\.0$", out, re.MULTILINE)
    assert re.search(rf"^{mode} ", out, re.MULTILINE)
    # MindSpore's pool stops where the memory check says that it does
    held, limit, free = map(float, re.search(r"^pool (\S+) (\S+) (\S+)$", out, re.MULTILINE).groups())
    assert limit - 1 < held <= limit < memory_gb and 0 <= free < 1


def test_a_card_of_32_gb_refuses_what_does_not_fit_before_it_loads(tmp_path):
    """There are no weights in the directory: nothing was read."""
    (tmp_path / "config.json").write_text((ROOT / "configs" / "released" / "instruct.json").read_text())
    load = "from ms_omni import OmniEngine; OmniEngine.from_pretrained('.', device='Ascend')"
    code, _, err = on_card("Ascend910B4", 32, "-c", load, directory=tmp_path)
    last = err.strip().splitlines()[-1]
    assert code and "--model .: its weights need 65.7 GiB" in last and "--parallel none on 1 card" in last
    assert "with ms-omni launch --cards 4 and --parallel" in last and "GiB are free" in last
