"""Code2Wav on the CPU: mindone's cells as numpy arrays, and streams that continue where they stopped.

mindone's operators took more than three times as long as torch, and made every piece of a stream together with the
frames before it that convolutions look back at. Here every frame is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mindspore import Tensor

from ms_omni.kernels.cpu_arrays import float32_array
from ms_omni.kernels.matmul import matmul
from ms_omni.kernels.numpy_activations import gelu, layer_norm
from ms_omni.kernels.numpy_codec_transformer import CodecTransformer
from ms_omni.kernels.numpy_conv import CausalConv, ResidualUnit, Snake, Upsampling, spans
from ms_omni.kernels.numpy_decoder_block import DecoderBlock
from ms_omni.models.parts_cpu import Parts


class CpuWaveDecoder:
    """Decodes pieces of several streams together; they lie side by side, without padding."""

    context = 0  # frames that are decoded once more with each piece
    # Frames of all streams in one call: more are hardly faster, and would delay the first stream
    most_together = 16

    def __init__(self, model: Any):
        """model: a corrected Code2Wav."""
        self._model, self._parts = model, Parts(model)
        # Of the embeddings: each code of a frame has its own
        self._first_rows = np.arange(model.config.num_quantizers)[:, None] * model.config.codebook_size

    def new_stream(self) -> dict[str, Any]:
        """The state of a new stream: by the name of each part, what it keeps of earlier pieces."""
        return {}

    def decode(self, streams: Sequence[dict[str, Any]], codes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """codes: int32 (num_quantizers, frames), the next ones of each stream. The next piece of each wave, float32
        (samples,) in [-1, 1]."""
        model, lengths = self._model, [piece.shape[1] for piece in codes]
        x = self._embed(np.concatenate(codes, axis=1))
        transformer = CodecTransformer(model.pre_transformer, self._parts)
        x = transformer(x, lengths, _states(streams, "transformer", transformer))
        for index, cells in enumerate(model.upsample):
            stage = self._parts(f"upsample.{index}", _UpsamplingStage, *cells)
            x, lengths = stage(x, lengths, _states(streams, f"upsample.{index}", stage))
        first, *blocks, snake, last = model.decoder
        conv = self._parts("first", _causal_conv, first)
        x = conv(x.T, lengths, _states(streams, "first", conv))
        for index, cell in enumerate(blocks):
            head = (snake, last) if index == len(blocks) - 1 else ()
            block = self._parts(f"block.{index}", _decoder_block, cell, *head)
            x, lengths = block(x, lengths, _states(streams, f"block.{index}", block))
        return [np.clip(x[0, start:end], -1, 1) for start, end in spans(lengths)]

    def _embed(self, codes: np.ndarray) -> np.ndarray:
        """codes: int32 (num_quantizers, frames). The mean of each frame's embeddings, (frames, hidden)."""
        if not self._parts.are_kept:
            return self._model.embed(Tensor(codes[None])).asnumpy()[0]
        table = self._parts("embedding", float32_array, self._model.code_embedding.weight)
        return table[codes + self._first_rows].mean(0)


def _states(streams: Sequence[dict[str, Any]], name: str, part: Any) -> list[Any]:
    for stream in streams:
        if name not in stream:
            stream[name] = part.new_state()
    return [stream[name] for stream in streams]


class _UpsamplingStage:
    """A transposed convolution whose steps do not overlap, and a ConvNeXt block (arXiv:2201.03545). Arrays are (steps,
    channels), the steps of several streams concatenated."""

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

    def new_state(self) -> np.ndarray:
        return np.zeros((self.depthwise.shape[2] - 1, self.depthwise.shape[0]), np.float32)

    def __call__(
        self, x: np.ndarray, lengths: Sequence[int], tails: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, list[int]]:
        """The steps that come out, and how many of each stream. tails: brought up to date."""
        steps, lengths = len(x) * self.rate, [length * self.rate for length in lengths]
        x = matmul(x, self.spread).reshape(len(x), -1, self.rate).swapaxes(1, 2).reshape(steps, -1)
        x += self.bias
        inner = matmul(layer_norm(self._depthwise(x, lengths, tails), *self.norm), self.wide)
        inner += self.wide_bias
        gelu(inner)
        inner = matmul(inner, self.narrow)
        inner += self.narrow_bias
        inner *= self.gamma
        x += inner
        return x, lengths

    def _depthwise(self, x: np.ndarray, lengths: Sequence[int], tails: Sequence[np.ndarray]) -> np.ndarray:
        out = np.broadcast_to(self.depthwise_bias, x.shape).copy()
        for (start, end), tail in zip(spans(lengths), tails, strict=True):
            seen = np.concatenate([tail, x[start:end]])
            tail[...] = seen[end - start :]
            for place in range(self.depthwise.shape[2]):
                out[start:end] += seen[place : place + end - start] * self.depthwise[:, 0, place]
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
