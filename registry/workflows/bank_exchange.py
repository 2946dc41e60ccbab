"""Banks as lists that others read and write: imports that can be repeated, and exports.

A bad line is passed over and told; nothing is taken where every line is bad.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import tuple_

from registry.core import bank_lists
from registry.core.bank_answers import BadLineView, BankExport, BankImport
from registry.core.bank_lines import PDQ_LISTED, BadLine, Form, Listed
from registry.core.banks import NewEntry
from registry.core.fingerprint import FingerprintValue
from registry.core.times import format_time
from registry.errors import InputError
from registry.similarity.pdq import PDQ
from registry.store.believed import ENTRIES, standing_entries, unexpired
from registry.store.transaction import read
from registry.workflows.bank_records import Progress, State, Terms, put, states_of
from registry.workflows.banks import Opened, kind_of
from registry.workflows.ingest import plain_file
from registry.workflows.services import Services

MAX_LIST_BYTES = 128 * 1024 * 1024
"""Largest list that is read: two million PDQ hashes; a longer one is split."""
MOST_PROBLEMS = 100
"""Most bad lines that an answer names; it counts them all."""
ExportForm = Literal["genops", "text"]

_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class How:
    """How a list is read: its form, told by its first line if None; and what is done then.

    With `force`, hashes of low quality are taken; with `dry_run`, nothing is recorded. `progress`
    hears of entries done.
    """

    form: Form | None = None
    force: bool = False
    dry_run: bool = False
    progress: Progress | None = None


_PLAINLY = How()


@dataclass(frozen=True, slots=True)
class _Sorted:
    """A list's entries, each once, and what was wrong with it."""

    entries: tuple[NewEntry, ...]
    repeated: int
    problems: tuple[BadLine, ...]


def import_list(
    services: Services,
    bank: str,
    data: bytes,
    terms: Terms,
    how: How = _PLAINLY,
    *,
    actor: str | None = None,
) -> BankImport:
    """Put a list's entries into a bank; what a line says goes before `terms`.

    Done again, it adds only what is new. Raises InputError (`bank.list`: it cannot be read, or no
    line is good), NotFoundError.
    """
    with read(services.engine) as conn:
        kind_of(conn, bank)
    first = next((line for line in data[:65536].splitlines() if line.strip()), b"")
    form = how.form or bank_lists.form_of(first.removeprefix(b"\xef\xbb\xbf"))
    found = _read(data, form, terms, services.now(), force=how.force)
    if found.problems and not found.entries:
        worst = found.problems[0]
        raise InputError(
            f"no line of the list can be used; line {worst.line}: {worst.why}",
            code="bank.list",
            hint="say what it is with --format; docs/banks.md shows the forms",
        )
    states = states_of(services, bank, found.entries)
    records: tuple[str, ...] = ()
    if not how.dry_run:
        _, records = put(
            services, bank, found.entries, actor=actor, known=states, progress=how.progress
        )
    counts = _counted(states)
    return BankImport(
        bank=bank,
        format=form,
        dry_run=how.dry_run,
        records=records,
        read=len(found.entries) + found.repeated,
        added=counts["added"],
        changed=counts["changed"],
        present=counts["present"],
        repeated=found.repeated,
        bad=len(found.problems),
        problems=tuple(BadLineView(p.line, p.why) for p in found.problems[:MOST_PROBLEMS]),
    )


def export_lines(
    services: Services, bank: str, form: ExportForm, *, reasons: bool = False
) -> Iterator[tuple[str, int, int]]:
    """Yield a bank's list, line by line: the text, and the entries that it carries or leaves out.

    Of entries that stand and have not expired, oldest first. Reasons are left out unless asked
    for: they are ours. As `text`, only good PDQ is carried. Raises NotFoundError.
    """
    with read(services.engine) as conn:
        kind = kind_of(conn, bank)
    if form == "genops":
        origin = services.settings.origin
        yield bank_lists.header(bank, kind, origin, services.now()), 0, 0
    for listed in _entries(services, bank, reasons=reasons):
        if form == "genops":
            yield bank_lists.line_of(listed), 1, 0
            continue
        hashes = [v.value.hex() for v in listed.prints if _is_good_pdq(v)]
        yield hashes[0] if hashes else "", len(hashes[:1]), 0 if hashes else 1


