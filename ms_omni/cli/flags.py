"""Flags that several commands share, in groups.

A command that calls `absent_flags_are_unset` gets only the flags that were given: a `--config` file, the checkpoint and
the task come after them."""

from __future__ import annotations

import argparse
from typing import Any

from ms_omni.cli.parser import choice, decimal_number, whole_number
from ms_omni.config import (
    ATTN_IMPLEMENTATIONS,
    DEVICES,
    DTYPES,
    ENGINES,
    LAUNCH_CAPTURES,
    MEDIA_READERS,
    PARALLEL_MODES,
    QUANTIZATIONS,
)

MEDIA_KEYS = ("image", "audio", "video")
# What a single turn is built from
TURN_KEYS = ("system", "text", *MEDIA_KEYS)
TASK_KEYS = ("task", "language", "target_language")
# `--flag` and `--no-flag`
ON_OR_OFF = argparse.BooleanOptionalAction


def absent_flags_are_unset(parser: argparse.ArgumentParser) -> None:
    """To be called before flags are added: they have no defaults, so that an absent one differs from a given one."""
    parser.argument_default = argparse.SUPPRESS


def add_task(group: Any) -> None:
    """`--task` and what goes with it."""
    add = group.add_argument
    add(
        "--task",
        metavar="NAME",
        help="ask with the prompt of the model's documents for this task; ms-omni tasks lists them",
    )
    language = "language of the speech, or of a picture's text: a name or code; default: unknown"
    add("--language", metavar="NAME", help=language)
    add("--target-language", metavar="NAME", help="language that the task translates into (default English)")
    add("--tools", metavar="FILE.json", help="functions that the answer may call: a JSON list, as in OpenAI's API")


def add_media(group: Any) -> None:
    """How pictures and videos are prepared."""
    group.add_argument("--use-audio-in-video", action=ON_OR_OFF, help="also listen to the sound of videos")
    add_pixels(group)
    fps = "frames a second that the model takes a video for (1); fps in a conversation says how many are read"
    group.add_argument("--fps", type=decimal_number(0), metavar="F", help=fps)


def add_pixels(group: Any) -> None:
    """Limits of all pictures."""
    count = whole_number(1)
    group.add_argument("--min-pixels", type=count, metavar="N", help="smallest picture, in pixels, after resizing")
    group.add_argument("--max-pixels", type=count, metavar="N", help="largest picture, in pixels, after resizing")


def add_media_access(group: Any) -> None:
    """Where media may come from. Any of these flags restricts the run."""
    add = group.add_argument
    local = "read local media only below DIR; without it, the next two flags allow none"
    add("--allowed-local-media-path", metavar="DIR", help=local)
    domain = "read media only from this host; may repeat"
    add("--allowed-media-domain", metavar="HOST", action="append", help=domain)
    network = "also read media from private addresses of this network; may repeat"
    add("--allowed-media-network", metavar="CIDR", action="append", help=network)


def add_speaker(group: Any) -> None:
    """Who speaks."""
    group.add_argument("--speaker", metavar="NAME", help="a speaker of the checkpoint (default Ethan)")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """The fields of SamplingParams."""
    group = parser.add_argument_group("decoding (unset: generation_config.json, then transformers)")

    def add(*flags: str, type: Any, help: str) -> None:
        group.add_argument(*flags, type=type, metavar="N", help=help)

    whole, decimal = whole_number(), decimal_number()
    add("--thinker-max-new-tokens", "--max-new-tokens", type=whole, help="most text tokens")
    add("--thinker-temperature", type=decimal, help="0 is greedy")
    add("--thinker-top-p", type=decimal, help="nucleus sampling, 0 to 1")
    add("--thinker-top-k", type=whole, help="0 keeps every token")
    add("--thinker-repetition-penalty", type=decimal, help="1 is none; counts the prompt's tokens, too")
    speech = "most speech tokens: N make at most N - 1 frames of 80 ms"
    add("--talker-max-new-tokens", type=whole, help=speech)
    add("--talker-temperature", type=decimal, help="0 is greedy, of the code predictor too")
    add("--talker-top-p", type=decimal, help="nucleus sampling, 0 to 1")
    add("--talker-top-k", type=whole, help="0 keeps every code")
    add("--talker-repetition-penalty", type=decimal, help="1 is none")
    add("--seed", type=whole, help="seed of sampling; without it every run differs")
    group.add_argument("--ignore-eos", action=ON_OR_OFF, help="always generate the maximum (measurements)")


def add_engine(group: Any) -> None:
    """The model, the device, and how the one runs on the other."""
    add = group.add_argument
    model = "checkpoint directory, or a hub name in the local hub cache; default: built-in, a tiny one"
    add("--model", metavar="DIR", help=model)
    add(
        "--engine",
        **choice(*ENGINES),
        help="fused: compiled graphs; mindone: mindone's own generate; auto: fused where it can",
    )
    add(
        "--parallel",
        **choice(*PARALLEL_MODES),
        help="how cards share the model; default auto (understand, serve) or none",
    )
    add("--device", **choice(*DEVICES), help="auto: Ascend where MindSpore sees one")
    add("--dtype", **choice(*DTYPES), help="auto: float32 on a CPU, bfloat16 on Ascend")
    attention = "auto: eager on a CPU, flash_attention_2 on Ascend"
    add("--attn-implementation", **choice(*ATTN_IMPLEMENTATIONS), help=attention)
    cache = "keep compiled graphs there for the next run of the same model and settings"
    add("--compile-cache", metavar="DIR", help=cache)
    capture = "on a card, record one decoder's launches and replay them; default none"
    add("--launch-capture", **choice(*LAUNCH_CAPTURES), help=capture)
    quantize = "8-bit weights of the decoder layers; default auto: as the checkpoint stores them"
    add("--quantize", **choice(*QUANTIZATIONS), help=quantize)
    reader = "who reads pictures, sound and video; qwen_omni_utils needs torch"
    add("--media-reader", **choice(*MEDIA_READERS), help=reader)


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """The fields of SamplingParams and EngineConfig, in two groups of their own."""
    add_sampling(parser)
    add_engine(parser.add_argument_group("model and device"))


def add_sizes(group: Any) -> None:
    """How many conversations, and how long ones, are taken."""
    count = whole_number(1)
    seqs = "conversations that are answered at a time (default: what fits)"
    group.add_argument("--max-num-seqs", metavar="N", type=count, help=seqs)
    length = "most tokens of a prompt and its answer together (default: the model's positions)"
    group.add_argument("--max-model-len", metavar="N", type=count, help=length)


def add_served_model_name(group: Any) -> None:
    """Names of the model in requests of OpenAI's API."""
    names = "what requests call the model; may repeat (default: --model)"
    group.add_argument("--served-model-name", metavar="NAME", action="append", help=names)


def add_config(group: Any) -> None:
    """A YAML file of settings."""
    group.add_argument("--config", metavar="FILE.yaml", help="any of these settings; the command line wins")
