"""Legal holds: which stand, on what, and that nothing held is erased.

A hold names an asset by digest or a record by leaf hash; a lift names the same, and lifts every
hold on it, or names one hold's own record, and lifts that alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, or_, select, update

from registry.catalog.graph import RECORDS, chunked
from registry.core.digests import asset_id, parse_ref, record_id
from registry.core.statements import Statement, predicate_uri
from registry.errors import HeldError
from registry.store.bulk import insert_rows
from registry.store.catalog_tables import HoldRow, SubjectRow
from registry.store.leaves import is_record
from registry.store.types import table_of

PREDICATE_HOLD = predicate_uri("hold")
PREDICATE_ERASURE = predicate_uri("erasure")
PREDICATE_DRAFT = predicate_uri("draft")

_HOLDS = table_of(HoldRow)
_SUBJECTS = table_of(SubjectRow)


class _Logged(Protocol):
    @property
    def index(self) -> int: ...
    @property
    def statement(self) -> Statement: ...


def project_holds(conn: Connection, batch: Sequence[_Logged]) -> None:
    """Write the rows of hold records, in log order: placed ones are added, lifted ones marked."""
    for item in batch:
        ref = parse_ref(item.statement.predicate["target"])
        target = bytes.fromhex(ref.hex)
        if item.statement.predicate["action"] == "place":
            row = {
                "record_idx": item.index,
                "target": target,
                "kind": ref.kind,
                "lifted_by": None,
            }
            insert_rows(conn, _HOLDS, [row])
        else:
            by = RECORDS.c.idx == _HOLDS.c.record_idx
            itself = select(RECORDS.c.idx).where(by, RECORDS.c.leaf_hash == target)
            named = or_(_HOLDS.c.target == target, itself.correlate(_HOLDS).exists())
            lifted = update(_HOLDS).where(named, _HOLDS.c.lifted_by.is_(None))
            conn.execute(lifted.values(lifted_by=item.index))


def refuse_held(conn: Connection, batch: Iterable[_Logged]) -> None:
    """Raise HeldError for an erasure in the batch whose record a hold stands on at its index.

    And for an expiry of drafts that one stands on. For the transaction that commits them, after
    their projection; a rebuild does not judge again.
    """
    for item in batch:
        if item.statement.predicate_type == PREDICATE_DRAFT:
            _refuse_expiry(conn, item)
        if item.statement.predicate_type != PREDICATE_ERASURE:
            continue
        record = item.statement.predicate["record"]
        leaf = bytes.fromhex(parse_ref(record).hex)
        index = conn.scalar(select(RECORDS.c.idx).where(is_record(leaf)))
        if index is not None and (found := holds_on(conn, [index], at=item.index)):
            raise held(record, found[index])


def _refuse_expiry(conn: Connection, item: _Logged) -> None:
    if item.statement.predicate["action"] != "expire":
        return
    digests = [bytes.fromhex(subject.sha256) for subject in item.statement.subjects]
    found = held_digests(conn, digests, at=item.index)
    for digest, holds in sorted(found.items()):
        raise held(asset_id(digest.hex()), holds)


def held_digests(
    conn: Connection, digests: Iterable[bytes], *, at: int | None = None
) -> Mapping[bytes, tuple[str, ...]]:
    """Return the holds on assets, by digest: on themselves, or on a record that speaks of them."""
    speaking: dict[int, list[bytes]] = {}
    for chunk in chunked(digests):
        query = select(_SUBJECTS.c.record_idx, _SUBJECTS.c.sha256)
        for index, digest in conn.execute(query.where(_SUBJECTS.c.sha256.in_(chunk))):
            speaking.setdefault(index, []).append(digest)
    found: dict[bytes, tuple[str, ...]] = {}
    for index, holds in holds_on(conn, list(speaking), at=at).items():
        found |= dict.fromkeys(speaking[index], holds)
    return found


def held(record: str, holds: Sequence[str]) -> HeldError:
    """Return the error that names a record and the holds that keep it from being erased."""
    return HeldError(
        f"{record} is under legal hold by {', '.join(holds)}",
        hint="lift the hold first (`genops hold lift`), by whoever may decide that",
    )


def holds_on(
    conn: Connection, indices: Sequence[int], *, at: int | None = None
) -> Mapping[int, tuple[str, ...]]:
    """Return, by index of the held record, the ids of the holds that stand on it.

    On the record itself, or on an asset that it speaks of; now, or as of log index `at`.
    """
    found: dict[int, list[str]] = {}
    for chunk in chunked(indices):
        for query in (_on_records(chunk, at), _on_assets(chunk, at)):
            for index, leaf in conn.execute(query):
                found.setdefault(index, []).append(record_id(leaf.hex()))
    return {index: tuple(dict.fromkeys(sorted(holds))) for index, holds in found.items()}


def all_holds(conn: Connection) -> Sequence[RowMapping]:
    """Return every hold with its record, oldest first: standing ones and lifted ones."""
    query = select(_HOLDS, RECORDS.c.leaf_hash, RECORDS.c.time_ms, RECORDS.c.actor)
    joined = query.join(RECORDS, RECORDS.c.idx == _HOLDS.c.record_idx)
    return conn.execute(joined.order_by(_HOLDS.c.record_idx)).mappings().all()


def _on_records(indices: Sequence[int], at: int | None) -> Select[Any]:
    mine, holding = RECORDS.alias(), RECORDS.alias()
    return (
        select(mine.c.idx, holding.c.leaf_hash)
        .join(_HOLDS, and_(_HOLDS.c.kind == "record", _HOLDS.c.target == mine.c.leaf_hash))
        .join(holding, holding.c.idx == _HOLDS.c.record_idx)
        .where(mine.c.idx.in_(indices), _standing(at))
    )


def _on_assets(indices: Sequence[int], at: int | None) -> Select[Any]:
    holding = RECORDS.alias()
    return (
        select(_SUBJECTS.c.record_idx, holding.c.leaf_hash)
        .join(_HOLDS, and_(_HOLDS.c.kind == "asset", _HOLDS.c.target == _SUBJECTS.c.sha256))
        .join(holding, holding.c.idx == _HOLDS.c.record_idx)
        .where(_SUBJECTS.c.record_idx.in_(indices), _standing(at))
    )


def _standing(at: int | None) -> ColumnElement[bool]:
    if at is None:
        return _HOLDS.c.lifted_by.is_(None)
    later = or_(_HOLDS.c.lifted_by.is_(None), _HOLDS.c.lifted_by > at)
    return and_(_HOLDS.c.record_idx < at, later)
