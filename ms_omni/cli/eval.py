"""`ms-omni eval`: how good a batch's answers are beside references, or whether two batches differ beyond chance."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms_omni.cli.parser import choice, whole_number
from ms_omni.errors import OmniError
from ms_omni.files import write_text

if TYPE_CHECKING:
    from ms_omni.evaluation import Comparison, Evaluation

USAGE = "ms-omni eval RESULTS.jsonl --reference REF.jsonl --metric NAME [flags]      (or --compare A.jsonl B.jsonl)"
HELP = "score answers against references, or say whether two runs differ beyond chance"
# Those of ms_omni.evaluation, which imports numpy; --help need not wait for it
METRICS = ("wer", "cer", "bleu", "chrf", "accuracy", "iou")
NORMALIZERS = ("english", "basic", "none")
REPORTS = (".html", ".htm", ".md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The runs, their references, the metric and the reports."""
    add = parser.add_argument
    add("results", nargs="*", metavar="RESULTS.jsonl", help="as ms-omni batch writes it")
    runs = "instead: two runs of the same questions"
    add("--compare", nargs=2, metavar=("A.jsonl", "B.jsonl"), help=runs)
    add("--reference", metavar="REF.jsonl", required=True, help="id and the right answer, a line each")
    add("--metric", **choice(*METRICS), required=True, help="required")
    normalize = "normalise texts before comparing (wer, cer, accuracy); default: by language"
    add("--normalize", **choice(*NORMALIZERS), help=normalize)
    add("--tokenize", metavar="NAME", help="sacrebleu's tokenizer (bleu); default: by language")
    add("--language", metavar="CODE", help="of references that name none")
    add("--allow-missing", action="store_true", help="leave out ids that are not in all files")
    add("--worst", type=whole_number(0), default=10, metavar="N", help="rows shown (10)")
    add("--seed", type=whole_number(0), default=0, metavar="N", help="of the intervals (0)")
    add("--resamples", type=whole_number(1), default=2000, metavar="N", help="draws for the intervals (2000)")
    add("--json", metavar="FILE|-", help="everything as a JSON document; - prints it alone")
    add("--report", metavar="FILE.html|.md", help="a page with the worst rows and their recordings")


def run(args: argparse.Namespace) -> int:
    """Print the figures and write what is asked for. Raises OmniError before anything is written."""
    _check(args)
    from ms_omni.evaluation import compare, evaluate
    from ms_omni.evaluation.page import report, terminal

    options: dict[str, Any] = {
        name: getattr(args, name) for name in ("normalize", "tokenize", "language", "allow_missing", "seed")
    }
    options["num_resamples"] = args.resamples
    found: Evaluation | Comparison
    if args.compare:
        a, b = args.compare
        found = compare(a, b, args.reference, args.metric, **options)
    else:
        found = evaluate(args.results[0], args.reference, args.metric, **options)
    if args.report:
        write_text(Path(args.report), report(found, Path(args.report), args.worst), "--report")
    text = json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
        return 0
    if args.json:
        write_text(Path(args.json), text, "--json")
    sys.stdout.write(terminal(found, args.worst))
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.compare and args.results:
        raise OmniError(f"{args.results[0]} and --compare exclude each other; expected one run, or --compare with two")
    if not args.compare and len(args.results) != 1:
        raise OmniError(f"expected one file of results, or --compare with two; got {len(args.results)}")
    for flag, name in (("--json", args.json), ("--report", args.report)):
        if name and name != "-" and not Path(name).parent.is_dir():
            raise OmniError(f"{flag} {name}: the directory {Path(name).parent} does not exist")
    if args.report and Path(args.report).suffix.lower() not in REPORTS:
        raise OmniError(f"--report {args.report}: its end names no format; expected one of {', '.join(REPORTS)}")
