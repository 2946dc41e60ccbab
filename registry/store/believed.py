"""Conditions on records whose signers are believed now, and the bank entries that stand by them.

The rule is that of `registry.workflows.standing`, told of the projection: a later trust record may
disown what a key signed, and a re-attestation may vouch for it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, exists, or_, select, tuple_

from registry.store.catalog_tables import (
    BankEntryRow,
    ReattestationRow,
    RecordRow,
    TrustedKeyRow,
)
from registry.store.types import table_of

RECORDS = table_of(RecordRow)
ENTRIES = table_of(BankEntryRow)
_KEYS = table_of(TrustedKeyRow)
_REATTESTATIONS = table_of(ReattestationRow)


def believed(records: FromClause) -> ColumnElement[bool]:
    """Tell whether the signer of a row of `records` is known, and not disowned by then.

    Or whether another key, which is not disowned itself, re-attested the record.
    """
    mine, theirs = _KEYS.alias(), _KEYS.alias()
    by = RECORDS.alias()
    sound = or_(mine.c.since_ms.is_(None), records.c.time_ms < mine.c.since_ms)
    disowned = exists().where(theirs.c.keyid == by.c.keyid, by.c.time_ms >= theirs.c.since_ms)
    vouched = exists().where(
        _REATTESTATIONS.c.of_record == records.c.leaf_hash,
        by.c.idx == _REATTESTATIONS.c.record_idx,
        by.c.keyid != records.c.keyid,
        ~disowned.correlate_except(theirs),
    )
    # Said aloud what each is about: by itself, SQLAlchemy would join `records` anew inside.
    counts = or_(sound, vouched.correlate_except(_REATTESTATIONS, by))
    known = exists().where(mine.c.keyid == records.c.keyid, mine.c.listed, counts)
    return known.correlate_except(mine)


def standing_entries(*columns: ColumnElement[Any]) -> Select[Any]:
    """Select the entries that stand in their banks, with columns of their records, expired too.

    An entry stands where the newest believed row of its bank and digest added it.
    """
    newer, saying = ENTRIES.alias(), RECORDS.alias()
    later = tuple_(newer.c.record_idx, newer.c.position) > tuple_(
        ENTRIES.c.record_idx, ENTRIES.c.position
    )
    replaced = exists().where(
        newer.c.sha256 == ENTRIES.c.sha256,
        newer.c.bank == ENTRIES.c.bank,
        later,
        saying.c.idx == newer.c.record_idx,
        believed(saying),
    )
    joined = select(ENTRIES, *columns).join(RECORDS, RECORDS.c.idx == ENTRIES.c.record_idx)
    stands = ~replaced.correlate_except(newer, saying)
    return joined.where(and_(ENTRIES.c.added, believed(RECORDS), stands))


def unexpired(now_ms: int) -> ColumnElement[bool]:
    """Tell whether an entry has not expired at a time (epoch ms)."""
    return or_(ENTRIES.c.expires_ms.is_(None), ENTRIES.c.expires_ms > now_ms)
