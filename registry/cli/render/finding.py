"""What look-ups found, and what their calibration learnt, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from registry.cli.render.parts import GOOD, QUIET, WARN, fields, lines, literal, table
from registry.cli.text import plural, short, visible
from registry.core.look_up import CERTAIN

if TYPE_CHECKING:
    from rich.console import RenderableType

    from registry.core.find_answers import FindReport, FoundFile
    from registry.core.look_up import (
        FindResult,
        FindVerdict,
        LookUpCalibration,
        Match,
        MatchGeometry,
    )

_STYLES: dict[FindVerdict, str] = {
    "match": "bold",
    "probable": WARN,
    "review": WARN,
    "none": QUIET,
}
_NO_MATCH = "No record here does not mean that it was not generated."
_GUESSED = "* extrapolated: no false match so near was ever counted"


def matches(found: FindResult) -> RenderableType:
    """Return what a file was recognised as: what is certain first, then the most certain."""
    notes = [literal(f"note: {note}", QUIET) for note in found.notes]
    if not found.matches:
        return lines(literal("no match", WARN), literal(_NO_MATCH, QUIET), *notes)
    heads = ("id", "bank", "match", "bits", "E at most", "verdict", "how")
    guessed = any(match.extrapolated for match in found.matches)
    return lines(
        table(heads, map(_row, found.matches), fold=(1, 6)),
        literal(_GUESSED, QUIET) if guessed else None,
        *notes,
    )


def found_file(found: FoundFile) -> str:
    """Return one file of many in a line: its verdict, its path, and its strongest match."""
    result = found.result
    if result is None:
        return _line("error", found.path, f"[{found.code}] {found.reason}")
    if not result.matches:
        return _line("none", found.path, "; ".join(result.notes))
    first, more = result.matches[0], len(result.matches) - 1
    texts = [
        f"{first.kind} of {short(first.id)} in {first.bank}",
        "" if first.distance is None else f"{first.distance} bits",
        "" if first.kind in CERTAIN else f"E {_at_most(first)}",
        _how(first),
        f"and {more:,} more" if more else "",
    ]
    return _line(result.verdict, found.path, ", ".join(text for text in texts if text))


def summed_up(report: FindReport) -> str:
    """Return how many files came to which verdict, in one line."""
    counts = [f"{count:,} {verdict}" for verdict, count in sorted(report.verdicts.items())]
    failed = [f"{report.failed:,} not looked up"] if report.failed else []
    return f"{plural(report.files, 'file')}: {', '.join([*counts, *failed]) or 'nothing'}"


def _line(verdict: str, path: str, text: str) -> str:
    return f"{verdict:<8}  {visible(path)}{'  ' if text else ''}{visible(text)}\n"


def _at_most(match: Match) -> str:
    return "not known" if match.expected_bound is None else f"at most {_expected(match)}"


def _row(match: Match) -> Sequence[object]:
    return (
        short(match.id),
        match.bank,
        literal(match.kind, GOOD if match.kind in CERTAIN else WARN),
        match.distance,
        _expected(match),
        literal(match.verdict, _STYLES[match.verdict]),
        _how(match),
    )


def _expected(match: Match) -> str:
    if match.expected_bound is None:
        return "not known"
    if not match.expected_bound:
        return "0"
    return f"{match.expected_bound:.0e}{'*' if match.extrapolated else ''}"


def _how(match: Match) -> str:
    """Return what was done to the stored picture, and what a person or a bank says."""
    entry = match.entry
    alike = None
    if match.similarity is not None:
        alike = f"{100 * match.similarity:.0f}±{100 * (match.similarity_error or 0):.0f}% alike"
    texts = (
        match.state,
        match.transform,
        alike,
        None if match.geometry is None else _shown(match.geometry),
        None if match.frame is None else f"frame {match.frame}",
        None if entry is None or entry.reason is None else f"because: {entry.reason}",
    )
    return ", ".join(text for text in texts if text)


def _shown(geometry: MatchGeometry) -> str:
    """Return what part of the stored picture the file shows, in per cent from the top left."""
    left, top, right, bottom = (round(100 * side) for side in geometry.box)
    whole = (left, top, right, bottom) == (0, 0, 100, 100)
    turned = round(geometry.rotation)
    across = "shows all of it" if whole else f"shows {left}-{right} % across, {top}-{bottom} % down"
    return f"{across}, turned {turned} degrees" if turned else across


def calibration(done: LookUpCalibration) -> RenderableType:
    """Return what was compared, and which pictures stand nearer than different ones should."""
    pairs = [(name, f"{count:,} pairs") for name, count in sorted(done.fingerprints.items())]
    compared = f"{plural(done.pictures, 'picture')} of {plural(done.sources, 'source')}"
    near = [
        literal(f"  {short(one.first)} and {short(one.second)} differ in {one.distance} bits")
        for one in done.nearest
    ]
    head = "These count as different, and make look-ups less sure; `genops match confirm` says"
    return lines(
        fields(
            [
                ("compared", compared),
                ("banks", ", ".join(done.banks)),
                *pairs,
                ("table", done.table),
                ("record", done.record),
            ]
        ),
        *([literal(head, WARN), literal("that they are one:", WARN), *near] if near else []),
        literal("From now on the expected number of false matches is from this.", QUIET),
    )
