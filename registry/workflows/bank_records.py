"""Entries of banks as records: on what terms they stand, and putting those that do not yet.

What stands already on the same terms is not put there twice, so that a list can be imported anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from registry.catalog.banks import PRINTS_PER_RECORD
from registry.core import bank_predicates
from registry.core.bank_lines import MAX_SOURCE, label
from registry.core.bank_predicates import PREDICATE_BANK_ENTRY_V2
from registry.core.banks import NewEntry
from registry.core.fingerprint import Thumbnail
from registry.core.statements import MAX_LIST_ITEMS
from registry.core.times import MAX_TIME_MS, parse_time
from registry.errors import FormatError, InputError
from registry.store.believed import ENTRIES, standing_entries
from registry.store.catalog_tables import BankPrintRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows.banks import kind_of, owner_of
from registry.workflows.services import Services
from registry.workflows.submit import declare

State = Literal["added", "changed", "present"]
Progress = Callable[[int, int], None]
"""Called with the entries done and the entries in all."""

_PRINTS = table_of(BankPrintRow)
_RECORD_BYTES = 700_000
"""Most bytes of entries in one record, of a mebibyte that a statement may have."""
_CHUNK = 500
_AGE = re.compile(r"([1-9]\d{0,4})d")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms entries stand: why, by whom, from where, and until when (epoch ms)."""

    reason: str
    owner: str
    source: str
    expires_ms: int | None = None


def terms_of(
    services: Services,
    bank: str,
    *,
    reason: str,
    source: str,
    owner: str | None = None,
    expires: str | None = None,
) -> Terms:
    """Return the terms of new entries of a bank, whose owner is theirs unless another is named.

    `expires` is as `expiry_ms` has it. Raises NotFoundError (`bank.unknown`), InputError
    (`bank.reason`, `bank.label`, `bank.expires`).
    """
    with read(services.engine) as conn:
        kind_of(conn, bank)
        owner = owner or owner_of(conn, bank)
    if not reason.strip():
        raise InputError(
            "an entry needs a reason", code="bank.reason", hint='--reason "…"; it is sealed'
        )
    until = None if expires is None else expiry_ms(expires, services.now())
    return Terms(reason, label(owner), label(source, MAX_SOURCE), until)


def expiry_ms(text: str, now_ms: int) -> int:
    """Return when an entry expires (epoch ms): `2027-06-30`, a time, or `90d`, the end of that day.

    Raises InputError (`bank.expires`) for what is none of these, or has passed.
    """
    if age := _AGE.fullmatch(text.strip()):
        return min((now_ms // _DAY_MS + int(age[1]) + 1) * _DAY_MS, MAX_TIME_MS)
    full = f"{text.strip()}T00:00:00.000Z" if _DAY.fullmatch(text.strip()) else text.strip()
    try:
        until = parse_time(full)
    except FormatError:
        until = 0
    if until <= now_ms:
        raise InputError(
            f"{text!r} is no time to come",
            code="bank.expires",
            hint="give a day (2027-06-30), an age (90d) or RFC 3339 with milliseconds and Z",
        )
    return until


def put(
    services: Services,
    bank: str,
    entries: Sequence[NewEntry],
    thumbnails: Iterable[Thumbnail] = (),
    *,
    actor: str | None = None,
    known: Mapping[str, State] | None = None,
    progress: Progress | None = None,
) -> tuple[Mapping[str, State], tuple[str, ...]]:
    """Record the entries that do not stand on these terms yet; return what became of each.

    And the records. `known` is what `states_of` said, where it was asked before.
    """
    states = dict(states_of(services, bank, entries) if known is None else known)
    pictures = {thumbnail.sha256: thumbnail for thumbnail in thumbnails}
    wanted = [entry for entry in entries if states[entry.sha256] != "present"]
    records: list[str] = []
    done = 0
    for chunk in _chunks(wanted):
        predicate = bank_predicates.add_entries(
            services.head(None, actor), bank=bank, entries=chunk
        )
        receipt = declare(
            services,
            bank_predicates.entry_subjects([entry.sha256 for entry in chunk]),
            PREDICATE_BANK_ENTRY_V2,
            predicate,
            role="reviewer",
            thumbnails=[pictures[e.sha256] for e in chunk if e.sha256 in pictures],
        )
        records.append(receipt.record)
        done += len(chunk)
        if progress is not None:
            progress(done, len(wanted))
    return states, tuple(records)


def states_of(services: Services, bank: str, entries: Sequence[NewEntry]) -> Mapping[str, State]:
    """Return what putting entries into a bank would come to, by digest (hex)."""
    states: dict[str, State] = {}
    with read(services.engine) as conn:
        for start in range(0, len(entries), _CHUNK):
            some = entries[start : start + _CHUNK]
            there = _standing(conn, bank, [bytes.fromhex(entry.sha256) for entry in some])
            for entry in some:
                before = there.get(entry.sha256)
                same = before == _shape(entry)
                states[entry.sha256] = (
                    "added" if before is None else "present" if same else "changed"
                )
    return states


def _chunks(entries: Sequence[NewEntry]) -> Iterator[list[NewEntry]]:
    """Yield entries by records: at most 256 of them, and not over a statement's size."""
    chunk: list[NewEntry] = []
    size = 0
    for entry in entries:
        own = 700 + sum(2 * len(value.value) + len(value.name) + 40 for value in entry.prints)
        if chunk and (len(chunk) == MAX_LIST_ITEMS or size + own > _RECORD_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += own
    if chunk:
        yield chunk


_Shape = tuple[Any, ...]


def _shape(entry: NewEntry) -> _Shape:
    """Return what tells an entry from another on the same digest; the reason is sealed."""
    prints = frozenset((value.name, value.value, value.quality) for value in entry.prints)
    pixels = None if entry.pixels is None else bytes.fromhex(entry.pixels)
    return entry.owner, entry.source, entry.expires_ms, entry.hash_only, pixels, prints


def _standing(conn: Connection, bank: str, digests: Sequence[bytes]) -> dict[str, _Shape]:
    """Return the shapes of the entries that stand in a bank, by digest (hex)."""
    query = standing_entries().where(ENTRIES.c.bank == bank, ENTRIES.c.sha256.in_(digests))
    rows = conn.execute(query).mappings().all()
    prints: dict[tuple[int, bytes], set[tuple[str, bytes, int]]] = {}
    mine = select(_PRINTS).where(_PRINTS.c.sha256.in_(digests), _PRINTS.c.bank == bank)
    for value in conn.execute(mine):
        of = prints.setdefault((value.id // PRINTS_PER_RECORD, value.sha256), set())
        of.add((value.name, value.value, value.quality))
    return {
        row["sha256"].hex(): (
            row["owner"],
            row["source"],
            row["expires_ms"],
            row["hash_only"],
            row["pixels"],
            frozenset(prints.get((row["record_idx"], row["sha256"]), ())),
        )
        for row in rows
    }
