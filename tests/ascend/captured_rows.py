"""A graph as a Talker's, whose launches MindSpore captures, beside the same one uncaptured: a frame's codes, each from
those before it, then a decoder over rows, then its choice. Prints a JSON line for each call, with the number of rows,
whether both picked the same ids, and what the card was asked for by the captured one.

captured_rows.py LAYERS ROWS,ROWS,..."""

import json
import sys

import mindspore as ms
import numpy as np
from ascend_emulator import trace
from mindspore import Parameter, Tensor, mint, nn

from ms_omni.kernels import setup_device

setup_device("Ascend")
ms.runtime.set_kernel_launch_capture(True, op_capture_skip=["moveto"])

import row_decoder  # noqa: E402  it makes tensors

from ms_omni.runtime.sampling import Sampling, SamplingTensors  # noqa: E402

OPS, DTYPE, VOCABULARY = row_decoder.layer_ops, ms.bfloat16, 300
SAMPLING = Sampling(temperature=0.8, top_k=40, top_p=0.9)
CODES = 3


class Frame(nn.Cell):
    """CODES codes of each row by one layer of attention."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(4)
        shapes = {
            "qkv": (row_decoder.QKV, row_decoder.HIDDEN),
            "o": (row_decoder.HIDDEN, row_decoder.HEADS * row_decoder.DIM),
        }
        shapes |= {"embed": (VOCABULARY, row_decoder.HIDDEN), "head": (VOCABULARY, row_decoder.HIDDEN)}
        for name, shape in shapes.items():
            values = rng.standard_normal(shape) * (1 if name == "embed" else shape[1] ** -0.5)
            setattr(self, name, Parameter(row_decoder.half(values, DTYPE), name=f"frame.{name}"))
        self.sampler = OPS.Sampler(1, VOCABULARY, OPS.num_kept(SAMPLING.top_k, VOCABULARY), "frame")

    def construct(self, x, uniform, temperature, top_k, top_p):
        """x: (rows, hidden). The sum of what the codes are, (rows, hidden), and the codes, int32 (rows,) each."""
        total, codes, keys, values = x, (), None, None
        for i in range(CODES):
            q, k, v = OPS.split_qkv(OPS.linear(x, self.qkv), row_decoder.HEADS, row_decoder.KV_HEADS)
            if i == 0:
                keys = k.reshape(-1, row_decoder.KV_HEADS, 1, row_decoder.DIM)
                values = v.reshape(-1, row_decoder.KV_HEADS, 1, row_decoder.DIM)
            else:
                keys, values = row_decoder.paged.extend_frame(keys, k), row_decoder.paged.extend_frame(values, v)
            attended = row_decoder.paged.frame_attention(q, keys, values, row_decoder.SCALE)
            logits = OPS.linear(OPS.linear(attended, self.o), self.head).astype(ms.float32)
            code = self.sampler(logits, uniform, temperature, top_k, top_p)
            x = mint.nn.functional.embedding(code, self.embed)
            total, codes = total + x, (*codes, code)
        return total, codes


class Step(nn.Cell):
    """A frame's codes, and the next id of each row."""

    def __init__(self, num_layers, num_blocks):
        super().__init__()
        weights = row_decoder.random_weights(num_layers, DTYPE)
        self.decoder = row_decoder.RowDecoder(weights, num_blocks, DTYPE, 1)
        head = np.random.default_rng(1).standard_normal((VOCABULARY, row_decoder.HIDDEN))
        self.head = Parameter(row_decoder.half(head, DTYPE), name="head")
        self.frame = Frame()
        self.sampler = OPS.Sampler(1, VOCABULARY, OPS.num_kept(SAMPLING.top_k, VOCABULARY), "step")

    def construct(self, x, rope_positions, block_tables, batch_valid_length, uniform, temperature, top_k, top_p):
        x, codes = self.frame(x, uniform, temperature, top_k, top_p)
        hidden = self.decoder(x, rope_positions, block_tables, batch_valid_length)
        logits = OPS.linear(hidden, self.head).astype(ms.float32)
        token = self.sampler(logits, uniform, temperature, top_k, top_p)
        # One output, made at the end: an earlier one would be freed before a replay has made it
        return mint.cat((*codes, token))


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
    step.set_inputs(x, numbers, tables, places, numbers, numbers, places, numbers)
    return ms.jit(function=step, **OPS.JIT_OPTIONS)


def main(num_layers, batches):
    rows = row_decoder.Rows.of([1 + 40 * i % 300 for i in range(max(batches))])
    plain, captured = (compiled(num_layers, rows.num_blocks, phase) for phase in ("", "increment"))
    rng = np.random.default_rng(2)
    for count in batches:
        x = row_decoder.half(rng.standard_normal((count, row_decoder.HIDDEN)), DTYPE)
        places = (part.asnumpy()[:count] for part in rows.grow())
        settings = SamplingTensors.of([SAMPLING] * count, VOCABULARY, OPS)
        inputs = (x, *map(Tensor, places), Tensor(rng.random(count, np.float32)), *settings.tensors)
        expected = plain(*inputs).asnumpy().tolist()
        ms.runtime.synchronize()
        trace.reset()
        made = captured(*inputs)
        ms.runtime.synchronize()
        counts, launches = trace.counts(), trace.launches()
        replays = counts.get("capture execute", 0)
        replayed = sum(times for name, times in counts.items() if name.startswith("replayed"))
        same = made.asnumpy().tolist() == expected
        print(json.dumps({"rows": count, "same": same, "replays": replays, "replayed": replayed, "launches": launches}))


main(int(sys.argv[1]), [int(count) for count in sys.argv[2].split(",")])
