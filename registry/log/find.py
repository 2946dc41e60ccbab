"""Finding records of one kind in the log itself, for what must not rest on the projection."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from sqlalchemy import Engine, select

from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.statements import Statement
from registry.store.log_tables import EnvelopeRow, LogEntryRow
from registry.store.transaction import read
from registry.store.types import table_of

_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)
_PAGE = 1000

Found = tuple[int, LogEntry, Statement]
"""Index, entry and statement of a record."""


def records_of(engine: Engine, predicate_type: str, size: int) -> Iterator[Found]:
    """Yield every record of a predicate type among the first `size`, in log order.

    Looks for the type's letters in the encoded payloads, and parses only what has them: a second
    or so for each hundred thousand records.
    """
    letters = _encoded(predicate_type.encode("ascii"))
    query = (
        select(_ENTRIES.c.idx, _ENTRIES.c.entry, _ENVELOPES.c.data)
        .join(_ENVELOPES, _ENVELOPES.c.sha256 == _ENTRIES.c.envelope_sha256)
        .order_by(_ENTRIES.c.idx)
    )
    for start in range(0, size, _PAGE):
        with read(engine) as conn:
            page = query.where(_ENTRIES.c.idx.between(start, min(start + _PAGE, size) - 1))
            rows = conn.execute(page).all()
        for index, entry, data in rows:
            if any(text in data for text in letters):
                statement = Statement.parse(Envelope.parse(data).payload)
                if statement.predicate_type == predicate_type:
                    yield index, LogEntry.parse(entry), statement


def _encoded(text: bytes) -> tuple[bytes, ...]:
    """Return what base64 makes of a text inside another, wherever in a group of three it starts."""
    found = []
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + text)
        first, end = -(-shift * 8 // 6), (shift + len(text)) * 8 // 6
        found.append(whole[first:end])
    return tuple(found)
