"""The compiled runtime: stacked decoders in ms.jit graphs around mindone's encoders and Code2Wav."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor

from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.int8_reader import Int8Reader
from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.checkpoint.stored_reader import open_checkpoint
from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError, UnknownDecoderError
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.limits import BLOCK_SIZE, BUCKETS, PREFILL_CHUNK, TOKENS_PER_CALL
from ms_omni.models.load import load_network
from ms_omni.parallel.collectives import all_gather
from ms_omni.parallel.shards import ShardedReader
from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.table import check_world
from ms_omni.parallel.world import World
from ms_omni.runtime.cache_sizes import SHARE_OF_FREE, CacheSizes, row_bytes
from ms_omni.runtime.card import check_cores, start_capture
from ms_omni.runtime.decode_rows import bucket_of
from ms_omni.runtime.decoder import Decoder
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.device_memory import free_device_bytes
from ms_omni.runtime.device_state import DeviceState, decode_waves
from ms_omni.runtime.fused_talker import FusedTalker
from ms_omni.runtime.fused_thinker import FusedThinker
from ms_omni.runtime.graph_cache import GraphCache
from ms_omni.runtime.sampling import GREEDY, Sampling
from ms_omni.runtime.sharding import DecoderSharding
from ms_omni.runtime.talker_sampling import GREEDY_TALKER, TalkerSampling
from ms_omni.scheduling.request import Progress
from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Limits, Pool, Span
from ms_omni.stages import stage


class FusedExecutor:
    """Decodes the rows of several conversations in one graph call. An `Executor` of scheduling.steps."""

    def __init__(
        self,
        directory: Path,
        device: str,
        *,
        dtype: Any,
        attn_implementation: str,
        with_talker: bool,
        parallel: str,
        world: World,
        progress: Any = None,
        compile_cache: str | None = None,
        max_num_seqs: int | None = None,
        launch_capture: str = "none",
        quantize: str = "none",
    ):
        """directory: a checkpoint. dtype: a MindSpore float type. compile_cache: a directory for compiled graphs.
        parallel: none, zero3, ep or tp, over the groups of `world`. max_num_seqs: conversations at once, None for as
        many as fit. launch_capture: none, or the decoder whose launches are captured. quantize: none, int8 or
        int8-dynamic. Raises OmniError for decoder layers that only mindone's classes can compute, a group size that
        cannot share the model, more conversations than fit, and an Ascend host with too few cores."""
        if device == "Ascend":
            check_cores()
        config, reader = read_config(directory), open_checkpoint(directory)
        if launch_capture == "talker" and not config.enable_audio_output:
            raise OmniError(f"--launch-capture talker: the checkpoint {directory} has no Talker; use thinker")
        if launch_capture != "none":
            start_capture(launch_capture, device, parallel)
        self._mode, self._world, self._sizes = parallel, world, ModelSizes.from_config(config)
        check_world(parallel, world.group_size, self._sizes)
        self.model = load_network(
            directory, dtype=dtype, attn_implementation=attn_implementation, with_talker=with_talker,
            with_decoders=False, parallel=parallel, world=world, progress=progress, config=config, reader=reader,
        )  # fmt: skip
        reader = Int8Reader(reader) if quantize != "none" else reader
        self._reader = ShardedReader(reader, parallel, world, self._sizes)
        self._quantize = quantize
        self._operators, self._dtype, self._numbers = decoder_ops(device), dtype, count()
        sizes = (directory / "config.json").read_text(encoding="utf-8")
        graphs = GraphCache.open(compile_cache, sizes, dtype, parallel, world, quantize) if compile_cache else None
        self._add_decoders(config, device, max_num_seqs, graphs, launch_capture)
        if launch_capture != "none":
            self._capture(launch_capture)

    def _add_decoders(
        self, config: Any, device: str, max_num_seqs: int | None, graphs: GraphCache | None, launch_capture: str
    ) -> None:
        """Reads the layers of all decoders, and divides the memory that is left among their caches."""
        text, speech, has_talker = config.thinker_config.text_config, config.talker_config, self.model.has_talker
        decoders: dict[Stage, Decoder] = {"thinker": self._decoder("thinker.model.", text)}
        self._positions = {"thinker": text.max_position_embeddings}
        if has_talker:
            decoders["talker"] = self._decoder("talker.model.", speech.text_config)
            self._positions["talker"] = speech.text_config.max_position_embeddings
            predictor = self._decoder("talker.code_predictor.model.", speech.code_predictor_config)
        sizes = self._cache_sizes(decoders, device, max_num_seqs)
        self.limits = _limits(decoders, sizes)
        caches = {name: decoder.new_cache(sizes.num_blocks, f"{name}.cache") for name, decoder in decoders.items()}
        self._thinker = FusedThinker(
            self.model.thinker, decoders["thinker"], caches["thinker"], sizes.max_blocks,
            speech.accept_hidden_layer if has_talker else -1, graphs, launch_capture == "thinker",
        )  # fmt: skip
        if has_talker:
            self._talker = FusedTalker(
                self.model, decoders["talker"], predictor, caches["talker"], sizes.max_blocks, sizes.max_num_seqs,
                self._world, graphs, launch_capture == "talker",
            )  # fmt: skip

    @property
    def thinker(self) -> FusedThinker:
        """The Thinker's part of the executor."""
        return self._thinker

    @property
    def talker(self) -> FusedTalker:
        """The Talker's part of the executor; only if the model has a Talker."""
        return self._talker

    def warm_up(self, sampling: SamplingParams, progress: Progress | None = None) -> None:
        """Compiles every graph that decoding needs, for every bucket: greedy, and with settings like `sampling`, which
        must be resolved. progress: called with ("compile", done, total)."""
        buckets = self._buckets()
        thinker = dict.fromkeys((GREEDY, Sampling.of(sampling, "thinker")))
        talker = dict.fromkeys((GREEDY_TALKER, TalkerSampling.of(sampling))) if self.model.has_talker else {}
        work = [partial(self._thinker.warm_up, rows, each) for rows in buckets for each in thinker]
        work += [partial(self._talker.warm_up, rows, each) for rows in buckets for each in talker]
        for number, compile_it in enumerate(work, 1):
            compile_it()
            if progress:
                progress("compile", number, len(work))

    def _capture(self, decoder: str) -> None:
        """Runs every bucket twice in a row: the second call captures it."""
        for rows in self._buckets():
            for _ in range(2):
                if decoder == "thinker":
                    self._thinker.warm_up(rows, GREEDY)
                else:
                    self._talker.warm_up(rows, GREEDY_TALKER)

    def _buckets(self) -> tuple[int, ...]:
        return BUCKETS[: BUCKETS.index(bucket_of(self.limits.max_num_seqs)) + 1]

    def start(self, states: Sequence[RequestState], stage: Stage) -> None:
        """As `Executor.start`. Raises OmniError for a request that is too long for the model."""
        for state in states if stage == "thinker" else ():
            self._check_positions(state)
            state.device_state = DeviceState(next(self._numbers))
        self._part(stage).start(states)

    def prefill(self, states: Sequence[RequestState], stage: Stage, spans: Sequence[Span]) -> None:
        """As `Executor.prefill`."""
        self._part(stage).prefill(states, spans)

    def decode_thinker(self, states: Sequence[RequestState], num_steps: int) -> None:
        """As `Executor.decode_thinker`."""
        self._thinker.decode(states, num_steps)

    def decode_talker(self, states: Sequence[RequestState]) -> None:
        """As `Executor.decode_talker`."""
        self._talker.decode(states)

    def vocode(self, states: Sequence[RequestState], counts: Sequence[int]) -> None:
        """As `Executor.vocode`."""
        with stage("code2wav"):
            decode_waves(self.model.code2wav, states, counts)

    def release(self, state: RequestState) -> None:
        """As `Executor.release`."""
        state.device_state = None

    def _part(self, stage: Stage) -> FusedThinker | FusedTalker:
        return self._thinker if stage == "thinker" else self._talker

    def _check_positions(self, state: RequestState) -> None:
        """Checks the Talker's positions. The Thinker's are checked before a request is made."""
        sequence, limit = state.talker, self._positions.get("talker", 0)
        if sequence and sequence.num_prompt + sequence.max_new_tokens > limit:
            raise OmniError(
                f"--talker-max-new-tokens {sequence.max_new_tokens}: with a prompt of {sequence.num_prompt} tokens "
                f"that is beyond the {limit} positions of the Talker (max_position_embeddings); expected at most "
                f"{max(0, limit - sequence.num_prompt)}"
            )

    def _decoder(self, prefix: str, config: Any) -> Decoder:
        try:
            spec = DecoderSpec.from_config(config)
        except ValueError as error:
            advice = "use --engine mindone"
            if self._quantize != "none":
                advice = f"--engine mindone may know it, but has no 8-bit weights (--quantize {self._quantize})"
            raise UnknownDecoderError(f"--engine fused: {prefix[:-1]}: {error}; {advice}") from error
        sharding = DecoderSharding.of(prefix, self._mode, self._world, self._sizes)
        return Decoder(self._reader, prefix, spec, self._operators, self._dtype, sharding, self._quantize)

    def _cache_sizes(self, decoders: dict[Stage, Decoder], device: str, max_num_seqs: int | None) -> CacheSizes:
        """The same on all ranks of a group: the rank with the least memory decides."""
        free = free_device_bytes(device)
        if free is not None:
            free = int(free * SHARE_OF_FREE[device]) // (self._world.world_size if device == "CPU" else 1)
            # Gathered in MiB, which fits int32
            least = all_gather(Tensor(np.array([free >> 20], np.int32)), self._world).asnumpy().min()
            free = int(least) << 20
        bytes_of_rows = [_row_bytes(decoder) for decoder in decoders.values()]
        # A call of several steps may run past the last position
        positions = max(self._positions.values()) + TOKENS_PER_CALL
        return CacheSizes.of(free, bytes_of_rows, positions, max_num_seqs, decoders["thinker"].num_owners)


def _limits(decoders: dict[Stage, Decoder], sizes: CacheSizes) -> Limits:
    pools: dict[Stage, Pool] = {
        name: Pool(sizes.num_blocks, BLOCK_SIZE, BLOCK_SIZE * _row_bytes(decoder)) for name, decoder in decoders.items()
    }
    return Limits(pools, sizes.max_num_seqs, PREFILL_CHUNK, TOKENS_PER_CALL, decoders["thinker"].num_owners)


def _row_bytes(decoder: Decoder) -> int:
    spec, itemsize = decoder.spec, numpy_dtype(decoder.stored_dtype).itemsize
    return row_bytes(spec.num_layers, spec.num_kv_heads, spec.head_dim, itemsize)
