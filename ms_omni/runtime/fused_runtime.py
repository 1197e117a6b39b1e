"""The compiled runtime: stacked decoders in ms.jit graphs around mindone's encoders and Code2Wav."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.models.load import load_model
from ms_omni.models.talker import CODE_PREDICTOR_SAMPLING
from ms_omni.models.talker_prompt import TalkerPrompt
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.fused_talker import FusedTalker, TalkerWarp
from ms_omni.runtime.fused_thinker import FusedThinker
from ms_omni.runtime.results import TalkerResult, ThinkerResult
from ms_omni.runtime.sampling import GREEDY, Warp


class FusedRuntime:
    """Decodes with one graph call for several Thinker tokens, and one a Talker frame."""

    def __init__(
        self,
        directory: Path,
        device: str,
        dtype: Any,
        attn_implementation: str,
        with_talker: bool,
        progress: Any = None,
    ):
        """directory: a checkpoint. dtype: a MindSpore float type. Raises OmniError for decoder layers that only
        mindone's classes have."""
        self.model = load_model(
            directory,
            dtype=dtype,
            attn_implementation=attn_implementation,
            with_talker=with_talker,
            with_decoders=False,
            progress=progress,
        )
        self._reader, self._operators, self._dtype = CheckpointReader(directory), decoder_ops(device), dtype
        config, has_talker = read_config(directory), self.model.has_talker
        self._thinker = FusedThinker(
            self.model.thinker,
            self._decoder("thinker.model.", config.thinker_config.text_config),
            config.talker_config.accept_hidden_layer if has_talker else -1,
            dtype,
        )
        if has_talker:
            talker = config.talker_config
            self._talker = FusedTalker(
                self.model.talker,
                self._decoder("talker.model.", talker.text_config),
                self._decoder("talker.code_predictor.model.", talker.code_predictor_config),
                talker,
                dtype,
            )

    def think(
        self,
        inputs: Mapping[str, Any],
        sampling: SamplingParams,
        stop_ids: list[int],
        *,
        use_audio_in_video: bool,
        keep_hidden: bool,
        on_tokens: Callable[[list[int]], None],
    ) -> ThinkerResult:
        """The answer's ids. inputs: what the processor made, cast. `sampling` has no None but the seed."""
        return self._thinker.run(
            inputs,
            _warp(sampling.thinker_temperature, sampling.thinker_top_k, sampling.thinker_top_p),
            sampling.thinker_max_new_tokens or 1,
            [] if sampling.ignore_eos else stop_ids,
            sampling.seed,
            use_audio_in_video=use_audio_in_video,
            keep_hidden=keep_hidden,
            on_tokens=on_tokens,
        )

    def talk(
        self,
        prompt: TalkerPrompt,
        inputs: Mapping[str, Any],
        sampling: SamplingParams,
        on_tokens: Callable[[list[int]], None],
    ) -> TalkerResult:
        """The codec frames. `inputs` gives the media grids that positions depend on."""
        talker = _warp(sampling.talker_temperature, sampling.talker_top_k, sampling.talker_top_p)
        codes = Warp(1.0, CODE_PREDICTOR_SAMPLING["top_k"], CODE_PREDICTOR_SAMPLING["top_p"])
        warp = TalkerWarp(
            talker,
            GREEDY if talker == GREEDY else codes,
            float(sampling.talker_repetition_penalty or 1.0),
            sampling.ignore_eos,
        )
        return self._talker.run(prompt, inputs, warp, sampling.talker_max_new_tokens or 2, sampling.seed, on_tokens)

    def _decoder(self, prefix: str, config: Any) -> StackedDecoder:
        try:
            spec = DecoderSpec.from_config(config)
        except ValueError as error:
            raise OmniError(f"--engine fused: {prefix[:-1]}: {error}; use --engine mindone") from error
        return StackedDecoder(self._reader, prefix, spec, self._operators, self._dtype)


def _warp(temperature: float | None, top_k: int | None, top_p: float | None) -> Warp:
    if not temperature:
        return GREEDY
    return Warp(float(temperature), int(top_k or 0), float(1.0 if top_p is None else top_p))
