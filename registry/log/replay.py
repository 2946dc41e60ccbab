"""Records read anew, as the projector takes them; and a log of another database taken over.

Signatures, windows and schemas are not judged here: `check_log` does that on the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, select

from registry.core import checkpoints
from registry.core.digests import sha256_hex
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.merkle import Frontier, leaf_hash
from registry.core.notes import VerifierKey
from registry.core.statements import Statement, invocation_id
from registry.core.trust import is_trust
from registry.errors import GenopsError, IntegrityError
from registry.log.head import StoredHead, lock_head, read_head, write_head
from registry.log.submission import Accepted
from registry.log.tree import add_tiles
from registry.log.trust_state import TrustHistory, genesis_signer
from registry.store.bulk import insert_rows
from registry.store.log_tables import EnvelopeRow, InvocationRow, LogEntryRow, TrustRecordRow
from registry.store.types import table_of

_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)
_INVOCATIONS = table_of(InvocationRow)
_TRUST = table_of(TrustRecordRow)

_PAGE = 256
_RECORDS = (
    select(_ENTRIES.c.entry, _ENVELOPES.c.data)
    .join(_ENVELOPES, _ENVELOPES.c.sha256 == _ENTRIES.c.envelope_sha256)
    .order_by(_ENTRIES.c.idx)
)

Record = tuple[bytes, bytes]
"""An entry's bytes and its envelope's."""


class Replay:
    """Reads records of one log in order, from its first on, or behind those of `history`."""

    def __init__(self, vkey: VerifierKey, history: TrustHistory | None = None) -> None:
        self._vkey = vkey
        self._history = history or TrustHistory()
        self._next = self._history.size

    def accept(self, record: Record) -> Accepted:
        """Return the next record; raises IntegrityError (`log.altered`) when its parts disagree.

        Raises TrustError for a trust record that does not follow from those before it.
        """
        data, envelope_bytes = record
        index = self._next
        try:
            entry, envelope = LogEntry.parse(data), Envelope.parse(envelope_bytes)
            statement = Statement.parse(envelope.payload)
        except GenopsError as error:
            raise _altered(index, error.message) from error
        digests = envelope.payload_sha256, sha256_hex(envelope_bytes)
        if digests != (entry.payload_sha256, entry.envelope_sha256):
            raise _altered(index, "its envelope is not the one that its entry names")
        keyid = self._signer(index, entry, statement, envelope)
        self._next += 1
        return Accepted(
            index=index,
            time_ms=entry.time_ms,
            entry=data,
            leaf_hash=leaf_hash(data),
            payload_sha256=bytes.fromhex(entry.payload_sha256),
            statement=statement,
            envelope=envelope,
            keyid=keyid,
        )

    def _signer(self, index: int, entry: LogEntry, statement: Statement, envelope: Envelope) -> str:
        """Return the key id that the record counts by; several signatures are judged to tell."""
        before = self._history.newest
        if before is None or is_trust(statement.predicate_type):
            self._history = self._history.extended(index, entry, statement, envelope, self._vkey)
        if before is None:
            return genesis_signer(self._history, envelope)
        if len(envelope.signatures) == 1:
            return envelope.signatures[0].keyid
        return before.authorize(envelope, statement.predicate_type, entry.time_ms).keyid


def stored_records(conn: Connection) -> Iterator[Record]:
    """Yield every record of this snapshot, in log order."""
    for start in range(0, read_head(conn).size, _PAGE):
        page = _RECORDS.where(_ENTRIES.c.idx.between(start, start + _PAGE - 1))
        for row in conn.execute(page).all():
            yield row.entry, row.data


class Takeover:
    """Writes records that another database held into this one, in the caller's transaction.

    Goes on from the records that are there. Nothing counts before `finish`.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        head = lock_head(conn)
        self._frontier, self._time_ms = head.frontier, head.time_ms

    @property
    def frontier(self) -> Frontier:
        """The right edge of the tree so far."""
        return self._frontier

    def extend(self, batch: Sequence[Accepted], envelopes: Sequence[bytes]) -> None:
        """Insert entries, envelopes, invocations, the index of trust records and tiles' roots."""
        first = self._frontier.size
        insert_rows(self._conn, _ENTRIES, [_entry_row(item) for item in batch])
        insert_rows(self._conn, _ENVELOPES, [_envelope_row(data) for data in envelopes])
        insert_rows(self._conn, _INVOCATIONS, [_invocation_row(item) for item in batch])
        insert_rows(self._conn, _TRUST, [{"idx": index} for index in _trust(batch)])
        add_tiles(self._conn, first, first + len(batch))
        self._frontier = self._frontier.extend(item.leaf_hash for item in batch)
        self._time_ms = batch[-1].time_ms

    def finish(self, note: bytes, vkey: VerifierKey) -> None:
        """Write the head; raises IntegrityError unless the log signed exactly these records."""
        checkpoint = checkpoints.verify(note, vkey)
        if (checkpoint.size, checkpoint.root) != (self._frontier.size, self._frontier.root()):
            raise IntegrityError(
                f"the checkpoint covers {checkpoint.size} records with root"
                f" {checkpoint.root.hex()}, and the {self._frontier.size} records given have"
                f" another",
                code="log.altered",
                hint="an entry was altered, added or left out; take another copy",
            )
        write_head(self._conn, StoredHead(self._frontier, note, self._time_ms))


def _entry_row(item: Accepted) -> dict[str, object]:
    entry = LogEntry.parse(item.entry)
    return {
        "idx": item.index,
        "entry": item.entry,
        "leaf_hash": item.leaf_hash,
        "payload_sha256": bytes.fromhex(entry.payload_sha256),
        "envelope_sha256": bytes.fromhex(entry.envelope_sha256),
    }


def _envelope_row(data: bytes) -> dict[str, object]:
    return {"sha256": bytes.fromhex(sha256_hex(data)), "data": data}


def _invocation_row(item: Accepted) -> dict[str, object]:
    return {"invocation_id": invocation_id(item.statement), "idx": item.index}


def _trust(batch: Iterable[Accepted]) -> list[int]:
    return [item.index for item in batch if is_trust(item.statement.predicate_type)]


def _altered(index: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"record {index} was altered: {why}", code="log.altered", hint="take another copy"
    )
