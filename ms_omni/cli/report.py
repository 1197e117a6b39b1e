"""`ms-omni report`: a profile document in any format, or what changed between two."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ms_omni.cli.parser import choice
from ms_omni.errors import OmniError
from ms_omni.files import write_text
from ms_omni.profiling.report import FORMATS, SUFFIXES

USAGE = "ms-omni report PROFILE.json [LATER.json] [--format NAME] [--out FILE] [--fail-on-regression]"
HELP = "show a profile in another format, or compare two and mark regressions beyond the noise"
EXIT_REGRESSION = 1
# how a file ends -> its format
_BY_SUFFIX = {suffix: name for name, suffix in SUFFIXES.items()} | {".htm": "html"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One profile document or two, the format and the file."""
    add = parser.add_argument
    profiles = "as ms-omni profile writes it; a second is compared with it"
    add("profiles", nargs="*", metavar="PROFILE.json", help=profiles)
    add("--format", **choice(*FORMATS), help="default: by the end of --out, else table")
    add("--out", metavar="FILE", help="write there; default: to stdout")
    regression = "with two profiles: exit code 1 when the second is worse"
    add("--fail-on-regression", action="store_true", help=regression)


def run(args: argparse.Namespace) -> int:
    """Print or write the report. Raises OmniError for a document that cannot be read or compared."""
    from ms_omni.profiling import report

    if not 1 <= len(args.profiles) <= 2:
        raise OmniError(f"expected one profile document, or two to compare; got {len(args.profiles)}")
    if args.fail_on_regression and len(args.profiles) == 1:
        raise OmniError("--fail-on-regression: needs two profile documents, the earlier one first")
    format = args.format or _format_of(args.out)
    profiles = [report.read_profile(path) for path in args.profiles]
    if len(profiles) == 1:
        _write(report.render(profiles[0], format), args.out)
        return 0
    comparison = report.compare(*profiles)
    _write(report.render_comparison(comparison, format), args.out)
    return EXIT_REGRESSION if args.fail_on_regression and comparison.regressions else 0


def _format_of(out: str | None) -> str:
    if out is None:
        return "table"
    suffix = Path(out).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise OmniError(f"--out {out}: its end names no format; give --format, or end it with {', '.join(_BY_SUFFIX)}")
    return _BY_SUFFIX[suffix]


def _write(text: str, out: str | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    write_text(Path(out), text)
