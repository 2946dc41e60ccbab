"""The standing taints as the log itself says them, so that the gate need not believe the catalog.

Derived from entries and envelopes up to the root of a verified head. How far that came is kept in
a file of the home, authenticated by its secret: a gate reads only what was logged since the last.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from registry.catalog.projector import PREDICATE_TAINT
from registry.core.digests import sha256_hex
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.merkle import Frontier, leaf_hash
from registry.core.statements import Statement
from registry.errors import FormatError, GenopsError, IntegrityError
from registry.log.head import StoredHead
from registry.log.kept import KeptFile
from registry.store.log_tables import EnvelopeRow, LogEntryRow
from registry.store.types import table_of
from registry.workflows.services import Services

FILE = "taints.json"
MAX_FILE_BYTES = 64 * 1024 * 1024
_PURPOSE = "taint ledger, version 1"
_PAGE = 500
_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)

Taint = tuple[int, str]
"""The record that tainted, by its index, and its severity."""


@dataclass(slots=True)
class Ledger:
    """The standing taints (by hex digest) after the records that `frontier` covers."""

    frontier: Frontier = field(default_factory=Frontier)
    standing: dict[str, list[Taint]] = field(default_factory=dict)

    def of(self, digests: Sequence[bytes]) -> set[tuple[int, bytes, str]]:
        """Return the standing taints that name one of these digests."""
        return {
            (index, digest, severity)
            for digest in digests
            for index, severity in self.standing.get(digest.hex(), ())
        }


def ledger_at(services: Services, conn: Connection, head: StoredHead) -> Ledger:
    """Return the ledger of a snapshot whose head was verified.

    Raises IntegrityError (`log.altered`) when entries and envelopes do not lead to the head.
    """
    kept = _load(services)
    if kept is not None and kept.frontier.size <= head.size:
        with suppress(IntegrityError):  # it is of another log, or of one that was rewritten
            return _advanced(services, conn, head, kept)
    return _advanced(services, conn, head, Ledger())


def _advanced(services: Services, conn: Connection, head: StoredHead, ledger: Ledger) -> Ledger:
    start = ledger.frontier.size
    for rows in _pages(conn, start, head.size):
        leaves = [_read(row, ledger) for row in rows]
        ledger.frontier = ledger.frontier.extend(leaves)
    if ledger.frontier != head.frontier:
        raise IntegrityError(
            "the entries of the log do not lead to its signed head",
            code="log.altered",
            hint="run `genops log check`",
        )
    if ledger.frontier.size > start:
        _save(services, ledger)
    return ledger


def _pages(conn: Connection, start: int, end: int) -> Iterator[Sequence[Any]]:
    query = select(_ENTRIES.c.idx, _ENTRIES.c.entry, _ENVELOPES.c.data).join(
        _ENVELOPES, _ENVELOPES.c.sha256 == _ENTRIES.c.envelope_sha256
    )
    for first in range(start, end, _PAGE):
        last = min(first + _PAGE, end) - 1
        page = query.where(_ENTRIES.c.idx.between(first, last)).order_by(_ENTRIES.c.idx)
        yield conn.execute(page).all()


def _read(row: Any, ledger: Ledger) -> bytes:
    """Take one record into the ledger; return its leaf hash."""
    try:
        if sha256_hex(row.data) != LogEntry.parse(row.entry).envelope_sha256:
            raise FormatError("its envelope is not the one that its entry names")
        if _may_taint(row.data):
            _apply(row.idx, Statement.parse(Envelope.parse(row.data).payload), ledger)
    except (GenopsError, LookupError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"record {row.idx} was altered: {error}",
            code="log.altered",
            hint="run `genops log check`",
        ) from None
    return leaf_hash(row.entry)


def _may_taint(envelope: bytes) -> bool:
    """Tell whether a record may be a taint, without parsing it: a name can be spelled by escapes.

    What is signed JSON says `taint` in its type, or hides a letter of it behind a backslash.
    """
    payload = binascii.a2b_base64(json.loads(envelope)["payload"])
    return b"/taint/" in payload or b"\\" in payload


def _apply(index: int, statement: Statement, ledger: Ledger) -> None:
    if statement.predicate_type != PREDICATE_TAINT:
        return
    for subject in statement.subjects:
        if statement.predicate["action"] == "taint":
            severity = statement.predicate["severity"]
            ledger.standing.setdefault(subject.sha256, []).append((index, severity))
        else:
            ledger.standing.pop(subject.sha256, None)


def _load(services: Services) -> Ledger | None:
    """Return what was kept, None where that is nothing, or not this home's own."""
    try:
        body = _file(services).load(MAX_FILE_BYTES)
        frontier = Frontier.from_bytes(body["size"], base64.b64decode(body["frontier"]))
        standing = {
            digest: [(index, severity) for index, severity in taints]
            for digest, taints in body["standing"].items()
        }
    except (OSError, GenopsError, LookupError, TypeError, ValueError):
        return None
    return Ledger(frontier, standing)


def _save(services: Services, ledger: Ledger) -> None:
    """Keep the ledger for the next time, where the home can be written and has its secret."""
    body = {
        "size": ledger.frontier.size,
        "frontier": base64.b64encode(ledger.frontier.to_bytes()).decode("ascii"),
        "standing": {digest: list(map(list, found)) for digest, found in ledger.standing.items()},
    }
    with suppress(OSError, GenopsError):
        _file(services).save(body)


def _file(services: Services) -> KeptFile:
    path = services.settings.home.work / FILE
    return KeptFile(path, services.secret_for(_PURPOSE), services.reader.origin)
