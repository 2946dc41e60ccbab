"""Banks, their entries, and verdicts on matches as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from registry.cli.render.parts import (
    BAD,
    GOOD,
    QUIET,
    WARN,
    fields,
    heading,
    lines,
    literal,
    prose,
    table,
)
from registry.cli.text import plural, short, when
from registry.core.bank_answers import (
    BankAdded,
    BankEntryView,
    BankExport,
    BankImport,
    BankPage,
    BankRemoved,
    BankView,
    MatchVerdictView,
)

MOST_ROWS = 20
_KINDS = {"blocked": BAD, "licensed": GOOD, "negative": QUIET}
_VERDICTS = {"confirmed": GOOD, "refuted": WARN}


def listed(found: Sequence[BankView]) -> RenderableType:
    """Return a line for each bank."""
    if not found:
        return literal("no banks but `registered`, which holds every asset", QUIET)
    rows = [
        (
            bank.name,
            literal(bank.kind, _KINDS[bank.kind]),
            bank.owner,
            f"{bank.entries:,}",
            f"{bank.expired:,}" if bank.expired else "",
            bank.description or "",
        )
        for bank in found
    ]
    return table(("bank", "kind", "owner", "entries", "expired", "description"), rows, fold=(5,))


def page(found: BankPage) -> RenderableType:
    """Return a bank and its entries; one entry in full."""
    bank = found.bank
    head = fields(
        [
            ("bank", literal(bank.name, "bold")),
            ("kind", literal(bank.kind, _KINDS[bank.kind])),
            ("owner", bank.owner),
            ("description", bank.description or ""),
            ("entries", f"{bank.entries:,}" + (f", {bank.expired:,} expired" * bool(bank.expired))),
        ]
    )
    if len(found.entries) == 1:
        return lines(head, heading("Entry"), _entry(found.entries[0]))
    rows = [
        (
            short(entry.id),
            "hash" if entry.hash_only else "picture",
            _day(entry),
            f"{entry.owner}: {entry.source}",
            entry.reason or "",
        )
        for entry in found.entries
    ]
    names = ("id", "of", "until", "owner and source", "reason")
    return lines(head, heading("Entries"), table(names, rows, fold=(3, 4), indent=2))


def added(report: BankAdded) -> RenderableType:
    """Return what was put into a bank."""
    said = (("added", report.added), ("changed", report.changed), ("there before", report.present))
    return lines(
        *(
            literal(f"{asset}  {what}", QUIET if what == "there before" else GOOD)
            for what, assets in said
            for asset in assets
        ),
        *(prose(note, WARN) for note in report.notes),
        *_records(report.records),
    )


def removed(report: BankRemoved) -> RenderableType:
    """Return what was taken out of a bank."""
    shown = report.removed[:MOST_ROWS]
    return lines(
        *(literal(f"{asset}  removed", GOOD) for asset in shown),
        _more(len(report.removed) - len(shown)),
        literal(f"{_count(len(report.removed))} removed from {report.bank}"),
        literal(f"{plural(report.thumbnails, 'thumbnail')} deleted", QUIET)
        if report.thumbnails
        else None,
        *_records(report.records),
    )


def imported(report: BankImport) -> RenderableType:
    """Return what an import did, or would do, and the lines that are bad."""
    verb = "would be " if report.dry_run else ""
    shown = report.problems[:MOST_ROWS]
    problems = [literal(f"  line {one.line}: {one.why}", WARN) for one in shown]
    return lines(
        literal(f"{report.added:,} {verb}added to {report.bank}", "bold"),
        literal(f"{report.changed:,} {verb}changed") if report.changed else None,
        literal(f"{report.present:,} there before", QUIET) if report.present else None,
        literal(f"{report.repeated:,} repeated in the list", QUIET) if report.repeated else None,
        literal(f"{plural(report.bad, 'bad line')} passed over", WARN) if report.bad else None,
        *problems,
        _more(report.bad - len(shown)),
        literal(f"read as {report.format}", QUIET),
        *_records(report.records),
    )


def exported(report: BankExport) -> RenderableType:
    """Return what was written, and what the form could not carry."""
    left = f"{report.left_out:,} left out: they have no PDQ of good quality"
    return lines(
        literal(f"{_count(report.entries)} of {report.bank} written to {report.path}", GOOD),
        literal(left, WARN) if report.left_out else None,
    )


def verdict(said: MatchVerdictView) -> RenderableType:
    """Return one verdict."""
    apart = "" if said.distance is None else f", distance {said.distance:g}"
    return lines(
        literal(said.verdict, _VERDICTS[said.verdict]),
        fields(
            [
                ("file", said.query),
                ("match", f"{said.candidate} in {said.bank}"),
                ("kind", f"{said.kind}{apart}"),
                ("reason", said.reason or ""),
                ("record", said.record),
            ]
        ),
    )


def verdicts(found: Sequence[MatchVerdictView]) -> RenderableType:
    """Return a line for each verdict."""
    if not found:
        return literal("nothing was said of any match", QUIET)
    rows = [
        (
            literal(said.verdict, _VERDICTS[said.verdict]),
            short(said.query),
            short(said.candidate),
            f"{said.bank}, {said.kind}",
            said.reason or "",
        )
        for said in found
    ]
    return table(("verdict", "file", "match", "bank and kind", "reason"), rows, fold=(3, 4))


def _entry(entry: BankEntryView) -> RenderableType:
    return fields(
        [
            ("id", entry.id),
            ("of", "fingerprints alone" if entry.hash_only else "a picture"),
            ("reason", entry.reason or ""),
            ("owner", entry.owner),
            ("source", entry.source),
            ("since", when(entry.time)),
            ("until", _until(entry) or "for good"),
            *(("fingerprint", name) for name in entry.fingerprints),
            ("thumbnail", "yes" if entry.verifiable else "no: parts are not verified"),
            ("record", entry.record),
        ],
        indent=2,
    )


def _until(entry: BankEntryView) -> str:
    if entry.expires is None:
        return ""
    return f"{when(entry.expires)}{' (expired)' if entry.expired else ''}"


def _day(entry: BankEntryView) -> RenderableType | str:
    day = (entry.expires or "").partition("T")[0]
    return literal(f"{day} (expired)", WARN) if entry.expired else day


def _count(entries: int) -> str:
    return f"{entries:,} {'entry' if entries == 1 else 'entries'}"


def _more(left: int) -> RenderableType | None:
    return literal(f"  … and {left:,} more; --json has them", QUIET) if left > 0 else None


def _records(records: Sequence[str]) -> list[RenderableType]:
    if not records:
        return [literal("nothing to record", QUIET)]
    if len(records) == 1:
        return [literal(f"record {records[0]}", QUIET)]
    return [literal(f"{len(records)} records", QUIET)]
