"""Run over emulated operators: the fused engine's hidden states in half precision, layer by layer, as record_half.py
records torch's. Ids and codes are those of the recording, so that every state has the recording's past.

    python tests/ascend/half_states.py DTYPE OUT.npz CHECKPOINT-CASE...

Arrays of OUT are called "checkpoint-case/name"; names are those of `record_half.Layers`. States of new tokens come from
the layers called one after the other; what one graph of all layers made of the same tokens is beside them as
thinker.graph and talker.graph (behind the last norm).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))
import forced  # noqa: I001
from half_cases import BUILT_IN, LAYER_CASES, kept_columns, kept_rows, layers, name_of
from reference_cases import FOLDERS, Case, located
from reference_checkpoints import build_checkpoint

from ms_omni import OmniEngine
from ms_omni.limits import BLOCK_SIZE, PREFILL_CHUNK
from ms_omni.inputs.cast import cast_inputs
from ms_omni.kernels import decoder_ops_ascend
from ms_omni.models.talker_prompt import ThinkerOutput, build_talker_prompts
from ms_omni.speakers import speech_of
from ms_omni.parallel.vocabulary import logits
from ms_omni.runtime.talker_graph import TalkerGraph
from ms_omni.runtime.graph_cache import CompiledGraph
from ms_omni.runtime.prompt_chunk import PromptChunk
from ms_omni.runtime.talker_sampling import GREEDY_TALKER
from ms_omni.runtime.token_step import TokenStep


class States:
    """What is kept, by name."""

    def __init__(self) -> None:
        self.device_state: dict[str, list[np.ndarray]] = {}
        self.normed: dict[str, list[Tensor]] = {}

    def keep(self, name: str, value: Tensor) -> None:
        rows = value.astype(ms.float32).asnumpy().reshape(-1, value.shape[-1])
        self.device_state.setdefault(name, []).append(rows[kept_rows(len(rows))][:, kept_columns(rows.shape[1])])

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate(rows) for name, rows in self.device_state.items()}

    def operators(self, plain: Any, name: str, num_layers: int) -> Any:
        """`plain` operators that keep what the norms between layers see: the hidden states that enter each layer."""
        calls = 0

        def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
            nonlocal calls
            calls = 1
            self.keep(f"{name}.embeds", x)
            return plain.rms_norm(x, weight, eps)

        def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
            nonlocal calls
            normed, total = plain.add_rms_norm(x, residual, weight, eps)
            self.keep(f"{name}.{calls}", total)
            if calls == num_layers:
                self.keep(f"{name}.normed", normed)
                self.normed.setdefault(name, []).append(normed)
            calls += 1
            return normed, total

        return SimpleNamespace(**{**vars(plain), "rms_norm": rms_norm, "add_rms_norm": add_rms_norm})

    @contextmanager
    def watch(self, name: str, decoder: Any, at_work: Any) -> Iterator[None]:
        """While a decoder's layers are called one after the other by `at_work`: itself, or a step of one token."""
        plain = decoder.ops
        at_work.ops = self.operators(plain, name, decoder.num_layers)
        for index, layer in enumerate(decoder.layers):
            changed = {"route": self._route(plain.route, f"{name}.route.{index}"), "decode_attention": in_a_graph}
            layer.ops = SimpleNamespace(**{**vars(plain), **changed})
        try:
            yield
        finally:
            at_work.ops = plain
            for layer in decoder.layers:
                layer.ops = plain

    def _route(self, plain: Any, name: str) -> Any:
        def route(*arguments: Any) -> Any:
            weights, experts = plain(*arguments)
            self.device_state.setdefault(name, []).append(np.sort(experts.asnumpy()).astype(np.int8))
            return weights, experts

        return route

    def watch_encoders(self, thinker: Any) -> list[Any]:
        audio, vision = thinker.audio_tower, thinker.visual

        def after(name: str) -> Any:
            return lambda cell, inputs, output: self.keep(name, output[0] if isinstance(output, tuple) else output)

        handles = [layer.register_forward_hook(after(f"audio.{i}")) for i, layer in enumerate(audio.layers)]
        return handles + [block.register_forward_hook(after(f"vision.{i}")) for i, block in enumerate(vision.blocks)]


@cache
def attention_graph(scale: float) -> Any:
    def attend(q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, batch_valid_length: Tensor) -> Tensor:
        return decoder_ops_ascend.decode_attention(q, keys, values, tables, batch_valid_length, scale)

    return ms.jit(attend, **decoder_ops_ascend.JIT_OPTIONS)


def in_a_graph(q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, lengths: Tensor, scale: float) -> Tensor:
    """The operator's attention, which is for graphs alone, in one of its own."""
    return attention_graph(scale)(q + 0, keys, values, tables, Tensor(lengths.asnumpy()))


