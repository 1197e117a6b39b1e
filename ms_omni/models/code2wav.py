"""mindone 0.5.0's Code2Wav, corrected: several streams in one call, chunks that join without loss, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav
from mindspore import Tensor, mint

from ms_omni.kernels.device import on_cpu
from ms_omni.limits import CHUNK_FRAMES
from ms_omni.models.code2wav_cpu import CpuWaveDecoder
from ms_omni.models.code2wav_rings import WaveDecoder
from ms_omni.models.code2wav_sizes import together


class Code2Wav(Qwen3OmniMoeCode2Wav):
    """Turns codec frames into a wave, in one go or in chunks, with the same samples.

    transformers 4.57.1 and mindone 0.5.0 lose 555 samples (23 ms, a click) at every boundary of `chunked_decode`: a
    chunk with `c` frames of context starts at sample `c * 1920 - 555` of its own wave, not at `c * 1920`. Their 25
    frames of context are also fewer than the attention window of 72 frames in each of 8 layers, so samples differ.
    """

    def construct(self, codes: Tensor) -> Tensor:
        """codes: int32 (1, num_quantizers, frames). float32 (1, 1, samples) in [-1, 1], decoded in one go."""
        return next(self.chunks(codes, codes.shape[-1]))

    def chunked_decode(
        self, codes: Tensor, chunk_size: int = CHUNK_FRAMES, left_context_size: int | None = None
    ) -> Tensor:
        """(1, 1, frames * 1920 - 555), decoded `chunk_size` frames at a time; always the single shot.
        left_context_size, of mindone's signature, changes nothing: a stream keeps all that later frames look back
        at."""
        return mint.cat(list(self.chunks(codes, chunk_size)), dim=-1)

    def chunks(self, codes: Tensor, chunk_frames: int = CHUNK_FRAMES) -> Iterator[Tensor]:
        """Pieces (1, 1, n), one for every `chunk_frames` frames; concatenated they are the wave decoded in one go."""
        stream = self.new_stream()
        for start in range(0, codes.shape[-1], chunk_frames):
            for _, wave in self.decode([stream], [codes[0, :, start : start + chunk_frames].asnumpy()]):
                yield Tensor(wave[None, None])

    def new_stream(self) -> Any:
        """The state of a new wave, for `decode`; of a fixed size."""
        return self._decoder.new_stream()

    def decode(self, streams: Sequence[Any], codes: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Decodes the next frames of several streams. codes: int32 (num_quantizers, frames) of each; the numbers of
        frames may differ. Yields, as soon as they are made, the number of a stream and the next piece of its wave,
        float32 (samples,) in [-1, 1]: 1920 samples a frame, 555 fewer in the first piece. Streams are decoded together
        only as far as that takes no more memory than CHUNK_FRAMES of one stream. Raises ValueError for another number
        of codes a frame."""
        decoder, expected = self._decoder, self.config.num_quantizers
        for piece in codes:
            if len(piece) != expected:
                raise ValueError(f"expected {expected} codes a frame, got {len(piece)}")
        for numbers in together([piece.shape[1] for piece in codes], decoder.context, decoder.most_together):
            made = decoder.decode([streams[number] for number in numbers], [codes[number] for number in numbers])
            yield from zip(numbers, made, strict=True)

    @cached_property
    def _decoder(self) -> CpuWaveDecoder | WaveDecoder:
        return CpuWaveDecoder(self) if on_cpu() else WaveDecoder(self)

    def embed(self, codes: Tensor) -> Tensor:
        """codes: int32 (batch, num_quantizers, frames). (batch, frames, hidden), the mean of each frame's
        embeddings."""
        return self.code_embedding(codes + self.code_offset).mean(1)

    def transform(self, codes: Tensor, cache: Any, places: Tensor, mask: Tensor) -> Tensor:
        """Embeds codes and runs the transformer: (batch, frames, hidden). cache: `update` takes each layer's new keys
        and values, and returns all that are attended to. places: int32 (batch, frames), positions. mask: (batch, 1,
        frames, keys), added to the scores."""
        outputs = self.pre_transformer(
            inputs_embeds=self.embed(codes),
            attention_mask={"full_attention": mask, "sliding_attention": mask},
            position_ids=places,
            cache_position=places,
            past_key_values=cache,
            use_cache=True,
        )
        return outputs.last_hidden_state

    def to_wave(self, hidden: Tensor) -> Tensor:
        """(batch, frames, hidden) to (batch, 1, frames * 1920 - 555)."""
        wave = hidden.permute(0, 2, 1)
        for stage in self.upsample:
            for block in stage:
                wave = block(wave)
        for block in self.decoder:
            wave = block(wave)
        return wave.clamp(min=-1, max=1)
