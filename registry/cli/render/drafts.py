"""Drafts as text: lists, what was kept, what expired."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from registry.cli.render.parts import GOOD, QUIET, WARN, heading, lines, literal, table
from registry.cli.text import plural, short, size, when
from registry.core.draft_answers import DraftView, DueDraft, ExpiryReport, KeptReport

MOST_ROWS = 100
_STYLES = {"draft": WARN, "kept": GOOD, "expired": QUIET}


def listed(found: Sequence[DraftView]) -> RenderableType:
    """Return a line for each draft."""
    if not found:
        return literal("no drafts", QUIET)
    rows = [
        (
            short(draft.id),
            literal(draft.state, _STYLES[draft.state]),
            when(draft.time),
            draft.media_type or "",
            "" if draft.size is None else size(draft.size),
            draft.project,
            draft.campaign or "",
        )
        for draft in found
    ]
    return table(("id", "state", "time", "type", "size", "project", "campaign"), rows, fold=(6,))


def kept(report: KeptReport) -> RenderableType:
    """Return what was kept."""
    again = set(report.again)
    return lines(
        *(
            literal(f"{asset}  {'made again, and kept' if asset in again else 'kept'}", GOOD)
            for asset in report.kept
        ),
        literal(f"record {report.record}" if report.record else "all had been kept before", QUIET),
    )


def expiry(report: ExpiryReport) -> RenderableType:
    """Return what expired, or would, and what stays and why."""
    verb = "would expire" if report.dry_run else "expired"
    head = f"{plural(len(report.expired), 'draft')} {verb}, {plural(len(report.staying), 'draft')}"
    freed = f"{plural(report.blobs, 'file')} left the vault, {size(report.freed)}"
    return lines(
        literal(f"{head} of that age stay", "bold"),
        None if report.dry_run else literal(freed),
        *_rows("Expired" if not report.dry_run else "Would expire", report.expired),
        *_rows("Stay", report.staying),
    )


def _rows(title: str, drafts: Sequence[DueDraft]) -> list[RenderableType]:
    if not drafts:
        return []
    shown = [
        (
            short(d.id),
            when(d.time),
            "" if d.size is None else size(d.size),
            d.stays or title.lower(),
        )
        for d in drafts[:MOST_ROWS]
    ]
    left = len(drafts) - len(shown)
    more = [literal(f"  … and {left} more; --json has them", QUIET)] if left else []
    return [heading(title), table(("id", "time", "size", ""), shown, fold=(3,), indent=2), *more]
