"""Flags of the commands that answer, and how a YAML file of the same settings is merged below the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ms_omni.cli.parser import LineParser, decimal_number, one_of, whole_number
from ms_omni.cli.task_flags import TASK_KEYS, add_task_flags
from ms_omni.config import (
    ATTN_IMPLEMENTATIONS,
    DEVICES,
    DTYPES,
    ENGINES,
    LAUNCH_CAPTURES,
    MEDIA_READERS,
    PARALLEL_MODES,
    QUANTIZATIONS,
    load_yaml,
)
from ms_omni.errors import OmniError
from ms_omni.inputs.access import MediaAccess

# The two ways of giving a prompt. A prompt on the command line replaces the whole prompt of a YAML file.
TURN_KEYS = ("system", "text", "image", "audio", "video")
PROMPT_KEYS = ("conversation", "workload", *TURN_KEYS)
# Not in a YAML file: it cannot name a further file, tracebacks are wanted before any file is read, and a file that is
# used twice must not delete the first answers.
COMMAND_LINE_ONLY = {"config", "debug", "help", "restart"}


@dataclass(frozen=True)
class CommandFlags:
    """What a YAML file may hold: the flags that `add` adds to the parser of `command`."""

    command: str
    add: Callable[[argparse.ArgumentParser], None]

    def parser(self) -> LineParser:
        parser = LineParser(prog=f"ms-omni {self.command}")
        self.add(parser)
        return parser


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Every flag of `understand`. Nothing has a default here, so that an absent flag is told from a given one."""
    prompt = parser.add_argument_group("what to answer")
    _add_prompt_flags(prompt)
    add_media_flags(prompt)
    add_media_access_flags(prompt)
    speech = parser.add_argument_group("speech")
    _add_wave_flag(speech)
    add_speaker_flag(speech)
    add_decoding_flags(parser)
    _add_output_flags(parser.add_argument_group("output and settings"))


def add_decoding_flags(parser: argparse.ArgumentParser) -> None:
    """The fields of SamplingParams and EngineConfig."""
    _add_sampling_flags(parser.add_argument_group("decoding (unset: generation_config.json, then transformers)"))
    add_engine_flags(parser.add_argument_group("model and device"))


def _add_prompt_flags(group: Any) -> None:
    def add(flag: str, help: str, **kwargs: Any) -> None:
        group.add_argument(flag, help=help, default=argparse.SUPPRESS, **kwargs)

    add("--conversation", "JSON list of messages; - reads stdin", metavar="FILE")
    add("--system", "system prompt of a single turn", metavar="TEXT")
    add("--text", "text of a single turn", metavar="TEXT")
    for media in ("image", "audio", "video"):
        add(f"--{media}", f"{media} file or URL of a single turn; may repeat", metavar="FILE", action="append")
    add_task_flags(group)


def add_media_flags(group: Any) -> None:
    """How pictures and videos are prepared."""
    group.add_argument(
        "--use-audio-in-video",
        help="also listen to the sound of videos",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
    )
    add_pixel_flags(group)
    fps = "frames a second that the model takes a video for (1); fps in a conversation says how many are read"
    group.add_argument("--fps", help=fps, type=decimal_number(0), metavar="F", default=argparse.SUPPRESS)


def add_pixel_flags(group: Any) -> None:
    """Bounds of all pictures."""

    def add(flag: str, help: str) -> None:
        group.add_argument(flag, help=help, type=whole_number(1), metavar="N", default=argparse.SUPPRESS)

    add("--min-pixels", "smallest picture, in pixels, after resizing")
    add("--max-pixels", "largest picture, in pixels, after resizing")


def add_media_access_flags(group: Any) -> None:
    """Where media may come from. Any of these flags makes the run a restricted one."""

    def add(flag: str, help: str, **kwargs: Any) -> None:
        group.add_argument(f"--allowed-{flag}", help=help, default=argparse.SUPPRESS, **kwargs)

    add("local-media-path", "read local media only below DIR; without it, the next two flags allow none", metavar="DIR")
    add("media-domain", "read media only from this host; may repeat", metavar="HOST", action="append")
    network = "also read media from private addresses of this network; may repeat"
    add("media-network", network, metavar="CIDR", action="append")


