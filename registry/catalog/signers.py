"""Which records a key signed, and which of them were re-attested; says nothing of trust."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, not_, or_, select

from registry.catalog.graph import RECORDS
from registry.core.digests import parse_ref
from registry.core.statements import Statement
from registry.store.bulk import insert_rows
from registry.store.catalog_tables import ReattestationRow
from registry.store.types import table_of

_REATTESTATIONS = table_of(ReattestationRow)
_BY = RECORDS.alias("reattesting")


class _Logged(Protocol):
    @property
    def index(self) -> int: ...
    @property
    def statement(self) -> Statement: ...


def project_reattestations(conn: Connection, batch: Sequence[_Logged]) -> None:
    """Write the rows of re-attestations."""
    rows = [
        {
            "record_idx": item.index,
            "of_record": bytes.fromhex(parse_ref(item.statement.predicate["record"]).hex),
        }
        for item in batch
    ]
    insert_rows(conn, _REATTESTATIONS, rows)


def reattestations_of(conn: Connection, leaf_hash: bytes) -> Sequence[int]:
    """Return where the records that re-attest a record lie in the log, oldest first."""
    query = select(_REATTESTATIONS.c.record_idx).where(_REATTESTATIONS.c.of_record == leaf_hash)
    return conn.scalars(query.order_by(_REATTESTATIONS.c.record_idx)).all()


def signed_since(
    conn: Connection, keyid: str, since_ms: int, *, limit: int, offset: int
) -> Sequence[RowMapping]:
    """Return the records that a key signed at a log time or later, oldest first."""
    query = select(RECORDS).where(_signed(keyid, since_ms)).order_by(RECORDS.c.idx)
    return conn.execute(query.limit(limit).offset(offset)).mappings().all()


def count_signed_since(conn: Connection, keyid: str, since_ms: int) -> int:
    """Count the records that a key signed at a log time or later."""
    query = select(func.count()).select_from(RECORDS).where(_signed(keyid, since_ms))
    return conn.scalar(query) or 0


def doubtful(
    conn: Connection, keyid: str, since_ms: int, compromised: Mapping[str, int], after: int = -1
) -> Sequence[RowMapping]:
    """Return a page of what `signed_since` returns and no sound key re-attested.

    `compromised` gives, by key id, since when keys are not believed. Begins after an index; the
    next page begins after the last one's.
    """
    query = _doubtful(RECORDS, keyid, since_ms, compromised).where(RECORDS.c.idx > after)
    return conn.execute(query.order_by(RECORDS.c.idx).limit(_PAGE)).mappings().all()


def count_doubtful(
    conn: Connection, keyid: str, since_ms: int, compromised: Mapping[str, int]
) -> int:
    """Count what `doubtful` returns in all."""
    query = _doubtful(RECORDS.c.idx, keyid, since_ms, compromised)
    return conn.scalar(select(func.count()).select_from(query.subquery())) or 0


_PAGE = 500


def _signed(keyid: str, since_ms: int) -> ColumnElement[bool]:
    return and_(RECORDS.c.keyid == keyid, RECORDS.c.time_ms >= since_ms)


def _doubtful(
    columns: Any, keyid: str, since_ms: int, compromised: Mapping[str, int]
) -> Select[Any]:
    vouched = (
        select(_REATTESTATIONS.c.record_idx)
        .join(_BY, _BY.c.idx == _REATTESTATIONS.c.record_idx)
        .where(_REATTESTATIONS.c.of_record == RECORDS.c.leaf_hash, _sound(keyid, compromised))
    )
    return select(columns).where(_signed(keyid, since_ms), ~vouched.exists())


def _sound(keyid: str, compromised: Mapping[str, int]) -> ColumnElement[bool]:
    """Tell whether a re-attestation counts: by another key, which was not stolen itself by then."""
    stolen: Iterable[ColumnElement[bool]] = (
        and_(_BY.c.keyid == key, _BY.c.time_ms >= since) for key, since in compromised.items()
    )
    return and_(_BY.c.keyid != keyid, not_(or_(*stolen)) if compromised else _BY.c.idx >= 0)
