"""Records what half precision is on torch: transformers 4.57.1 in bfloat16 and float16 beside float32, eager attention.

    PYTHONPATH=. python tests/reference/record_half.py [layers|decisions|held_out ...] [--only PATTERN]

Runs where record.py runs. Half precision gets the ids and codes of float32 forced on it, so that every hidden state and
every choice has the same past in all three. Writes to half/:

- layers: <checkpoint>-<case>.npz, hidden states of some tokens before every layer of every decoder, logits, encoders,
  wave: arrays "dtype/name".
- decisions: decisions.json, how far each greedy choice was from another, in each dtype.
- held_out: held_out.json, the built-in model's answers to the held-out conversations of tests/tiny in each dtype.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from half_cases import BUILT_IN, DTYPES, LAYER_CASES, RECORDED, held_out_cases, kept_columns, kept_rows, name_of
from record import Reference
from reference_cases import CASES, FOLDERS, Case
from reference_checkpoints import build_checkpoint
from transformers import LogitsProcessor, LogitsProcessorList

ALL = ("float32", *DTYPES)


class Forced(LogitsProcessor):
    """Makes `generate` say `ids`, and keeps what it would have chosen from."""

    def __init__(self, ids: list[int] | None) -> None:
        self.ids, self.scores = ids, list[torch.Tensor]()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.scores.append(scores[0].float())
        place = len(self.scores) - 1
        if self.ids is None or place >= len(self.ids):
            return scores
        only = torch.full_like(scores, -torch.inf)
        only[:, self.ids[place]] = 0
        return only


class Past:
    """What was said and in which codes: of a model in float32 found, of others forced."""

    def __init__(self, known: Past | None = None) -> None:
        self.known = known
        self.thinker: list[Forced] = []
        self.talker: list[Forced] = []
        self.predictor: list[Forced] = []
        self.ids: dict[str, list[list[int]]] = {"thinker": [], "talker": [], "predictor": []}

    def watch(self, model: Any) -> None:
        """The Thinker's, the Talker's and the code predictor's `generate`."""
        parts = {"thinker": model.thinker}
        if model.has_talker:
            parts |= {"talker": model.talker, "predictor": model.talker.code_predictor}
        for stage, part in parts.items():
            part.generate = self._forcing(stage, part.generate)

    def _forcing(self, stage: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def generate(**kwargs: Any) -> Any:
            forced_list = getattr(self, stage)
            forced = Forced(self.known.ids[stage][len(forced_list)] if self.known else None)
            forced_list.append(forced)
            result = plain(**{**kwargs, "logits_processor": LogitsProcessorList([forced])})
            ids = result.sequences if hasattr(result, "sequences") else result
            self.ids[stage].append(ids[0, -len(forced.scores) :].tolist())
            return result

        return generate


@contextmanager
def watched(model: Any, past: Past) -> Any:
    """`model` with `past`'s watch on it, for one conversation."""
    parts = [model.thinker, *([model.talker, model.talker.code_predictor] if model.has_talker else [])]
    plain = [part.generate for part in parts]
    past.watch(model)
    try:
        yield
    finally:
        for part, generate in zip(parts, plain, strict=True):
            part.generate = generate


class Layers:
    """Keeps the hidden states of some rows while a model runs, by name:

    thinker.embeds, thinker.1 ... thinker.L: what enters layer 0, 1, ... and, last, the final norm; deepstack added.
    thinker.normed, thinker.logits: behind the norm; of the last token. talker.*, predictor.* likewise.
    thinker.route.0 ..., thinker.margin.0 ...: of every token, the experts that a layer chose, and by how much (in
    logits) the last of them was before the next.
    audio.0 ..., vision.0 ...: behind each layer of the encoders. audio, vision, deepstack.0 ...: their features.
    Calls follow each other in one array: the prompt's rows, then each new token's (the predictor's: one frame)."""

    def __init__(self, model: Any) -> None:
        self.kept: dict[str, list[np.ndarray]] = {}
        self._handles: list[Any] = []
        self._decoder("thinker", model.thinker.model, model.thinker.lm_head)
        self._encoder("audio", model.thinker.audio_tower.layers, model.thinker.audio_tower)
        self._encoder("vision", model.thinker.visual.blocks, model.thinker.visual)
        if model.has_talker:
            predictor = model.talker.code_predictor
            self._decoder("talker", model.talker.model, model.talker.codec_head)
            self._decoder("predictor", predictor.model, None)
            for index in (0, len(predictor.lm_head) - 1):
                self._after(predictor.lm_head[index], f"predictor.logits.{index}", last=True)

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate(rows) for name, rows in self.kept.items()}

    def _keep(self, name: str, value: torch.Tensor) -> None:
        rows = value.detach().float().reshape(-1, value.shape[-1]).numpy()
        rows = rows[kept_rows(len(rows))][:, kept_columns(rows.shape[1])]
        self.kept.setdefault(name, []).append(rows)

    def _before(self, module: Any, name: str) -> None:
        def hook(_: Any, args: Any, kwargs: Any) -> None:
            self._keep(name, args[0] if args else kwargs["hidden_states"])

        self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def _after(self, module: Any, name: str, last: bool = False) -> None:
        def hook(_: Any, args: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple) else output
            self._keep(name, value[:, -1:] if last else value)

        self._handles.append(module.register_forward_hook(hook))

    def _routes(self, mixture: Any, name: str) -> None:
        def hook(_: Any, args: Any, output: torch.Tensor) -> None:
            scores, experts = torch.topk(output.reshape(-1, output.shape[-1]).float(), mixture.top_k + 1)
            chosen = experts[:, :-1].sort().values
            self.kept.setdefault(name.format("route"), []).append(chosen.numpy().astype(np.int8))
            self.kept.setdefault(name.format("margin"), []).append((scores[:, -2] - scores[:, -1]).numpy())

        self._handles.append(mixture.gate.register_forward_hook(hook))

    def _decoder(self, name: str, model: Any, head: Any) -> None:
        for index, layer in enumerate(model.layers):
            self._before(layer, f"{name}.{index}" if index else f"{name}.embeds")
            if hasattr(layer.mlp, "gate"):
                self._routes(layer.mlp, f"{name}.{{}}.{index}")
        self._before(model.norm, f"{name}.{len(model.layers)}")
        self._after(model.norm, f"{name}.normed")
        if head is not None:
            self._after(head, f"{name}.logits", last=True)

    def _encoder(self, name: str, layers: Any, whole: Any) -> None:
        for index, layer in enumerate(layers):
            self._after(layer, f"{name}.{index}")

        def hook(_: Any, args: Any, output: Any) -> None:
            if isinstance(output, tuple):
                self._keep(name, output[0])
                for index, level in enumerate(output[1]):
                    self._keep(f"deepstack.{index}", level)
            else:
                self._keep(name, output.last_hidden_state)

        self._handles.append(whole.register_forward_hook(hook))


