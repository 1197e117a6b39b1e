"""A compiled cell whose launches MindSpore captures on its second call and replays afterwards; prints what was asked of
the card at each call, and how far the result is from numpy's. captured_graph.py"""

import json

import mindspore as ms
import numpy as np
from ascend_emulator import trace
from mindspore import Parameter, Tensor, nn, ops

from ms_omni.kernels import setup_device

setup_device("Ascend")
ms.set_context(jit_config={"jit_level": "O0", "infer_boost": "on"})
ms.runtime.set_kernel_launch_capture(True)
RNG = np.random.default_rng(0)


def half(*shape):
    return Tensor(RNG.standard_normal(shape).astype(np.float32) * 0.3).astype(ms.float16)


class Cell(nn.Cell):
    def __init__(self):
        super().__init__()
        self.weight, self.product = Parameter(half(64, 64), name="weight"), ops.MatMul(transpose_b=True)

    def construct(self, x):
        return x + self.product(ops.rms_norm(x, ops.ones((64,), ms.float16), 1e-6)[0], self.weight)


cell = Cell()
cell.set_train(False)
cell.phase = "increment"
cell.set_inputs(Tensor(shape=(None, 64), dtype=ms.float16))
run = ms.jit(function=cell, jit_level="O0", infer_boost="on")
weight = cell.weight.astype(ms.float32).asnumpy()
for _ in range(4):
    x = half(4, 64)
    ms.runtime.synchronize()
    trace.reset()
    y = run(x).astype(ms.float32).asnumpy()
    counts = trace.counts()
    values = x.astype(ms.float32).asnumpy()
    want = values + values / np.sqrt((values**2).mean(-1, keepdims=True) + 1e-6) @ weight.T
    kinds = ("capture", "replayed", "internal", "aclnn")
    seen = {name: times for name, times in counts.items() if name.startswith(kinds)}
    print(json.dumps({"error": float(np.abs(y - want).max()), **seen}))
