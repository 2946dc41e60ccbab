"""Judging a batch at its log time: who is new, who was there before, who is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from registry.core.digests import record_id
from registry.core.entries import LogEntry
from registry.core.merkle import leaf_hash
from registry.core.notes import VerifierKey
from registry.core.trust import is_trust
from registry.errors import ConflictError, FormatError, TrustError
from registry.log.prepare import Prepared
from registry.log.submission import Accepted, LogReceipt
from registry.log.trust_state import TrustHistory, genesis_signer
from registry.store.log_tables import InvocationRow, LogEntryRow
from registry.store.types import table_of

_ENTRIES = table_of(LogEntryRow)
_INVOCATIONS = table_of(InvocationRow)
_KNOWN = (
    select(_INVOCATIONS.c.invocation_id, _ENTRIES.c.entry, _ENTRIES.c.idx)
    .join(_ENTRIES, _ENTRIES.c.idx == _INVOCATIONS.c.idx)
    .where(_INVOCATIONS.c.invocation_id.in_(bindparam("wanted", expanding=True)))
)

Known = tuple[LogEntry, int]
"""A record that is in the log: its entry and its index."""


@dataclass(slots=True)
class Judgement:
    """What becomes of a batch; `outcomes` is in the batch's order, `accepted` in the log's."""

    outcomes: list[LogReceipt | Exception]
    accepted: list[tuple[Accepted, Prepared]]
    history: TrustHistory


class Judge:
    """Judges one batch against one state of the log. `time_ms` is the log time of all of it."""

    def __init__(
        self, history: TrustHistory, vkey: VerifierKey, known: Mapping[str, Known], time_ms: int
    ) -> None:
        self._history = history
        self._vkey = vkey
        self._known = dict(known)
        self._time_ms = time_ms
        self._next = history.size
        self._accepted: list[tuple[Accepted, Prepared]] = []

    def judge(self, batch: Sequence[Prepared]) -> Judgement:
        """Return what becomes of the batch; one bad submission is refused alone."""
        outcomes = [self._judged(item) for item in batch]
        return Judgement(outcomes, self._accepted, self._history.at_size(self._next))

    def _judged(self, item: Prepared) -> LogReceipt | Exception:
        try:
            known = self._known.get(item.invocation_id)
            return self._add(item) if known is None else self._again(item, *known)
        except (ConflictError, TrustError, FormatError) as error:
            return error

    def _add(self, item: Prepared) -> LogReceipt:
        index = self._next
        entry = LogEntry(self._time_ms, item.payload_sha256.hex(), item.envelope_sha256.hex())
        keyid = self._authorised(index, entry, item)
        data = entry.to_bytes()
        leaf = leaf_hash(data)
        accepted = Accepted(
            index=index,
            time_ms=self._time_ms,
            entry=data,
            leaf_hash=leaf,
            payload_sha256=item.payload_sha256,
            statement=item.statement,
            envelope=item.envelope,
            keyid=keyid,
        )
        self._accepted.append((accepted, item))
        self._known[item.invocation_id] = entry, index
        self._next += 1
        return LogReceipt(index, leaf.hex(), self._time_ms, new=True)

    def _authorised(self, index: int, entry: LogEntry, item: Prepared) -> str:
        """Return the signer's key id; a trust record is judged by the state before it."""
        state = self._history.newest
        keyid = item.key_at(state, self._time_ms).keyid if state is not None else None
        if keyid is None or is_trust(item.statement.predicate_type):
            self._history = self._history.extended(
                index, entry, item.statement, item.envelope, self._vkey
            )
        return keyid or genesis_signer(self._history, item.envelope)

    def _again(self, item: Prepared, entry: LogEntry, index: int) -> LogReceipt:
        leaf = entry.leaf_hash().hex()
        if entry.payload_sha256 != item.payload_sha256.hex():
            raise ConflictError(
                f"invocation {item.invocation_id} is record {record_id(leaf)} already, with"
                " another payload",
                hint="give each record an invocation id of its own",
            )
        if entry.envelope_sha256 != item.envelope_sha256.hex():
            self._refuse_stranger(item, entry)
        return LogReceipt(index, leaf, entry.time_ms, new=False)

    def _refuse_stranger(self, item: Prepared, entry: LogEntry) -> None:
        """Refuse a known payload under a signature of no authority: it must not look accepted."""
        state = self._history.newest
        if state is not None:
            item.key_at(state, entry.time_ms)


def known_invocations(conn: Connection, batch: Sequence[Prepared]) -> dict[str, Known]:
    """Return those of the batch's invocations that are in the log."""
    rows = conn.execute(_KNOWN, {"wanted": [item.invocation_id for item in batch]})
    return {row[0]: (LogEntry.parse(row[1]), row[2]) for row in rows}