def answer(reference: Reference, case: Case, past: Past) -> np.ndarray | None:
    """Answers the conversation as record.py does; the wave."""
    inputs = reference.inputs(case).to(reference.model.dtype)
    options = {} if not case.speak else {
        "speaker": case.speaker, "talker_max_new_tokens": case.talker_max_new_tokens, "talker_do_sample": False,
    }  # fmt: skip
    with watched(reference.model, past):
        _, wave = reference.model.generate(
            **inputs, use_audio_in_video=case.use_audio_in_video, return_audio=case.speak,
            thinker_max_new_tokens=case.thinker_max_new_tokens, thinker_do_sample=False,
            thinker_eos_token_id=reference.model.config.im_end_token_id, **options,
        )  # fmt: skip
    return None if wave is None else wave.reshape(-1).numpy()


def record_layers(references: dict[str, Reference], case: Case) -> None:
    arrays: dict[str, np.ndarray] = {}
    truth: Past | None = None
    for dtype, reference in references.items():
        layers, past = Layers(reference.model), Past(truth)
        try:
            wave = answer(reference, case, past)
        finally:
            layers.close()
        truth = truth or past
        arrays |= {f"{dtype}/{name}": rows for name, rows in layers.arrays().items()}
        arrays[f"{dtype}/ids"] = np.array(past.ids["thinker"][0], np.int32)
        if wave is not None:
            frames = zip(past.ids["talker"][0], past.ids["predictor"], strict=False)
            codes = np.array([[first, *rest] for first, rest in frames])
            arrays[f"{dtype}/codes"] = codes.T.astype(np.int32)
            arrays[f"{dtype}/wave"] = wave[:1200]
    np.savez_compressed(RECORDED / f"{name_of(case)}.npz", **arrays)
    print("layers", name_of(case), len(arrays), (RECORDED / f"{name_of(case)}.npz").stat().st_size, flush=True)


