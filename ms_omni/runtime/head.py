"""The output head: logits of a vocabulary, whose rows may be split over the ranks."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ms_omni.kernels.numpy_math import product
from ms_omni.parallel.vocabulary import joined, logits
from ms_omni.parallel.world import World


class Head(nn.Cell):
    """Traced into the graphs that call it, where layers are made of operators. Where layers are numpy kernels, those
    use `array`, (hidden, rows), and the cell is called outside graphs only."""

    def __init__(self, weight: Any, table: Any, world: World, num_rows: int, in_numpy: bool) -> None:
        """weight: the head's Parameter, (rows, hidden), as `vocabulary.logits` takes it. table: the embeddings'
        Parameter, which may be the same."""
        super().__init__(auto_prefix=False)
        self.weight, self.world, self.num_rows = weight, world, num_rows
        self.array = transposed_weight(weight, weight is table) if in_numpy else None

    def construct(self, hidden: Tensor) -> Tensor:
        """hidden: (n, hidden), normed. float32 (n, num_rows)."""
        if self.array is not None:
            return self.of_parts(Tensor.from_numpy(product(hidden.float().asnumpy(), self.array)))
        return logits(hidden, self.weight, self.world, self.num_rows).astype(ms.float32)

    def of_parts(self, scores: Tensor) -> Tensor:
        """scores: float32 (n, rows), of this rank's rows. (n, num_rows)."""
        return joined(scores, self.world, self.num_rows)


def transposed_weight(weight: Any, is_shared: bool = False) -> np.ndarray:
    """The float32 values of a Parameter (out, in) as (in, out). The Parameter takes over this memory and shape, so that
    the weight exists once. is_shared: something else reads the Parameter as it is; then this is a view."""
    values = weight.float().asnumpy()
    if is_shared:
        return values.T
    turned = np.ascontiguousarray(values.T)
    weight.set_dtype(ms.float32)
    weight.set_data(Tensor.from_numpy(turned), slice_shape=True)
    return turned
