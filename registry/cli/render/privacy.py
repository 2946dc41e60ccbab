"""Reports on erasures, holds, retention and persons' requests."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType

from registry.cli.answers import Written
from registry.cli.render.parts import BAD, GOOD, QUIET, WARN, fields, lines, literal, table
from registry.cli.render.reports import receipt
from registry.cli.text import plural, short, size, when
from registry.core.answers import Receipt
from registry.core.privacy import (
    CertificateView,
    Certified,
    ErasureItem,
    ErasureReport,
    HoldView,
    RetentionReport,
    RetentionView,
    SubjectExport,
    SubjectReport,
)

MOST_ROWS = 100
_SHARED = ("/predicate", "/buildDefinition", "/externalParameters", "/arguments")


def erasure(report: ErasureReport) -> RenderableType:
    """Return what is, or would be, erased, and what holds keep."""
    return lines(
        _head(report),
        _items(report),
        literal(f"{plural(report.unread, 'record')} could not be searched: no key here", WARN)
        if report.unread
        else None,
        None
        if report.wiped
        else literal("a reader keeps old database pages; the next erasure drops them", WARN),
    )


def show_plan(report: ErasureReport) -> None:
    """Show on stderr what an erasure would do, for a person to confirm."""
    out = Console(stderr=True, markup=False, emoji=False, highlight=False)
    out.print(erasure(report))


def _places(pointers: Sequence[str]) -> str:
    """Return JSON Pointers into a statement, without the parts that they share."""
    found = []
    for pointer in pointers:
        place = pointer
        for shared in _SHARED:
            place = place.removeprefix(shared)
        found.append(place.removeprefix("/").removeprefix("genops_"))
    return " ".join(found)


def _head(report: ErasureReport) -> RenderableType:
    held = len(report.held)
    if report.dry_run:
        free = sum(not item.held_by and not item.erasure for item in report.items)
        text = f"would erase the texts of {plural(free, 'record')}"
        return literal(text + (f", and leave {held} under legal hold" if held else ""), WARN)
    text = f"the texts of {plural(len(report.erased), 'record')} are erased for good"
    if held:
        return literal(f"{text}; {plural(held, 'record')} under legal hold kept", BAD)
    return literal(text, GOOD)


def _items(report: ErasureReport) -> RenderableType | None:
    if not report.items:
        return None
    rows = [_row(item, dry_run=report.dry_run) for item in report.items[:MOST_ROWS]]
    return lines(
        table(("record", "kind", "fields", ""), rows, fold=(2, 3), indent=2),
        _more(len(report.items)),
    )


def _more(count: int) -> RenderableType | None:
    left = count - MOST_ROWS
    return literal(f"  … and {left:,} more; --json has them", QUIET) if left > 0 else None


def _row(item: ErasureItem, *, dry_run: bool) -> tuple[object, ...]:
    shown = _places(item.found_in or item.fields)
    personal = f", and {plural(item.personal, 'personal output')}" if item.personal else ""
    state = _state(item, dry_run=dry_run)
    return short(item.record), item.predicate, literal(shown + personal), state


def _state(item: ErasureItem, *, dry_run: bool) -> RenderableType:
    if item.held_by:
        return literal("HELD by " + " ".join(map(short, item.held_by)), BAD)
    if item.erasure:
        return literal(f"{'was erased' if dry_run else 'erased'} by {short(item.erasure)}", GOOD)
    return literal("would be erased" if dry_run else "not erased", WARN)


def receipts(done: Sequence[Receipt]) -> RenderableType:
    """Return where each record is in the log."""
    return lines(*map(receipt, done)) if done else literal("nothing was found to hold", WARN)


def holds(found: Sequence[HoldView]) -> RenderableType:
    """Return the holds, one below the other."""
    if not found:
        return literal("no hold stands")
    return lines(*map(_hold, found))


def _hold(hold: HoldView) -> RenderableType:
    return lines(
        literal(f"{hold.kind} {short(hold.target)}", QUIET if hold.lifted else "bold"),
        fields(
            [
                ("hold", short(hold.hold)),
                ("since", when(hold.placed)),
                ("by", hold.by),
                ("reason", hold.reason),
                ("lifted", when(hold.lifted) if hold.lifted else None),
            ],
            indent=2,
        ),
    )


def rules(view: RetentionView) -> RenderableType:
    """Return the retention rules in their order."""
    rows = [
        (
            rule.name,
            "for good" if rule.after_days is None else f"{plural(rule.after_days, 'day')}",
            rule.project,
            rule.campaign or "-",
            literal(" ".join(rule.predicates) or "every kind"),
        )
        for rule in view.rules
    ]
    heads = ("rule", "texts are kept", "project", "campaign", "records")
    return lines(
        table(heads, rows, fold=(4,)),
        literal("The first rule that covers a record decides; without one, texts stay.", QUIET),
    )


def retained(report: RetentionReport) -> RenderableType:
    """Return what the rules ask for, and what was done."""
    if not report.due:
        return literal(f"nothing is due as of {when(report.as_of)}", GOOD)
    due = ", ".join(f"{name} {count:,}" for name, count in report.due.items())
    return lines(
        fields([("as of", when(report.as_of)), ("due by rule", due)]), erasure(report.erasure)
    )


def mentions(report: SubjectReport) -> RenderableType:
    """Return the records that concern a person, and where the name stands."""
    head = f"{plural(len(report.mentions), 'record')}, {report.readable:,} of them readable"
    rows = [
        (
            short(m.record),
            m.predicate,
            when(m.time),
            " ".join(m.because),
            literal(_places(m.found_in)),
            literal(_places(m.plain), BAD if m.plain else ""),
            literal("HELD", BAD) if m.held_by else m.text,
        )
        for m in report.mentions[:MOST_ROWS]
    ]
    titles = ("record", "kind", "time", "as", "in texts", "in plain sight", "")
    return lines(
        fields([("pseudonym", report.pseudonym), ("found", head)]),
        table(titles, rows, fold=(3, 4, 5)) if rows else None,
        _more(len(report.mentions)),
        literal(f"{plural(report.unread, 'record')} could not be searched: no key here", WARN)
        if report.unread
        else None,
    )


def exported(done: SubjectExport) -> RenderableType:
    """Return what an export holds."""
    what = f"{plural(done.records, 'record')}, {plural(done.outputs, 'personal output')}"
    return fields([("file", done.path), ("pseudonym", done.pseudonym), ("holds", what)])


def certificate(view: CertificateView) -> RenderableType:
    """Return whether a certificate holds, and what it certifies."""
    named = {None: None, True: "the name fits", False: "IT MEANS SOMEBODY ELSE"}[view.named]
    good = "the certificate holds" if view.ok else "THE CERTIFICATE DOES NOT HOLD"
    return lines(
        literal(good, GOOD if view.ok else BAD),
        fields(
            [
                ("log", view.origin),
                ("made", when(view.made)),
                ("pseudonym", view.pseudonym),
                ("name", named),
                ("erased", plural(len(view.erased), "record")),
                ("held", plural(len(view.held), "record") if view.held else None),
            ]
        ),
        _certified(view.erased, "erased by"),
        _certified(view.held, "held by"),
        *(literal(f"  {problem}", BAD) for problem in view.problems),
    )


def _certified(found: Sequence[Certified], by: str) -> RenderableType | None:
    if not found:
        return None
    rows = [
        (
            short(line.record),
            when(line.time),
            " ".join(map(short, line.held_by or (line.erasure,))),
            literal("; ".join(line.why)),
        )
        for line in found[:MOST_ROWS]
    ]
    return lines(table(("record", "time", by, ""), rows, fold=(2, 3), indent=2), _more(len(found)))


def written(view: Written) -> RenderableType:
    """Return where an asset's bytes were written."""
    return fields([("asset", view.id), ("file", view.path), ("size", size(view.size))])
