"""The title, tables, lines and links to media that reports of an evaluation or a comparison show."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ms_omni.evaluation.comparison import ALPHA, Comparison
from ms_omni.evaluation.evaluation import Evaluation
from ms_omni.evaluation.metric import Piece
from ms_omni.evaluation.scores import Row
from ms_omni.tables import Table

# Words that are alike on either side of a difference, where a line is short of room
_CONTEXT = 4
NOTES = {
    True: "Less is better. The worst rows by their own figure.",
    False: "More is better. The worst rows by their own figure.",
}
DASH = "-"


@dataclass(frozen=True)
class Link:
    """A recording or picture of a reference. kind: "audio", "image" or "video". target: a URL, relative to the report
    for a file; None where there is no such file."""

    kind: str
    name: str
    target: str | None


def linked(kind: str, name: str, reference: str, report: Path) -> Link:
    """name: an http(s) URL, or a path that counts from the current directory or, where nothing is there, from the
    directory of the reference, as in a manifest. reference: its path. report: the file that links."""
    if name.startswith(("http://", "https://")):
        return Link(kind, name, name)
    for start in (Path(), Path(reference).parent):
        path = start / name
        if path.is_file():
            relative = os.path.relpath(path.resolve(), report.resolve().parent)
            # `./`: a name such as `a:b.wav` must not be read as a scheme
            return Link(kind, name, "./" + quote(Path(relative).as_posix()))
    return Link(kind, name, None)


def title(one: Evaluation | Comparison) -> str:
    """The main figure with its value, or the verdict of a comparison."""
    if isinstance(one, Comparison):
        return f"{name_of(one)}: {one.verdict}"
    main = one.scores[0]
    return f"{name_of(one)} {main.figures[0].value:.2f} ({main.name}, {main.num_rows} rows)"


def name_of(one: Evaluation | Comparison) -> str:
    """The name of the main figure."""
    return (one.a if isinstance(one, Comparison) else one).scores[0].figures[0].name


def tables(one: Evaluation | Comparison, worst: int, report: Path | None = None) -> list[Table]:
    """worst: how many rows. report: the file that will link to media; without it they are left out."""
    if isinstance(one, Comparison):
        return [differences(one), scores(one.a, "Run A"), scores(one.b, "Run B"), *_changed(one, worst)]
    return [scores(one), *_worst(one, worst, report)]


def scores(evaluation: Evaluation, heading: str = "Figures") -> Table:
    """A row for each score: all rows together, then each language."""
    figures = [figure.name for figure in evaluation.scores[0].figures]
    errors = ("substitutions", "deletions", "insertions") if "insertions" in _counts(evaluation) else ()
    rows = []
    for score in evaluation.scores:
        cells = [score.name, score.unit or DASH, str(score.num_rows)]
        for figure in score.figures:
            cells += [f"{figure.value:.2f}", _span(figure.low, figure.high)]
        rows.append((*cells, *(f"{score.counts[name]:.0f}" if score.counts else DASH for name in errors)))
    columns = ["rows of", "counted in", "rows"]
    for name in figures:
        columns += [name, "95 % interval"]
    return Table(heading, (*columns, *errors), tuple(rows), 2, evaluation.notes)


def differences(comparison: Comparison) -> Table:
    """A row for each figure of each score, with its interval and p."""
    rows = tuple(
        (one.name, one.figure, str(one.num_rows), f"{one.a:.2f}", f"{one.b:.2f}", f"{one.difference:+.2f}",
         _span(one.low, one.high), f"{one.p_value:.4f}", "yes" if one.is_beyond_chance else "no")
        for one in comparison.differences
    )  # fmt: skip
    notes = [f"p: how often exchanging the two answers of rows at random makes as large a difference. Beyond chance: "
             f"p < {ALPHA}."]  # fmt: skip
    if len(rows) > len(comparison.a.scores[0].figures):
        notes.append("Of many comparisons of equal runs, one in twenty is called beyond chance: the first one counts.")
    columns = ("rows of", "figure", "rows", "A", "B", "B - A", "95 % interval", "p", "beyond chance")
    return Table("Does B differ from A", columns, rows, 2, tuple(notes))


def facts(one: Evaluation | Comparison) -> list[tuple[str, str]]:
    """Names and values that say where the figures come from."""
    if isinstance(one, Comparison):
        return [("run A", one.a.results), ("run B", one.b.results), *_common_facts(one.a)]
    return [("results", one.results), *_common_facts(one)]


def _span(low: float | None, high: float | None) -> str:
    return DASH if low is None or high is None else f"{low:.2f} to {high:.2f}"


def aligned(pieces: Sequence[Piece], is_short: bool = True) -> str:
    """As wdiff writes it: [-of the reference-] {+of the answer+}. is_short: equal stretches are cut in their middle."""
    return " ".join(filter(None, _marked(pieces, is_short)))


def _marked(pieces: Sequence[Piece], is_short: bool) -> Iterator[str]:
    last = len(pieces) - 1
    for place, piece in enumerate(pieces):
        if piece.kind == "equal":
            yield _shortened(piece.reference, place > 0, place < last) if is_short else piece.reference
            continue
        if piece.reference:
            yield f"[-{piece.reference}-]"
        if piece.answer:
            yield f"{{+{piece.answer}+}}"


def _shortened(text: str, has_left: bool, has_right: bool) -> str:
    """The ends beside a difference. has_left, has_right: whether there is one."""
    words = text.split()
    if len(words) <= 2 * _CONTEXT + 1 or not (has_left or has_right):
        return text
    left = words[:_CONTEXT] if has_left else []
    right = words[-_CONTEXT:] if has_right else []
    return " ".join([*left, "...", *right])


def said(row: Row) -> str:
    """A row's answer and its differences from the reference, in one cell."""
    if row.failure is not None:
        return _printable(f"no answer: {row.failure}")
    text = aligned(row.pieces) if row.pieces else row.answer or "(nothing)"
    return _printable(f"{text} ({row.note})" if row.note else text)