def _is_good_pdq(value: FingerprintValue) -> bool:
    """Tell whether a value may stand in a list without its quality."""
    return value.name in (PDQ, PDQ_LISTED) and value.quality >= bank_lists.MIN_QUALITY


def export_list(
    services: Services, bank: str, out: Path, form: ExportForm, *, reasons: bool = False
) -> BankExport:
    """Write a bank's list into a new file, readable by its owner alone; see `export_lines`.

    Raises InputError (`file.exists`, `file.unwritable`), NotFoundError.
    """
    entries = left_out = 0
    with read(services.engine) as conn:
        kind_of(conn, bank)
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for text, carried, passed in export_lines(services, bank, form, reasons=reasons):
                entries, left_out = entries + carried, left_out + passed
                file.write(f"{text}\n" if text else "")
    except FileExistsError:
        raise InputError(f"{out} is there already", code="file.exists") from None
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", code="file.unwritable") from error
    return BankExport(bank, form, str(out), entries, left_out)


def read_list_file(path: Path) -> bytes:
    """Return the bytes of a list; raises InputError (`file.unreadable`, `file.too-large`)."""
    with plain_file(path) as opened:
        data = opened.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise InputError(f"{path} is larger than {MAX_LIST_BYTES} bytes", code="file.too-large")
    return data


def _read(data: bytes, form: Form, terms: Terms, now_ms: int, *, force: bool) -> _Sorted:
    entries: dict[str, NewEntry] = {}
    problems: list[BadLine] = []
    repeated = 0
    for read_one in bank_lists.read_list(data, form, force=force):
        if isinstance(read_one, BadLine):
            problems.append(read_one)
            continue
        until = read_one.expires_ms
        if until is not None and until <= now_ms:
            problems.append(BadLine(read_one.line, f"it expired at {format_time(until)}"))
            continue
        repeated += read_one.sha256 in entries
        entries.setdefault(read_one.sha256, _entry(read_one, terms))
    return _Sorted(tuple(entries.values()), repeated, tuple(problems))


def _entry(listed: Listed, terms: Terms) -> NewEntry:
    said = listed.reason or terms.reason
    return NewEntry(
        sha256=listed.sha256,
        prints=listed.prints,
        reason=said if listed.tags is None else f"{said}; tags: {listed.tags}",
        owner=listed.owner or terms.owner,
        source=listed.source or terms.source,
        expires_ms=terms.expires_ms if listed.expires_ms is None else listed.expires_ms,
        pixels=listed.pixels,
        hash_only=listed.hash_only,
    )


def _counted(states: Mapping[str, State]) -> dict[State, int]:
    counts: dict[State, int] = {"added": 0, "changed": 0, "present": 0}
    for state in states.values():
        counts[state] += 1
    return counts


def _entries(services: Services, bank: str, *, reasons: bool) -> Iterator[Listed]:
    """Yield the live entries of a bank, oldest first, a page of the catalog at a time."""
    place = (-1, -1)
    after = tuple_(ENTRIES.c.record_idx, ENTRIES.c.position)
    while True:
        query = standing_entries().where(ENTRIES.c.bank == bank, unexpired(services.now()))
        page = query.where(after > place).order_by(ENTRIES.c.record_idx, ENTRIES.c.position)
        with read(services.engine) as conn:
            rows = conn.execute(page.limit(_PAGE)).mappings().all()
        if not rows:
            return
        opened = Opened(services, texts=reasons)
        for row in rows:
            change, reason = opened.change(row["record_idx"], row["position"])
            yield Listed(
                line=0,
                sha256=change.sha256,
                prints=change.prints,
                hash_only=change.hash_only,
                pixels=change.pixels,
                owner=change.owner or None,
                source=change.source or None,
                expires_ms=change.expires_ms,
                reason=reason if reasons else None,
            )
        place = rows[-1]["record_idx"], rows[-1]["position"]
