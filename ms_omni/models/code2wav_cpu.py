"""Code2Wav on the CPU: mindone's cells read as numpy arrays, and streams that go on where they stopped.

By mindone's operators, one after the other, a wave took three times as long as with torch and more, and every piece of
a stream was made together with the frames before it that convolutions look back at. Here a frame goes through all once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor

from ms_omni.kernels.cpu_arrays import float32_array
from ms_omni.kernels.numpy_activations import gelu, layer_norm
from ms_omni.kernels.numpy_codec_transformer import CodecTransformer
from ms_omni.kernels.numpy_conv import CausalConv, ResidualUnit, Snake, Upsampling
from ms_omni.kernels.numpy_decoder_block import DecoderBlock
from ms_omni.models.parts_cpu import Parts


class CpuWaveDecoder:
    """Decodes streams that began together, piece by piece."""

    def __init__(self, model: Any, parts: Parts, batch: int = 1):
        """model: a corrected Code2Wav, and its `parts`."""
        self._model, self._parts, self._batch = model, parts, batch
        self._kept: dict[str, Any] = {}  # of every part, what it needs of the pieces before

    def decode(self, codes: Tensor) -> Tensor:
        """codes: int32, (batch, num_quantizers, frames), the next ones. The next piece of every wave, float32 (batch,
        1, samples) in [-1, 1]: 1920 a frame, 555 fewer in the first."""
        model = self._model
        x = model.embed(codes).asnumpy()
        transformer = CodecTransformer(model.pre_transformer, self._parts)
        x = transformer(x, self._state("transformer", transformer))
        for index, cells in enumerate(model.upsample):
            stage = self._parts(f"upsample.{index}", _UpsamplingStage, *cells)
            x = stage(x, self._state(f"upsample.{index}", stage))
        first, *blocks, snake, last = model.decoder
        conv = self._parts("first", _causal_conv, first)
        tails = self._state("first", conv)
        x = np.stack([conv(steps.T, tail) for steps, tail in zip(x, tails, strict=True)])
        for index, cell in enumerate(blocks):
            head = (snake, last) if index == len(blocks) - 1 else ()
            block = self._parts(f"block.{index}", _decoder_block, cell, *head)
            x = block(x, self._state(f"block.{index}", block))
        return Tensor.from_numpy(np.clip(x, -1, 1, out=x))

    def _state(self, name: str, part: Any) -> Any:
        if name not in self._kept:
            self._kept[name] = part.new_state(self._batch)
        return self._kept[name]


class _UpsamplingStage:
    """A transposed convolution whose steps do not overlap, and a ConvNeXt block (arXiv:2201.03545). Arrays are (batch,
    steps, channels)."""

    def __init__(self, upsampling: Any, block: Any):
        weight = float32_array(upsampling.conv.weight)
        if weight.shape[2] != upsampling.conv.stride[-1]:
            raise ValueError(f"a kernel of {weight.shape[2]}: expected its stride, {upsampling.conv.stride[-1]}")
        self.spread = weight.reshape(weight.shape[0], -1)
        self.bias, self.rate = float32_array(upsampling.conv.bias), weight.shape[2]
        self.depthwise, self.depthwise_bias = (
            float32_array(x) for x in (block.dwconv.conv.weight, block.dwconv.conv.bias)
        )
        self.norm = (float32_array(block.norm.weight), float32_array(block.norm.bias), block.norm.eps)
        self.wide, self.wide_bias = float32_array(block.pwconv1.weight).T, float32_array(block.pwconv1.bias)
        self.narrow, self.narrow_bias = float32_array(block.pwconv2.weight).T, float32_array(block.pwconv2.bias)
        self.gamma = float32_array(block.gamma)

    def new_state(self, batch: int) -> np.ndarray:
        return np.zeros((batch, self.depthwise.shape[2] - 1, self.depthwise.shape[0]), np.float32)

    def __call__(self, x: np.ndarray, tail: np.ndarray) -> np.ndarray:
        batch, steps, _ = x.shape
        x = (x @ self.spread).reshape(batch, steps, -1, self.rate).swapaxes(2, 3).reshape(batch, steps * self.rate, -1)
        x += self.bias
        inner = layer_norm(self._depthwise(x, tail), *self.norm) @ self.wide
        inner += self.wide_bias
        gelu(inner)
        inner = inner @ self.narrow
        inner += self.narrow_bias
        inner *= self.gamma
        x += inner
        return x

    def _depthwise(self, x: np.ndarray, tail: np.ndarray) -> np.ndarray:
        seen = np.concatenate([tail, x], axis=1)
        tail[...] = seen[:, x.shape[1] :]
        out = np.broadcast_to(self.depthwise_bias, x.shape).copy()
        for place in range(self.depthwise.shape[2]):
            out += seen[:, place : place + x.shape[1]] * self.depthwise[:, 0, place]
        return out


def _decoder_block(cell: Any, *head: Any) -> DecoderBlock:
    """head: of the last block, the activation and the convolution behind it."""
    snake, transposed, *units = cell.block
    conv = transposed.conv
    upsampling = Upsampling(_snake(snake), float32_array(conv.weight), float32_array(conv.bias), conv.stride[-1])
    residual = [
        ResidualUnit(_snake(unit.act1), _causal_conv(unit.conv1), _snake(unit.act2), _causal_conv(unit.conv2))
        for unit in units
    ]
    return DecoderBlock(upsampling, residual, (_snake(head[0]), _causal_conv(head[1])) if head else None)


def _snake(cell: Any) -> Snake:
    return Snake(float32_array(cell.alpha), float32_array(cell.beta), cell.no_div_by_zero)


def _causal_conv(cell: Any) -> CausalConv:
    return CausalConv(float32_array(cell.conv.weight), float32_array(cell.conv.bias), int(cell.dilation))