def media_access(settings: dict[str, Any], restricted: bool = False) -> MediaAccess:
    """What the flags of `add_media_access_flags` say. restricted: also when none of them is given."""
    directory = settings.get("allowed_local_media_path")
    domains, networks = (tuple(settings.get(f"allowed_media_{key}", ())) for key in ("domain", "network"))
    if not restricted and directory is None and not domains and not networks:
        return MediaAccess()
    return MediaAccess(restricted=True, local_directory=directory, domains=domains, networks=networks)


def _add_wave_flag(group: Any) -> None:
    group.add_argument(
        "--audio-out",
        metavar="FILE.wav",
        default=argparse.SUPPRESS,
        help="speak: 24 kHz mono WAV, 24 bit; without it the Talker is neither run nor loaded",
    )


def add_speaker_flag(group: Any) -> None:
    group.add_argument(
        "--speaker", metavar="NAME", default=argparse.SUPPRESS, help="a speaker of the checkpoint (default Ethan)"
    )


def _add_sampling_flags(group: Any) -> None:
    def add(flag: str, kind: Any, help: str) -> None:
        group.add_argument(flag, type=kind, metavar="N", default=argparse.SUPPRESS, help=help)

    whole, decimal = whole_number(), decimal_number()
    group.add_argument(
        "--thinker-max-new-tokens",
        "--max-new-tokens",
        type=whole,
        metavar="N",
        default=argparse.SUPPRESS,
        help="most text tokens",
    )
    add("--thinker-temperature", decimal, "0 is greedy")
    add("--thinker-top-p", decimal, "nucleus sampling, 0 to 1")
    add("--thinker-top-k", whole, "0 keeps every token")
    add("--thinker-repetition-penalty", decimal, "1 is none; counts the prompt's tokens, too")
    add("--talker-max-new-tokens", whole, "most speech tokens: N make at most N - 1 frames of 80 ms")
    add("--talker-temperature", decimal, "0 is greedy, of the code predictor too")
    add("--talker-top-p", decimal, "nucleus sampling, 0 to 1")
    add("--talker-top-k", whole, "0 keeps every code")
    add("--talker-repetition-penalty", decimal, "1 is none")
    add("--seed", whole, "seed of sampling; without it every run differs")
    group.add_argument(
        "--ignore-eos",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="always generate the maximum (measurements)",
    )


def add_engine_flags(group: Any) -> None:
    """The model, the device, and how the one runs on the other."""

    def add(flag: str, allowed: tuple[str, ...], help: str) -> None:
        group.add_argument(flag, type=one_of(*allowed), metavar="|".join(allowed), default=argparse.SUPPRESS, help=help)

    group.add_argument(
        "--model",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="checkpoint directory, or a hub name in the local hub cache; default: built-in, a tiny one",
    )
    add("--engine", ENGINES, "fused: compiled graphs; mindone: mindone's own generate; auto: fused where it can")
    add("--parallel", PARALLEL_MODES, "how cards share the model; default auto (understand, serve) or none")
    add("--device", DEVICES, "auto: Ascend where MindSpore sees one")
    add("--dtype", DTYPES, "auto: float32 on a CPU, bfloat16 on Ascend")
    add("--attn-implementation", ATTN_IMPLEMENTATIONS, "auto: eager on a CPU, flash_attention_2 on Ascend")
    group.add_argument(
        "--compile-cache",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="keep compiled graphs there for the next run of the same model and settings",
    )
    add("--launch-capture", LAUNCH_CAPTURES, "on a card, record one decoder's launches and replay them; default none")
    add("--quantize", QUANTIZATIONS, "8-bit weights of the decoder layers; default auto: as the checkpoint stores them")
    add("--media-reader", MEDIA_READERS, "who reads pictures, sound and video; qwen_omni_utils needs torch")


