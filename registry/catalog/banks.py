"""Banks of fingerprints, their entries, what people say of matches, and the keys that may say so.

A pure function of the log, and rows that are only added: which of them count is asked when they
are read, since a later trust record may disown who signed them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, delete, select

from registry.core.bank_predicates import (
    PREDICATE_BANK,
    PREDICATE_BANK_ENTRY,
    PREDICATE_BANK_ENTRY_V2,
    PREDICATE_MATCH_VERDICT,
    PREDICATE_MATCH_VERDICT_V2,
)
from registry.core.banks import UNDECLARED, changes_of, said_of
from registry.core.statements import Statement
from registry.core.trust import TRUST_VERSIONS, TrustState
from registry.store.bulk import insert_rows
from registry.store.catalog_tables import (
    BankEntryRow,
    BankPrintRow,
    BankRow,
    MatchVerdictRow,
    TrustedKeyRow,
)
from registry.store.types import table_of

Row = dict[str, Any]

PRINTS_PER_RECORD = 4096
"""Most fingerprints of one record: 256 entries of 16 each."""

_BANKS = table_of(BankRow)
_ENTRIES = table_of(BankEntryRow)
_PRINTS = table_of(BankPrintRow)
_VERDICTS = table_of(MatchVerdictRow)
_KEYS = table_of(TrustedKeyRow)
_ENTRY_TYPES = {PREDICATE_BANK_ENTRY, PREDICATE_BANK_ENTRY_V2}
_VERDICT_TYPES = {PREDICATE_MATCH_VERDICT, PREDICATE_MATCH_VERDICT_V2}


class _Logged(Protocol):
    @property
    def index(self) -> int: ...
    @property
    def statement(self) -> Statement: ...


def project_banks(conn: Connection, batch: Sequence[_Logged]) -> None:
    """Write the rows of a batch's banks, entries, verdicts on matches, and trusted keys."""
    _project_kinds(conn, _of(batch, {PREDICATE_BANK, *_ENTRY_TYPES}))
    entries = _of(batch, _ENTRY_TYPES)
    insert_rows(conn, _ENTRIES, [row for item in entries for row in _entry_rows(item)])
    insert_rows(conn, _PRINTS, [row for item in entries for row in _print_rows(item)])
    insert_rows(conn, _VERDICTS, [_verdict_row(item) for item in _of(batch, _VERDICT_TYPES)])
    for item in _of(batch, TRUST_VERSIONS)[-1:]:
        _project_keys(conn, item.statement)


def _of(batch: Sequence[_Logged], types: Container[str]) -> list[_Logged]:
    return [item for item in batch if item.statement.predicate_type in types]


def _project_kinds(conn: Connection, batch: Sequence[_Logged]) -> None:
    """Write what is said of banks; one that has entries first is there by them."""
    if not batch:
        return
    names = {item.statement.predicate["bank"] for item in batch}
    known = set(conn.scalars(select(_BANKS.c.name).where(_BANKS.c.name.in_(names))))
    rows: list[Row] = []
    for item in batch:
        predicate: Mapping[str, Any] = item.statement.predicate
        if item.statement.predicate_type == PREDICATE_BANK or predicate["bank"] not in known:
            known.add(predicate["bank"])
            rows.append(
                {
                    "record_idx": item.index,
                    "name": predicate["bank"],
                    "kind": predicate.get("kind", UNDECLARED),
                    "owner": predicate.get("owner", ""),
                }
            )
    insert_rows(conn, _BANKS, rows)


def _entry_rows(item: _Logged) -> Iterable[Row]:
    bank = item.statement.predicate["bank"]
    for position, change in enumerate(changes_of(item.statement)):
        yield {
            "record_idx": item.index,
            "position": position,
            "bank": bank,
            "sha256": bytes.fromhex(change.sha256),
            "added": change.added,
            "owner": change.owner,
            "source": change.source,
            "expires_ms": change.expires_ms,
            "pixels": bytes.fromhex(change.pixels) if change.pixels else None,
            "hash_only": change.hash_only,
        }


def _print_rows(item: _Logged) -> Iterable[Row]:
    bank = item.statement.predicate["bank"]
    prints = (value for change in changes_of(item.statement) for value in change.prints)
    for number, value in enumerate(prints):
        yield {
            "id": item.index * PRINTS_PER_RECORD + number,
            "bank": bank,
            "sha256": bytes.fromhex(value.sha256),
            "name": value.name,
            "value": value.value,
            "quality": value.quality,
        }


def _verdict_row(item: _Logged) -> Row:
    said, confirmed = said_of(item.statement)
    return {
        "record_idx": item.index,
        "query": bytes.fromhex(said.query),
        "pixels": bytes.fromhex(said.pixels) if said.pixels else None,
        "value": said.value,
        "bank": said.bank,
        "candidate": bytes.fromhex(said.candidate),
        "kind": said.kind,
        "confirmed": confirmed,
    }


def _project_keys(conn: Connection, statement: Statement) -> None:
    """Write the keys as the newest trust record has them, in place of what there was."""
    version = TRUST_VERSIONS[statement.predicate_type]
    state = TrustState.from_predicate(statement.predicate, version)
    conn.execute(delete(_KEYS))
    rows = [
        {"keyid": keyid, "listed": keyid in state.keys, "since_ms": state.compromised.get(keyid)}
        for keyid in sorted({*state.keys, *state.compromised})
    ]
    insert_rows(conn, _KEYS, rows)
