"""mindone 0.5.0's Code2Wav, corrected: chunks that join without loss, bounded memory, any attention kernel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from mindone.transformers.cache_utils import DynamicCache
from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav
from mindspore import Tensor, mint

from ms_omni.bounds import CHUNK_FRAMES
from ms_omni.kernels.device import on_cpu
from ms_omni.models.code2wav_cpu import CpuWaveDecoder
from ms_omni.models.parts_cpu import Parts


def samples_per_frame(config: Any) -> int:
    """24 000 Hz / 12.5 frames a second = 1920 in the released model: the product of all upsampling factors."""
    return int(np.prod(list(config.upsample_rates) + list(config.upsampling_ratios)))


def missing_tail_samples(config: Any) -> int:
    """Samples by which the wave of T frames is shorter than T * samples_per_frame (555 in the released model).

    Each transposed convolution with kernel 2 * rate drops `rate` samples at either end, so its output starts one input
    step late: it needs the next input step, which the end of the speech does not have."""
    missing = 0
    for rate in config.upsample_rates:
        missing = missing * rate + rate
    return missing


def convolution_context_frames(config: Any) -> int:
    """Frames before a sample that the convolutions behind the transformer look at, rounded up."""
    context, steps_per_frame = 0.0, 1
    for ratio in config.upsampling_ratios:
        steps_per_frame *= ratio
        context += 6 / steps_per_frame  # depthwise convolution, kernel 7
    context += 6 / steps_per_frame  # first convolution of the decoder, kernel 7
    for rate in config.upsample_rates:
        context += 1 / steps_per_frame  # transposed convolution, two input steps an output
        steps_per_frame *= rate
        context += 6 * (1 + 3 + 9) / steps_per_frame  # three residual units, kernel 7, dilations 1, 3, 9
    return int(np.ceil(context + 6 / steps_per_frame)) + 1


class Code2Wav(Qwen3OmniMoeCode2Wav):
    """Turns codec frames into a wave, in one go or in chunks, with the same samples.

    transformers 4.57.1 and mindone 0.5.0 lose 555 samples (23 ms, a click) at every boundary of `chunked_decode`: a
    chunk whose context is `c` frames starts at sample `c * 1920 - 555` of its own wave, not at `c * 1920`. Their 25
    frames of context are also fewer than the 72 of the attention window, of which there are 8 layers, so samples
    differ.
    """

    def construct(self, codes: Tensor) -> Tensor:
        """codes: int32, (1, num_quantizers, frames). Returns float (1, 1, samples) in [-1, 1], the single shot."""
        if on_cpu():
            return self.new_decoder().decode(codes)
        # Without a cache mindone looks for packed sequences by a cumsum of booleans, which CANN does not have
        return self.to_wave(self.transform(codes, DynamicCache(config=self.config)))

    def chunked_decode(
        self, codes: Tensor, chunk_size: int = CHUNK_FRAMES, left_context_size: int | None = None
    ) -> Tensor:
        """(1, 1, frames * 1920 - 555), decoded `chunk_size` frames at a time: by default the single shot. A given
        `left_context_size` decodes each chunk from that many frames before it alone, as transformers does: less exact
        below the reach of the attention windows, but never shorter."""
        if left_context_size is None:
            return mint.cat(list(self.chunks(codes, chunk_size)), dim=-1)
        step, late = samples_per_frame(self.config), missing_tail_samples(self.config)
        waves = []
        for start in range(0, codes.shape[-1], chunk_size):
            context = min(left_context_size, start)
            wave = self.construct(codes[..., start - context : start + chunk_size])
            waves.append(wave[..., context * step - late if start else 0 :])
        return mint.cat(waves, dim=-1)

    def chunks(self, codes: Tensor, chunk_frames: int = CHUNK_FRAMES) -> Iterator[Tensor]:
        """Pieces (1, 1, n), one for every `chunk_frames` frames, that concatenate to the single shot."""
        decoder = self.new_decoder()
        for start in range(0, codes.shape[-1], chunk_frames):
            yield decoder.decode(codes[..., start : start + chunk_frames])

    def new_decoder(self) -> WaveDecoder | CpuWaveDecoder:
        """Of one speech, from its beginning: `decode(codes)` gives the next piece of the wave."""
        return CpuWaveDecoder(self, self._parts) if on_cpu() else WaveDecoder(self)

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self)

    def embed(self, codes: Tensor) -> Tensor:
        """codes: int32, (batch, num_quantizers, frames). (batch, frames, hidden), the mean of a frame's embeddings."""
        if codes.shape[1] != self.config.num_quantizers:
            raise ValueError(f"expected {self.config.num_quantizers} codes a frame, got {codes.shape[1]}")
        return self.code_embedding(codes + self.code_offset).mean(1)

    def transform(self, codes: Tensor, cache: Any = None, num_before: int = 0) -> Tensor:
        """Codes to hidden frames (1, frames, hidden), embedded and through the transformer.
        With mindone's cache of what `num_before` frames left, these follow those."""
        embeds = self.embed(codes)
        places = mint.arange(num_before, num_before + embeds.shape[1])
        outputs = self.pre_transformer(
            inputs_embeds=embeds, past_key_values=cache, use_cache=cache is not None, cache_position=places
        )
        return outputs.last_hidden_state

    def to_wave(self, hidden: Tensor) -> Tensor:
        """(1, frames, hidden) to (1, 1, frames * 1920 - 555)."""
        wave = hidden.permute(0, 2, 1)
        for stage in self.upsample:
            for block in stage:
                wave = block(wave)
        for block in self.decoder:
            wave = block(wave)
        return wave.clamp(min=-1, max=1)


class WaveDecoder:
    """Decodes speech piece by piece, each frame's transformer once: keeps the keys and values of the last attention
    window and the hidden frames that convolutions look back at."""

    def __init__(self, code2wav: Code2Wav):
        self._model, self._cache = code2wav, DynamicCache(config=code2wav.config)
        self._step, self._late = samples_per_frame(code2wav.config), missing_tail_samples(code2wav.config)
        self._reach = convolution_context_frames(code2wav.config)
        self._context: Tensor | None = None
        self._num_frames = 0

    def decode(self, codes: Tensor) -> Tensor:
        """codes: int32, (1, num_quantizers, frames), the next ones. The next piece of the wave, (1, 1, samples): 1920 a
        frame, 555 fewer in the first."""
        fresh = self._model.transform(codes, self._cache, self._num_frames)
        hidden = fresh if self._context is None else mint.cat([self._context, fresh], dim=1)
        num_context = hidden.shape[1] - fresh.shape[1]
        wave = self._model.to_wave(hidden)
        start = num_context * self._step - self._late if self._num_frames else 0
        self._context = hidden[:, -self._reach :]
        self._num_frames += fresh.shape[1]
        return wave[..., start:]
