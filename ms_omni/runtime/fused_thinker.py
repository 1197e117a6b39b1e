"""The Thinker's loop: a prefill, then several tokens a call of one compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from ms_omni.models.thinker import host
from ms_omni.runtime.decoder import KeyValueCache, StackedDecoder
from ms_omni.runtime.results import ThinkerResult
from ms_omni.runtime.sampling import UniformStream, Warp, pick

# Tokens of one call: one hand-over to the device and back for as many. More make the compilation longer.
TOKENS_PER_CALL = 4
RANDOM_STAGE = 0


class ThinkerGraph(nn.Cell):
    """TOKENS_PER_CALL decode steps in one graph."""

    def __init__(
        self, decoder: StackedDecoder, shell: Any, cache: KeyValueCache, warp: Warp, accept_layer: int
    ) -> None:
        super().__init__()
        self.decoder, self.cache = decoder, cache
        self.embed, self.head = shell.model.embed_tokens.weight, shell.lm_head.weight
        self.temperature, self.top_k, self.top_p = warp.temperature, warp.top_k, warp.top_p
        self.accept_layer, self.num_steps = accept_layer, TOKENS_PER_CALL

    @ms.jit(jit_level="O0")
    def construct(self, token: Tensor, position: Tensor, rope_position: Tensor, uniform: Tensor) -> Any:
        """token: int32 (1,), the last one. position: int32 (), its cache row; rope_position: float32 (). uniform:
        float32 (steps,). Returns the next ones, int32 (steps,), and of the tokens read the embeddings and the hidden
        states at the accepted layer, (steps, hidden) each."""
        tokens: Any = ()
        embeds: Any = ()
        kept: Any = ()
        for step in range(self.num_steps):
            x = ops.gather(self.embed, token, 0)
            hidden, accepted = self.decoder.decode_and_keep(
                x, rope_position + step, position + step, self.cache, self.accept_layer
            )
            logits = self.decoder.ops.linear(hidden, self.head).astype(ms.float32)
            token = pick(logits, uniform[step], self.temperature, self.top_k, self.top_p)
            tokens, embeds, kept = tokens + (token,), embeds + (x,), kept + (accepted,)
        return ops.concat(tokens, 0), ops.concat(embeds, 0), ops.concat(kept, 0)


class FusedThinker:
    """Graphs of one Thinker, kept by cache capacity and way of picking."""

    def __init__(self, shell: Any, decoder: StackedDecoder, accept_layer: int, dtype: Any):
        """shell: a corrected Thinker without decoder layers: encoders, embeddings, head."""
        self.shell, self.decoder, self.accept_layer, self.dtype = shell, decoder, accept_layer, dtype
        self._graphs: dict[tuple[int, Warp], ThinkerGraph] = {}
        self._caches: dict[int, KeyValueCache] = {}

    def run(
        self,
        inputs: Mapping[str, Any],
        warp: Warp,
        max_new_tokens: int,
        stop_ids: list[int],
        seed: int | None,
        *,
        use_audio_in_video: bool,
        keep_hidden: bool,
        on_tokens: Callable[[list[int]], None],
    ) -> ThinkerResult:
        """The answer's ids. inputs: what the processor made, cast. stop_ids: empty to run to the maximum."""
        ids = host(inputs["input_ids"])
        num_prompt = ids.shape[1]
        cache = self._cache(num_prompt + max_new_tokens + TOKENS_PER_CALL)
        graph = self._graph(cache, warp)
        uniforms = UniformStream(seed, RANDOM_STAGE)
        hidden, embeds, accepted, delta = self._prefill(inputs, ids, cache, use_audio_in_video)
        logits = self.decoder.ops.linear(hidden[-1:], self.shell.lm_head.weight).astype(ms.float32)
        token = pick(logits, uniforms.draw(1)[0], warp.temperature, warp.top_k, warp.top_p)
        tokens = token.asnumpy().tolist()
        on_tokens(tokens[:])
        kept = [(embeds, accepted)]
        while len(tokens) < max_new_tokens and tokens[-1] not in stop_ids:
            position = num_prompt + len(tokens) - 1
            made, step_embeds, step_accepted = graph(
                token, Tensor(position, ms.int32), Tensor(position + delta, ms.float32), uniforms.draw(TOKENS_PER_CALL)
            )
            token = made[-1:]
            fresh = _until_stop(made.asnumpy().tolist()[: max_new_tokens - len(tokens)], stop_ids)
            kept.append((step_embeds[: len(fresh)], step_accepted[: len(fresh)]))
            tokens += fresh
            on_tokens(fresh)
        reason = "stop" if tokens[-1] in stop_ids else "length"
        if not keep_hidden:
            return ThinkerResult(tokens, reason)
        read = [mint.cat([pair[i] for pair in kept], dim=0).unsqueeze(0) for i in range(2)]
        return ThinkerResult(tokens, reason, embeds=read[0], hidden=read[1])

    def _prefill(
        self, inputs: Mapping[str, Any], ids: np.ndarray, cache: KeyValueCache, use_audio_in_video: bool
    ) -> Any:
        shell, media = self.shell, inputs.get
        features = shell.encode_media(
            media("input_features"), media("feature_attention_mask"), media("pixel_values"), media("image_grid_thw"),
            media("pixel_values_videos"), media("video_grid_thw"),
        )  # fmt: skip
        embeds, deepstack = shell.merge_media(ids, shell.get_input_embeddings()(inputs["input_ids"]), *features)
        mask = media("feature_attention_mask")
        positions, delta = shell.host_rope_index(
            ids, media("image_grid_thw"), media("video_grid_thw"), use_audio_in_video,
            None if mask is None else host(mask).sum(-1), media("video_second_per_grid"),
        )  # fmt: skip
        levels = [level[0] for level in deepstack or []]
        hidden, accepted = self.decoder.prefill(embeds[0], positions, cache, levels, self.accept_layer)
        return hidden, embeds[0], accepted, delta

    def _cache(self, needed: int) -> KeyValueCache:
        capacity = max(256, 1 << (needed - 1).bit_length())
        if capacity not in self._caches:
            self._caches[capacity] = KeyValueCache(self.decoder.spec, capacity, self.dtype, f"thinker_{capacity}")
        return self._caches[capacity]

    def _graph(self, cache: KeyValueCache, warp: Warp) -> ThinkerGraph:
        key = (cache.capacity, warp)
        if key not in self._graphs:
            self._graphs[key] = ThinkerGraph(self.decoder, self.shell, cache, warp, self.accept_layer)
        return self._graphs[key]


def _until_stop(tokens: list[int], stop_ids: list[int]) -> list[int]:
    """The tokens up to and with the first that ends the answer."""
    for place, token in enumerate(tokens):
        if token in stop_ids:
            return tokens[: place + 1]
    return tokens
