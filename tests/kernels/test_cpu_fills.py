"""Every CPU fill against numpy; what MindSpore makes of the same without the fills; the installation itself."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from cpu_cases import CASES, verdict

from ms_omni.mindspore_version import TESTED

OWNERS = {
    "mindspore.mint": "mint",
    "mindspore.mint.nn.functional": "F",
    "mindspore.Tensor": "Tensor",
    "mindspore.mint.nn.layer.conv": "layer",
}
# Right without the fill, but a cast takes MindSpore 0.5 ms on CPU and clamp makes two: numpy takes 10 us.
SLOW = {f"Tensor.{name}" for name in ("to", "astype", "float", "int", "long", "bool", "clamp", "clip")}


@pytest.fixture(autouse=True)
def on_cpu(cpu):
    pass


@pytest.fixture(scope="module")
def fills():
    from ms_omni.kernels.cpu_table import FILLS

    return {f"{OWNERS[fill.owner]}.{fill.name}" for fill in FILLS}


@pytest.mark.parametrize("case", CASES, ids=[case[1] for case in CASES])
def test_fill_equals_numpy(case):
    assert verdict(case) == "right"


def test_every_fill_has_a_case_and_every_case_a_fill(fills):
    assert {case[0] for case in CASES} == fills


def test_without_the_fill_mindspore_fails_or_is_wrong(fills):
    program = Path(__file__).with_name("cpu_cases.py")
    run = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=600, check=True)
    verdicts = json.loads(run.stdout.splitlines()[-1])
    needless = fills - {case[0] for case, said in zip(CASES, verdicts, strict=True) if said != "right"}
    if metadata.version("mindspore").startswith(TESTED):
        assert needless == SLOW
    else:  # later ones have more kernels
        assert needless >= SLOW


def test_installing_again_changes_nothing():
    import mindspore as ms

    from ms_omni.kernels.cpu import install_cpu_kernels

    before = (ms.mint.arange, ms.Tensor.__getitem__, ms.Tensor.clone)
    install_cpu_kernels()
    assert before == (ms.mint.arange, ms.Tensor.__getitem__, ms.Tensor.clone)


def test_other_devices_are_left_alone(monkeypatch):
    import mindspore as ms

    from ms_omni.kernels.cpu import install_cpu_kernels

    monkeypatch.setattr(ms, "get_context", lambda key: "Ascend")
    with pytest.raises(RuntimeError, match="the device target is Ascend"):
        install_cpu_kernels()


def test_names_imported_before_the_installation_are_replaced():
    import mindspore as ms
    from mindspore.mint.nn.layer import conv
    from mindspore.ops.function import nn_func

    from ms_omni.kernels import cpu_conv, cpu_nn

    assert ms.ops.layer_norm is cpu_nn.layer_norm
    assert conv.pad_ext is nn_func.pad_ext is cpu_nn.pad
    assert conv.conv_transpose2d is cpu_conv.conv_transpose2d


@pytest.mark.parametrize(
    "expression",
    [
        "x.clone()",
        "x.repeat(1)",
        "F.pad(x, (0, 0))",
        "mint.cat([x])",
        "mint.stack([x])[0]",
        "mint.clamp(x, 0, 9)",
        "x.masked_fill(x > 9, 0)",
        "mint.repeat_interleave(x, 1)",
        "x[x > -1]",
    ],
)
def test_a_fill_shares_no_memory_with_its_input(expression):
    from mindspore import Tensor, mint

    x = Tensor(np.arange(3, dtype=np.float32))
    eval(expression, {"x": x, "mint": mint, "F": mint.nn.functional}).fill_(7)
    assert x.asnumpy().tolist() == [0, 1, 2]


def test_jit_still_compiles_what_it_could():
    import mindspore as ms
    from mindspore import Tensor, mint

    @ms.jit
    def compiled(x):
        return mint.cat([x.clamp(0, 1), mint.ones((2, 2)), mint.where(x > 0, x, mint.zeros((2, 2)))], -1)

    x = np.array([[-1, 2], [0.5, -3]], np.float32)
    want = np.concatenate([np.clip(x, 0, 1), np.ones((2, 2)), np.maximum(x, 0)], -1)
    np.testing.assert_array_equal(compiled(Tensor(x)).asnumpy(), want)


def test_a_tensor_whose_initializer_has_not_run_can_be_written():
    import mindspore as ms
    from mindspore.common.initializer import Normal

    lazy = ms.Tensor(shape=(2, 3), dtype=ms.float32, init=Normal())
    lazy.fill_(4)
    assert lazy.asnumpy().tolist() == [[4, 4, 4], [4, 4, 4]]


def test_writes_reach_parameters_and_views_of_them():
    import mindspore as ms

    weight = ms.Parameter(ms.Tensor(np.zeros((2, 3), np.float32)), name="weight")
    weight[1].fill_(4)
    weight.T[0] = 2
    assert weight.asnumpy().tolist() == [[2, 0, 0], [2, 4, 4]]
    assert (weight + 0).asnumpy().tolist() == [[2, 0, 0], [2, 4, 4]]
