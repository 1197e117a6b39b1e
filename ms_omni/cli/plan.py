"""`ms-omni plan`: memory and projected speed for card counts and hardware, without loading any weight."""

from __future__ import annotations

import argparse
import re

from ms_omni.cli.parser import choice, decimal_number, whole_number, whole_numbers
from ms_omni.config import DTYPES, QUANTIZATIONS

USAGE = "ms-omni plan [--model instruct|thinking|captioner|DIR] [--cards 1,2,4,8] [--hardware NAME] [flags]"
HELP = "memory and projected speed on so many cards, without loading the model"
FORMATS = ("table", "markdown", "json")
PARALLEL = ("all", "auto", "none", "zero3", "ep", "tp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the cards, the workload and the format."""
    add = parser.add_argument
    model = "a released model by name (default instruct), a checkpoint directory, config.json, or built-in"
    add("--model", metavar="DIR", default="instruct", help=model)
    add("--cards", type=whole_numbers, default=(1, 2, 4, 8), metavar="N,N", help="cards of a job (default 1,2,4,8)")
    group = "cards that share one model (default: all of them)"
    add("--group-size", type=whole_numbers, default=(), metavar="G,G", help=group)
    add("--hardware", default="910b2", metavar="NAME", help="910b1 to 910b4, 910b4-1, a3, cpu (910b2)")
    add("--parallel", **choice(*PARALLEL), default="all", help="modes to show (all)")
    add("--dtype", **choice(*DTYPES), default="auto", help="of weights and caches")
    quantize = "8-bit weights of the decoder layers; auto (default): as the checkpoint stores them"
    add("--quantize", **choice(*QUANTIZATIONS), default="auto", help=quantize)
    batch = "also plan so many conversations at once (at most 32)"
    add("--batch", type=_batches, default=(), metavar="N,N", help=batch)
    add("--text-only", action="store_true", help="without the Talker, as without --audio-out")
    count, number = whole_number(1), decimal_number()
    add("--prompt-tokens", type=count, default=64, metavar="N", help="tokens of text (default 64)")
    add("--image-pixels", type=_size, action="append", default=[], metavar="WxH", help="a picture; may repeat")
    add("--audio-seconds", type=number, default=0.0, metavar="S", help="of sound")
    add("--video-seconds", type=number, default=0.0, metavar="S", help="of video")
    add("--video-pixels", type=_size, default=(1280, 720), metavar="WxH", help="default 1280x720")
    add("--fps", type=number, default=2.0, metavar="F", help="frames a second that are used (2)")
    add("--use-audio-in-video", action="store_true", help="the video's sound as well")
    answer = ("--max-new-tokens", "--thinker-max-new-tokens")
    add(*answer, type=count, default=1024, metavar="N", help="of the answer (1024)")
    add("--talker-max-new-tokens", type=count, default=4096, metavar="N", help="of its speech (4096)")
    add("--format", **choice(*FORMATS), default="table", help="of the plan (table)")


def run(args: argparse.Namespace) -> int:
    """Print the plan. Raises OmniError for a wrong flag, and with --parallel auto for what does not fit."""
    import json
    import sys

    from ms_omni.cli.quiet import results_only_on_stdout

    with results_only_on_stdout(args.debug):
        from ms_omni.planning.plan import as_json

        plan = _plan(args)
    if args.format == "json":
        print(json.dumps(as_json(plan), ensure_ascii=False))
        return 0
    from ms_omni.planning.report import write_report

    write_report(plan, args.format == "markdown", sys.stdout)
    return 0


def _plan(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    from ms_omni.checkpoint.compressed import quantization_of, quantize_of
    from ms_omni.errors import OmniError
    from ms_omni.planning.hardware import CPU, find_hardware
    from ms_omni.planning.memory import Planned
    from ms_omni.planning.model import plan_config
    from ms_omni.planning.plan import make_plan
    from ms_omni.planning.precision import check_precision
    from ms_omni.planning.workload import Workload

    hardware = find_hardware(args.hardware)
    workload = Workload(
        prompt_tokens=args.prompt_tokens,
        images=tuple(args.image_pixels),
        audio_seconds=args.audio_seconds,
        video_seconds=args.video_seconds,
        fps=args.fps,
        video_size=args.video_pixels,
        use_audio_in_video=args.use_audio_in_video,
        max_new_tokens=args.max_new_tokens,
        talker_max_new_tokens=args.talker_max_new_tokens,
    )
    dtype = hardware.default_dtype if args.dtype == "auto" else args.dtype
    if hardware.device == CPU and dtype != "float32":
        raise OmniError(f"--dtype {dtype} with --hardware cpu: MindSpore's CPU backend computes in float32 only")
    config = plan_config(args.model)
    stored = quantization_of(getattr(config, "quantization_config", None), args.model)
    quantize = quantize_of(args.quantize, "fused", stored, args.model)
    planned = Planned(config, hardware, dtype, config.enable_audio_output and not args.text_only, quantize)
    check_precision(planned.precision)
    return make_plan(args.model, planned, workload, args.cards, args.parallel, args.group_size, args.batch)


def _batches(text: str) -> tuple[int, ...]:
    """Numbers of conversations at once, without the one that is always planned."""
    from ms_omni.planning.memory import MOST_AT_ONCE

    found = whole_numbers(text)
    if max(found) > MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"{max(found)} conversations at once: at most {MOST_AT_ONCE}")
    return tuple(size for size in found if size > 1)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.lower())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(match[1]), int(match[2])
