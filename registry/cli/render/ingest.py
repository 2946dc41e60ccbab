"""What became of a library, as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import RenderableType

from registry.cli.render.parts import BAD, GOOD, QUIET, heading, lines, literal, table
from registry.cli.text import plural, size
from registry.core.ingest_answers import FileOutcome, IngestReport

MOST_ROWS = 40


def ingested(report: IngestReport) -> RenderableType:
    """Return what was registered, what was left out and why, and every file that failed."""
    left = [f"{count:,} {why}" for why, count in report.left_out.items()]
    exact = f"{plural(report.exact_only, 'file')} without a fingerprint: found by the same bytes"
    return lines(
        literal(summed_up(report), GOOD if report.ok else "bold"),
        literal(f"{exact} only", QUIET) if report.exact_only else None,
        literal(f"left out: {', '.join(left)}", QUIET) if left else None,
        *_rows("The same as another file", report.duplicates, lambda one: one.same_as or ""),
        *_rows("Not taken in", report.failed, lambda one: f"[{one.code}] {one.reason}", BAD),
    )


def summed_up(report: IngestReport) -> str:
    """Return the run in one line."""
    verb = "would be registered" if report.dry_run else "registered"
    parts = [f"{plural(report.new, 'file')} {verb} ({size(report.size)})"]
    if report.known:
        parts.append(f"{report.known:,} known before")
    if report.duplicates:
        parts.append(plural(len(report.duplicates), "duplicate"))
    if report.failed:
        parts.append(f"{len(report.failed):,} not taken in")
    rate = f", {report.files / report.seconds:,.0f}/s" if report.seconds else ""
    return f"{', '.join(parts)}; {report.files:,} read in {report.seconds:.1f} s{rate}"


def _rows(
    title: str,
    found: Sequence[FileOutcome],
    why: Callable[[FileOutcome], str],
    style: str = "",
) -> list[RenderableType]:
    if not found:
        return []
    shown = [(literal(one.path, style), why(one)) for one in found[:MOST_ROWS]]
    left = len(found) - len(shown)
    more = [literal(f"  … and {left:,} more; --json and --lines have them", QUIET)] if left else []
    return [heading(title), table(("", ""), shown, fold=(0, 1), indent=2), *more]
