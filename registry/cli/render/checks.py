"""The report of a check of the whole log."""

from __future__ import annotations

from rich.console import RenderableType

from registry.cli.render.parts import BAD, QUIET, fields, lines, literal, verdict
from registry.cli.text import plural
from registry.core.answers import LogReport

_STATES = {"checked": "checked", "locked": "not checked: the keyring cannot be opened"}


def log_report(report: LogReport) -> RenderableType:
    """Return whether the whole log holds, the first bad record, and every finding."""
    left = report.found - len(report.findings)
    rows = [
        ("origin", report.origin),
        ("records", report.size),
        ("root", report.root),
        ("first bad", None if report.first_bad is None else f"record {report.first_bad}"),
        ("blobs", _STATES.get(report.blobs)),
        ("texts", _STATES.get(report.texts)),
    ]
    return lines(
        verdict(report.ok, "the log holds", "THE LOG DOES NOT HOLD"),
        fields(rows),
        *(literal(f"  {problem}", BAD) for problem in report.problems),
        literal(f"  … and {plural(left, 'finding')} more", BAD) if left > 0 else None,
        _resumed(report),
        literal("What is derived from the log: `genops catalog check`.", QUIET),
    )


def _resumed(report: LogReport) -> RenderableType | None:
    if report.resumed_at is None:
        return None
    before = f"An interrupted check went on at record {report.resumed_at}"
    return literal(f"{before}; --fresh checks the records before it again.", QUIET)