def _add_output_flags(group: Any) -> None:
    toggle: dict[str, Any] = {"action": argparse.BooleanOptionalAction, "default": argparse.SUPPRESS}
    group.add_argument("--stream", help="print text as it comes", **toggle)
    group.add_argument("--json", help="one JSON document on stdout", **toggle)
    group.add_argument(
        "--render",
        metavar="FILE.png",
        default=argparse.SUPPRESS,
        help="--task object-grounding: the picture with the answer's boxes",
    )
    group.add_argument(
        "--transcript",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="--task speech-recognition, speech-translation: the text to FILE.txt, .srt, .vtt or .json, too; the same "
        "command goes on where it was interrupted",
    )
    add_config_flag(group)


def add_size_flags(group: Any) -> None:
    """How many conversations, and how long ones, are taken."""
    group.add_argument(
        "--max-num-seqs",
        metavar="N",
        type=whole_number(1),
        default=argparse.SUPPRESS,
        help="conversations that are answered at a time (default: what fits)",
    )
    group.add_argument(
        "--max-model-len",
        metavar="N",
        type=whole_number(1),
        default=argparse.SUPPRESS,
        help="most tokens of a prompt and its answer together (default: the model's positions)",
    )


def add_served_model_name_flag(group: Any) -> None:
    group.add_argument(
        "--served-model-name",
        metavar="NAME",
        default=argparse.SUPPRESS,
        action="append",
        help="what requests call the model; may repeat (default: --model)",
    )


def add_config_flag(group: Any) -> None:
    group.add_argument(
        "--config", metavar="FILE.yaml", default=argparse.SUPPRESS, help="any of these settings; the command line wins"
    )


UNDERSTAND = CommandFlags("understand", add_flags)


def yaml_keys(flags: CommandFlags = UNDERSTAND) -> set[str]:
    """Every key that a `--config` file may hold."""
    return {action.dest for action in flags.parser()._actions} - COMMAND_LINE_ONLY


def merge_settings(args: argparse.Namespace, flags: CommandFlags = UNDERSTAND) -> dict[str, Any]:
    """The given flags over the values of `--config`, keys with underscores. Unset settings are absent."""
    given = {key: value for key, value in vars(args).items() if key not in COMMAND_LINE_ONLY}
    path = getattr(args, "config", None)
    if path is None:
        return given
    below = read_settings(path, flags)
    if any(key in given for key in PROMPT_KEYS):
        # A task of the file goes with another turn, not with a whole conversation
        replaced = {*PROMPT_KEYS, *(TASK_KEYS if "conversation" in given else ())}
        below = {key: value for key, value in below.items() if key not in replaced}
    return {**below, **given}


def read_settings(path: str, flags: CommandFlags = UNDERSTAND) -> dict[str, Any]:
    """Settings of a YAML file, read as if they had been flags, so that a bad value fails with the flag's own message.

    Raises OmniError naming the file. A key set to null counts as unset."""
    parser = flags.parser()
    words: list[str] = []
    for key, value in load_yaml(path, yaml_keys(flags)).items():
        try:
            words += _as_words(parser, key, value)
        except OmniError as error:
            raise OmniError(f"--config {path}: {error}") from None
    try:
        return vars(parser.parse_args(words))
    except OmniError as error:
        raise OmniError(f"--config {path}: {error}") from None


def _as_words(parser: argparse.ArgumentParser, key: str, value: Any) -> list[str]:
    flag = "--" + key.replace("_", "-")
    action = next(action for action in parser._actions if action.dest == key)
    if value is None:
        return []
    if isinstance(action, argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise OmniError(f"{key}: {value!r} is not allowed; expected true or false")
        return [flag if value else "--no-" + flag[2:]]
    repeats = isinstance(action, argparse._AppendAction)
    values = value if repeats and isinstance(value, list) else [value]
    for item in values:
        if isinstance(item, (bool, dict, list)) or item is None:
            what = "a text or a list of texts" if repeats else "a single value"
            raise OmniError(f"{key}: {item!r} is not allowed; expected {what}")
    return [f"{flag}={item}" for item in values]