def margin(scores: torch.Tensor, chosen: int) -> float:
    """By how much `chosen` is before the best of the others; negative if it is not."""
    others = scores.clone()
    others[chosen] = -torch.inf
    return float(f"{float(scores[chosen] - others.max()):.4g}")


def record_decisions(references: dict[str, Reference], case: Case) -> dict[str, Any]:
    truth = Past()
    found: dict[str, Any] = {}
    for dtype, reference in references.items():
        past = truth if dtype == "float32" else Past(truth)
        answer(reference, case, past)
        for stage in ("thinker", "talker", "predictor"):
            for call, forced in enumerate(getattr(past, stage)):
                ids = truth.ids[stage][call]
                margins = [margin(scores, chosen) for scores, chosen in zip(forced.scores, ids, strict=True)]
                entry = found.setdefault(stage, [{} for _ in truth.ids[stage]])[call]
                entry |= {"ids": ids, dtype: margins}
    print("decisions", name_of(case), {s: len(c) for s, c in found.items()}, flush=True)
    return found


def record_held_out(references: dict[str, Reference]) -> dict[str, list[str]]:
    """Free, not forced."""
    answers: dict[str, list[str]] = {}
    for dtype, reference in references.items():
        processor = reference.processor()
        answers[dtype] = []
        for case in held_out_cases():
            asked = Case("", case["conversation"], speak=False, use_audio_in_video=case["use_audio_in_video"],
                         thinker_max_new_tokens=96)  # fmt: skip
            past = Past()
            answer(reference, asked, past)
            ids = past.ids["thinker"][0]
            answers[dtype].append(
                processor.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            )
        same = sum(a == case["transformers"] for a, case in zip(answers[dtype], held_out_cases(), strict=True))
        print("held out", dtype, f"{same} of {len(answers[dtype])} as recorded in float32", flush=True)
    return answers


def write(name: str, document: Any) -> None:
    (RECORDED / name).write_text(json.dumps(document, separators=(",", ":")).replace('},"', '},\n"') + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["layers", "decisions", "held_out"])
    parser.add_argument("--only", default="*", help="checkpoint-case, with wildcards")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:

        def references(checkpoint: str) -> dict[str, Reference]:
            directory = Path(scratch) / checkpoint
            if checkpoint == BUILT_IN:
                directory = FOLDERS["assets"] / "tiny"
            elif not directory.exists():
                build_checkpoint(checkpoint, directory)
            return {dtype: Reference(directory, getattr(torch, dtype)) for dtype in ALL}

        def each(cases: list[Case], record: Callable[[dict[str, Reference], Case], Any]) -> dict[str, Any]:
            made: dict[str, Any] = {}
            cases = [case for case in cases if fnmatch.fnmatch(name_of(case), args.only)]
            for checkpoint in dict.fromkeys(case.checkpoint for case in cases):
                models = references(checkpoint)
                made |= {name_of(c): record(models, c) for c in cases if c.checkpoint == checkpoint}
            return made

        if "layers" in args.what:
            each(LAYER_CASES, record_layers)
        if "decisions" in args.what:
            write("decisions.json", each([case for case in CASES if case.name != "long_speech"], record_decisions))
        if "held_out" in args.what:
            write("held_out.json", record_held_out(references(BUILT_IN)))


if __name__ == "__main__":
    main()