def _printable(text: str) -> str:
    """Without characters that would move a terminal's cursor."""
    return "".join(char if char.isprintable() else " " for char in text)


def _worst(evaluation: Evaluation, worst: int, report: Path | None) -> list[Table]:
    rows = evaluation.rows[:worst]
    if not rows:
        return []
    several = len({row.language for row in evaluation.rows}) > 1
    cells = []
    for row in rows:
        media = [linked(kind, name, evaluation.reference, report) for kind, name in row.media] if report else []
        links = " ".join(map(_as_link, media))
        expected = () if row.pieces else (_printable(row.reference),)
        cells.append((_printable(row.id), *((row.language,) if several else ()), *expected, said(row),
                      *((links,) if report else ()), f"{row.value:.2f}"))  # fmt: skip
    # a failed row of an aligned metric has pieces too: all of its reference is deleted
    columns = ["id", *(("language",) if several else ()), *(() if rows[0].pieces else ("expected",)), "answer",
               *(("media",) if report else ()), name_of(evaluation)]  # fmt: skip
    heading = f"Worst rows ({len(rows)} of {len(evaluation.rows)})"
    notes = ["[-in the reference-] {+in the answer+}"] if rows[0].pieces else []
    return [Table(heading, tuple(columns), tuple(cells), len(columns) - 1, (NOTES[evaluation.lower_is_better], *notes))]


def _as_link(link: Link) -> str:
    """In Markdown."""
    return f"[{link.kind}]({link.target})" if link.target else f"{link.kind} {link.name}: not found"


def _changed(comparison: Comparison, worst: int) -> list[Table]:
    found = [(a, b) for a, b in comparison.changed if a.value != b.value][:worst]
    if not found:
        return []
    name = name_of(comparison)
    rows = tuple((_printable(a.id), said(a), said(b), f"{a.value:.2f}", f"{b.value:.2f}") for a, b in found)
    return [Table(f"Rows that changed ({len(rows)})", ("id", "A", "B", f"{name} of A", f"{name} of B"), rows, 3,
                  ("Those that became worse in B first.",))]  # fmt: skip


def _common_facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    methods: dict[str, list[str]] = {}
    for language, method in evaluation.methods.items():
        methods.setdefault(method, []).append(language)
    return [
        ("reference", evaluation.reference),
        *((_counting(languages, evaluation), method) for method, languages in methods.items()),
        ("interval", f"95 %, {evaluation.num_resamples} draws of rows with replacement, seed {evaluation.seed}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in evaluation.versions.items())),
    ]


def _counting(languages: list[str], evaluation: Evaluation) -> str:
    return "counting" if len(evaluation.methods) == 1 else f"counting of {', '.join(sorted(languages))}"


def _counts(evaluation: Evaluation) -> dict[str, float]:
    return next((score.counts for score in evaluation.scores if score.counts), {})
