"""A decoder over rows and its sampler whose launches MindSpore captures, beside the same ones uncaptured: a JSON line
for each call, with the number of rows, whether both picked the same ids, and what the card was asked for by the
captured one. captured_rows.py LAYERS ROWS,ROWS,..."""

import json
import sys

import mindspore as ms
import numpy as np
from ascend_emulator import trace
from mindspore import Parameter, Tensor, nn

from ms_omni.kernels import setup_device

setup_device("Ascend")
ms.runtime.set_kernel_launch_capture(True, op_capture_skip=["moveto"])

import row_decoder  # noqa: E402  it makes tensors

from ms_omni.runtime.sampling import Sampling, SamplingTensors  # noqa: E402

OPS, DTYPE, VOCABULARY = row_decoder.layer_ops, ms.bfloat16, 300
SAMPLING = Sampling(temperature=0.8, top_k=40, top_p=0.9)


class Step(nn.Cell):
    """The next id of each row."""

    def __init__(self, num_layers, num_blocks):
        super().__init__()
        weights = row_decoder.random_weights(num_layers, DTYPE)
        self.decoder = row_decoder.RowDecoder(weights, num_blocks, DTYPE)
        head = np.random.default_rng(1).standard_normal((VOCABULARY, row_decoder.HIDDEN))
        self.head = Parameter(row_decoder.half(head, DTYPE), name="head")
        self.sampler = OPS.Sampler(1, VOCABULARY, OPS.num_kept(SAMPLING.top_k, VOCABULARY), "step")

    def construct(self, x, rope_positions, slots, block_tables, batch_valid_length, uniform, temperature, top_k, top_p):
        hidden = self.decoder(x, rope_positions, slots, block_tables, batch_valid_length)
        logits = OPS.linear(hidden, self.head).astype(ms.float32)
        return self.sampler(logits, uniform, temperature, top_k, top_p)


def compiled(num_layers, num_blocks, phase):
    """Of as many rows as it is given."""

    def rows_of(dtype, *shape):
        return Tensor(shape=(None, *shape), dtype=dtype)

    step = Step(num_layers, num_blocks)
    step.set_train(False)
    if phase:
        step.phase = phase
    numbers, places = rows_of(ms.float32), rows_of(ms.int32)
    x, tables = rows_of(DTYPE, row_decoder.HIDDEN), rows_of(ms.int32, row_decoder.MAX_BLOCKS)
    step.set_inputs(x, numbers, places, tables, places, numbers, numbers, places, numbers)
    return ms.jit(function=step, **OPS.JIT_OPTIONS)


def main(num_layers, batches):
    rows = row_decoder.Rows.of([1 + 40 * i % 300 for i in range(max(batches))])
    plain, captured = (compiled(num_layers, rows.num_blocks, phase) for phase in ("", "increment"))
    rng = np.random.default_rng(2)
    for count in batches:
        x = row_decoder.half(rng.standard_normal((count, row_decoder.HIDDEN)), DTYPE)
        slots = rows.grow()
        places = (part.asnumpy()[:count] for part in rows.inputs(slots))
        settings = SamplingTensors.of([SAMPLING] * count, VOCABULARY, OPS)
        inputs = (x, *map(Tensor, places), Tensor(rng.random(count, np.float32)), *settings.tensors)
        expected = plain(*inputs).asnumpy()
        ms.runtime.synchronize()
        trace.reset()
        ids = captured(*inputs)
        ms.runtime.synchronize()
        counts, launches = trace.counts(), trace.launches()
        replays = counts.get("capture execute", 0)
        replayed = sum(times for name, times in counts.items() if name.startswith("replayed"))
        same = ids.asnumpy().tolist() == expected.tolist()
        print(json.dumps({"rows": count, "same": same, "replays": replays, "replayed": replayed, "launches": launches}))


main(int(sys.argv[1]), [int(count) for count in sys.argv[2].split(",")])
