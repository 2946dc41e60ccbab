"""Who may sign, record by record: the log's trust records folded, and kept up to date."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from sqlalchemy import Connection, select

from registry.core.digests import record_id, sha256_hex
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.notes import VerifierKey
from registry.core.statements import Statement
from registry.core.trust import TrustState, is_trust
from registry.errors import IntegrityError, TrustError
from registry.store.log_tables import EnvelopeRow, LogEntryRow, TrustRecordRow
from registry.store.types import table_of

_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)
_TRUST = table_of(TrustRecordRow)


@dataclass(frozen=True, slots=True)
class TrustRecord:
    """A trust record's place and id, and the state from the record after it onwards."""

    index: int
    record: str
    state: TrustState


@dataclass(frozen=True, slots=True)
class TrustHistory:
    """Every trust record among the first `size` records of the log, oldest first."""

    size: int = 0
    records: tuple[TrustRecord, ...] = ()

    @property
    def newest(self) -> TrustState | None:
        """The state that judges the next record; None while the log is empty."""
        return self.records[-1].state if self.records else None

    @property
    def indices(self) -> tuple[int, ...]:
        """Where the trust records lie."""
        return tuple(record.index for record in self.records)

    def declared_by(self, keyid: str) -> TrustRecord | None:
        """Return the trust record that first declared a key compromised."""
        return next((one for one in self.records if keyid in one.state.compromised), None)

    def before(self, index: int) -> TrustState | None:
        """Return the state that judges the record at `index`: the first one judges itself."""
        if not self.records:
            return None
        return self.records[max(0, bisect_left(self.indices, index) - 1)].state

    def extended(
        self,
        index: int,
        entry: LogEntry,
        statement: Statement,
        envelope: Envelope,
        vkey: VerifierKey,
    ) -> TrustHistory:
        """Return the history with one more trust record; `vkey` is the key that this log has.

        Raises TrustError: what `TrustState.genesis` and `apply` raise, `trust.no-genesis` when the
        log does not begin with it, `trust.gap` when it supersedes another than the newest,
        `trust.log-key` when it names another log key.
        """
        if not self.records:
            state = _genesis(index, statement, envelope)
        else:
            newest = self.records[-1]
            if statement.predicate.get("supersedes") != newest.record:
                raise TrustError(
                    f"trust record does not supersede the newest one, {newest.record}",
                    code="trust.gap",
                    hint="read the newest trust record, and make the change again",
                )
            state = newest.state.apply(statement, envelope, entry.time_ms)
        if state.log_vkey != str(vkey):
            raise TrustError(
                f"trust record names log key {state.log_vkey}, and this log has {vkey}",
                code="trust.log-key",
            )
        record = TrustRecord(index, entry.record_id, state)
        return TrustHistory(index + 1, (*self.records, record))

    def at_size(self, size: int) -> TrustHistory:
        """Return the history of a log that grew to `size` without further trust records."""
        return TrustHistory(size, self.records)


class TrustCache:
    """The trust history as far as it was read; safe for threads, which swap a frozen value."""

    def __init__(self, vkey: VerifierKey) -> None:
        self._vkey = vkey
        self.history = TrustHistory()

    def refresh(self, conn: Connection, size: int) -> TrustHistory:
        """Return the history of the first `size` records, reading only what is new.

        Raises IntegrityError (`trust.altered`), TrustError as `TrustHistory.extended` does.
        """
        history = self.history
        if history.size < size:
            for index, entry, envelope in _read(conn, history.size, size):
                statement = Statement.parse(envelope.payload)
                history = history.extended(index, entry, statement, envelope, self._vkey)
            history = history.at_size(size)
            self.keep(history)
        return history

    def keep(self, history: TrustHistory) -> None:
        """Take over a history, once its last record is committed."""
        if history.size > self.history.size:
            self.history = history


def genesis_signer(history: TrustHistory, envelope: Envelope) -> str:
    """Return the id of the admin key that signed the first trust record."""
    keys = history.records[0].state.keys
    signers = (signature.keyid for signature in envelope.signatures)
    return next(keyid for keyid in signers if keyid in keys and "admin" in keys[keyid].roles)


def _genesis(index: int, statement: Statement, envelope: Envelope) -> TrustState:
    if index != 0 or not is_trust(statement.predicate_type):
        raise TrustError(
            "the log begins with a trust record, and it has none",
            code="trust.no-genesis",
            hint="make the registry with `genops init`",
        )
    return TrustState.genesis(statement, envelope)


def _read(conn: Connection, start: int, end: int) -> list[tuple[int, LogEntry, Envelope]]:
    query = (
        select(_TRUST.c.idx, _ENTRIES.c.entry, _ENVELOPES.c.data)
        .join(_ENTRIES, _ENTRIES.c.idx == _TRUST.c.idx)
        .join(_ENVELOPES, _ENVELOPES.c.sha256 == _ENTRIES.c.envelope_sha256)
        .where(_TRUST.c.idx >= start, _TRUST.c.idx < end)
        .order_by(_TRUST.c.idx)
    )
    return [(row.idx, *_checked(row.idx, row.entry, row.data)) for row in conn.execute(query)]


def _checked(index: int, entry: bytes, data: bytes) -> tuple[LogEntry, Envelope]:
    parsed, envelope = LogEntry.parse(entry), Envelope.parse(data)
    digests = sha256_hex(data), envelope.payload_sha256
    if digests != (parsed.envelope_sha256, parsed.payload_sha256):
        raise IntegrityError(
            f"trust record {record_id(parsed.leaf_hash().hex())} at index {index} was altered",
            code="trust.altered",
            hint="run `genops log check`",
        )
    return parsed, envelope