class Place:
    """One sequence that has a decoder's cache to itself."""

    def __init__(self, cache: Any, num_tokens: int, max_blocks: int):
        self.cache, self.blocks = cache, list(range(1, 1 - (-num_tokens // BLOCK_SIZE)))
        table = np.zeros((1, max_blocks), np.int32)
        table[0, : len(self.blocks)] = self.blocks
        self._table = Tensor(table)

    def prefill(self, decoder: Any, x: Tensor, positions: np.ndarray, levels: list[Tensor], accept_layer: int) -> Any:
        """x: (tokens, hidden), a prompt. The normed state of the last token, (1, hidden), and the accepted ones of all
        tokens."""
        accepted = []
        for start in range(0, x.shape[0], PREFILL_CHUNK):
            chunk = slice(start, start + PREFILL_CHUNK)
            taken = tuple(level[chunk] for level in levels)
            piece = PromptChunk(x[chunk], positions[..., chunk], self.blocks, start, taken)
            hidden, kept = decoder.prefill([piece], self.cache, accept_layer)
            accepted.append(kept)
        return hidden[-1:], accepted[0] if len(accepted) == 1 else ms.mint.cat(accepted, dim=0)

    def at(self, place: int, delta: float) -> tuple[Tensor, Tensor, Tensor]:
        """Lengths, rotary positions and block table of a call that reads the token at `place`."""
        return Tensor(np.array([place + 1], np.int32)), Tensor(np.array([place + delta], np.float32)), self._table


def graph_of_layers(step: TokenStep) -> Any:
    """`step.decode` as a graph: its normed states."""

    def decode(x: Tensor, batch_valid_length: Tensor, rope_positions: Tensor, tables: Tensor) -> Tensor:
        return step.decode(x, rope_positions, batch_valid_length, tables)

    return CompiledGraph(decode, step.ops.JIT_OPTIONS, None, "layers alone")


class Answering:
    """One conversation through the parts of a fused engine, with the ids and codes that were recorded."""

    def __init__(self, engine: OmniEngine, case: Case) -> None:
        self.engine, self.case, self.states = engine, case, States()
        recorded = layers(case)["float32"]
        self.ids, self.codes = recorded["ids"].tolist(), recorded["codes"]
        self.thinker, self.talker = engine.executor._thinker, engine.executor.talker
        self.arrays = engine.processor.prepare(
            located(case.conversation), use_audio_in_video=case.use_audio_in_video, fps=case.fps
        ).arrays
        self.inputs = cast_inputs(self.arrays, engine.dtype)

    def run(self) -> dict[str, np.ndarray]:
        embeds, accepted, read = self.think()
        self.speak(embeds, accepted, read)
        return self.states.arrays()

    def think(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The prompt's embeddings and accepted hidden states, and the new tokens' embeddings."""
        thinker, base_model, ids = self.thinker, self.thinker.base_model, self.arrays["input_ids"]
        media = self.inputs.get
        handles = self.states.watch_encoders(base_model)
        audio, image, video = base_model.encode_media(
            media("input_features"), media("feature_attention_mask"), media("pixel_values"), media("image_grid_thw"),
            media("pixel_values_videos"), media("video_grid_thw"),
        )  # fmt: skip
        for handle in handles:
            handle.remove()
        if audio is not None:
            self.states.keep("audio", audio)
        for features, levels in (visual for visual in (image, video) if visual is not None):
            self.states.keep("vision", features)
            for index, level in enumerate(levels):
                self.states.keep(f"deepstack.{index}", level)
        words = base_model.get_input_embeddings()(self.inputs["input_ids"])
        embeds, deepstack = base_model.merge_media(ids, words, audio, image, video)
        mask = self.arrays.get("feature_attention_mask")
        positions, delta = base_model.host_rope_index(
            ids, media("image_grid_thw"), media("video_grid_thw"), self.case.use_audio_in_video,
            None if mask is None else mask.sum(-1), media("video_second_per_grid"),
        )  # fmt: skip
        decoder, levels = thinker.decoder, [level[0] for level in deepstack or []]
        sequence = Place(thinker.cache, ids.shape[1] + len(self.ids), thinker.max_blocks)
        with self.states.watch("thinker", decoder, decoder):
            hidden, accepted = sequence.prefill(decoder, embeds[0], positions, levels, thinker.accept_layer)
        self.thinker_logits(hidden)
        start, read = ids.shape[1], list[Tensor]()
        step, in_graph = (TokenStep(decoder, thinker.cache, name, 1, thinker.max_blocks) for name in ("one", "two"))
        graph = graph_of_layers(in_graph)
        for place, token in enumerate(self.ids[:-1], start):
            x = base_model.get_input_embeddings()(Tensor(np.array([token], np.int32)))
            self.states.keep("thinker.graph", graph(x, *sequence.at(place, delta)))
            lengths, rope_positions, table = sequence.at(place, delta)
            with self.states.watch("thinker", decoder, step):
                state = step.by_operator(x, rope_positions, lengths, table)
            self.thinker_logits(state)
            read.append(x)
        return embeds[0], accepted, read

    def thinker_logits(self, hidden: Tensor) -> None:
        base_model = self.thinker.base_model
        words = base_model.config.text_config.vocab_size
        scores = logits(hidden, base_model.lm_head.weight, self.thinker.decoder.world, words)
        self.states.keep("thinker.logits", scores)

    def speak(self, embeds: Tensor, accepted: Tensor, read: list[Tensor]) -> None:
        engine, talker = self.engine, self.talker
        speaker_id = speech_of(engine.config.talker_config, self.case.speaker, 1, 1).speaker_id
        answer = ThinkerOutput(self.arrays["input_ids"][0], embeds, accepted, self.ids[0], speaker_id)
        (prompt,) = build_talker_prompts(engine.model, [answer])
        # The word of each frame: those that were read behind the first, the end of speech, and nothing
        words = [*self.ids[1 : len(read)], engine.config.tts_eos_token_id]
        words += [engine.config.tts_pad_token_id] * self.codes.shape[1]
        mask = self.arrays.get("feature_attention_mask")
        media = self.inputs.get
        positions, delta = talker.base_model.host_rope_index(
            prompt.ids[None], media("image_grid_thw"), media("video_grid_thw"), False,
            None if mask is None else mask.sum(-1), media("video_second_per_grid"),
        )  # fmt: skip
        decoder = talker.decoder
        num_prompt = len(prompt.ids)
        sequence = Place(talker.cache, num_prompt + self.codes.shape[1], talker.max_blocks)
        with self.states.watch("talker", decoder, decoder):
            hidden, _ = sequence.prefill(decoder, prompt.embeds, positions, [], -1)
        self.talker_logits(hidden)
        settings = talker.tensors([GREEDY_TALKER])
        graph, eager = (TalkerGraph(talker, 1, settings.num_kept) for _ in range(2))
        codes = settings.predictor.tensors
        seen = Tensor(np.zeros((1, talker.config.text_config.vocab_size), np.float32))
        for frame in range(self.codes.shape[1]):
            place = num_prompt + frame
            where = sequence.at(place, delta)
            token = Tensor(self.codes[:1, frame].astype(np.int32))
            # forced.Sampler reads the codes to say from here
            uniform = Tensor(np.concatenate([[-1], self.codes[1:, frame]]).astype(np.float32)[:, None])
            numbers = talker.decoder.ops.rows_of(uniform, len(self.codes))
            word = Tensor(np.array([words[frame]], np.int32))
            inputs = hidden, token, seen, word, *where, uniform
            _, normed, _ = graph.run(*inputs, *settings.first_code, *codes)
            self.states.keep("talker.graph", normed)
            lengths, rope_positions, table = sequence.at(place, delta)
            with self.states.watch("predictor", talker.predictor, eager.predictor):
                total, _ = eager.predict(hidden, token, word, table, uniform, numbers, *codes)
            for index in {0, len(talker.code_heads) - 1}:
                self.predictor_logits(index, frame)
            with self.states.watch("talker", decoder, eager.talker):
                hidden = eager.talker.by_operator(total, rope_positions, lengths, table)
            self.talker_logits(hidden)
        pieces = engine.model.code2wav.chunks(Tensor(self.codes[None].astype(np.int32)))
        wave = np.concatenate([piece.astype(ms.float32).asnumpy().reshape(-1) for piece in pieces])
        self.states.device_state["wave"] = [wave[:1200]]

    def predictor_logits(self, index: int, frame: int) -> None:
        """Of residual code `index`. The first state of a frame is the Talker's and makes none."""
        talker = self.talker
        states_a_frame = len(talker.code_heads) + 1
        state = self.states.normed["predictor"][frame * states_a_frame + index + 1]
        codes = talker.config.code_predictor_config.vocab_size
        scores = logits(state, talker.code_heads[index], talker.decoder.world, codes)
        self.states.keep(f"predictor.logits.{index}", scores)

    def talker_logits(self, hidden: Tensor) -> None:
        talker = self.talker
        codes = talker.config.text_config.vocab_size
        scores = logits(hidden, talker.base_model.codec_head.weight, talker.decoder.world, codes)
        self.states.keep("talker.logits", scores)


def main(dtype: str, out: str, names: list[str]) -> None:
    forced.install()
    cases = [case for case in LAYER_CASES if name_of(case) in names]
    assert len(cases) == len(names), f"{names}: known are {[name_of(case) for case in LAYER_CASES]}"
    found: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for checkpoint in dict.fromkeys(case.checkpoint for case in cases):
            directory = FOLDERS["assets"] / "tiny"
            if checkpoint != BUILT_IN:
                directory = build_checkpoint(checkpoint, Path(scratch) / checkpoint)
            engine = OmniEngine.from_pretrained(directory, engine="fused", device="Ascend", dtype=dtype)
            for case in (case for case in cases if case.checkpoint == checkpoint):
                arrays = Answering(engine, case).run()
                found |= {f"{name_of(case)}/{name}": rows for name, rows in arrays.items()}
                np.savez_compressed(out, **found)
                print("states", name_of(case), len(arrays), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
