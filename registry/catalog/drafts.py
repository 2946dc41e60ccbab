"""Drafts: which outputs are some, which were kept, and whose bytes are let go.

A record says of itself that its outputs are drafts; keeping and expiring are records of their own,
and speak of bytes, whoever made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, or_, select, update

from registry.catalog.graph import EDGES, NODES, RECORDS, chunked
from registry.core.generation import DRAFT
from registry.core.statements import PREDICATE_GENERATION, Statement, predicate_uri
from registry.store.bulk import insert_rows
from registry.store.catalog_tables import DraftRow, OutputRow
from registry.store.types import table_of

PREDICATE_DRAFT = predicate_uri("draft")
STATES = ("draft", "kept", "expired")

DRAFTS = table_of(DraftRow)
_OUTPUTS = table_of(OutputRow)
BECOMES = {"keep": "kept", "expire": "expired"}
"""What drafts are after a record with such an action."""


class _Logged(Protocol):
    @property
    def index(self) -> int: ...
    @property
    def statement(self) -> Statement: ...


@dataclass(frozen=True, slots=True)
class DraftFilter:
    """Which drafts to list; None means any."""

    state: str | None = None
    project: str | None = None
    campaign: str | None = None


def is_draft(statement: Statement) -> bool:
    """Tell whether a record says that its outputs are drafts."""
    if statement.predicate_type != PREDICATE_GENERATION:
        return False
    return statement.predicate["buildDefinition"]["internalParameters"].get(DRAFT) is True


def project_marks(conn: Connection, batch: Iterable[_Logged]) -> None:
    """Write a row for each output of the batch's drafts."""
    rows = [
        {
            "record_idx": item.index,
            "position": position,
            "sha256": bytes.fromhex(subject.sha256),
            "state": "draft",
            "changed_by": None,
        }
        for item in batch
        if is_draft(item.statement)
        for position, subject in enumerate(item.statement.subjects)
    ]
    insert_rows(conn, DRAFTS, rows)


def project_drafts(conn: Connection, batch: Sequence[_Logged]) -> None:
    """Note what became of drafts, in log order; what was kept does not expire."""
    for item in batch:
        action = item.statement.predicate["action"]
        digests = [bytes.fromhex(subject.sha256) for subject in item.statement.subjects]
        named = and_(DRAFTS.c.sha256.in_(digests), DRAFTS.c.record_idx < item.index)
        if action == "expire":
            named = and_(named, DRAFTS.c.state == "draft")
        changed = {"state": BECOMES[action], "changed_by": item.index}
        conn.execute(update(DRAFTS).where(named).values(changed))


def state_of(conn: Connection, record_idx: int, position: int) -> str | None:
    """Return what became of a draft, None for an output that never was one."""
    mine = and_(DRAFTS.c.record_idx == record_idx, DRAFTS.c.position == position)
    return conn.scalar(select(DRAFTS.c.state).where(mine))


def rows_of(conn: Connection, sha256: bytes) -> Sequence[RowMapping]:
    """Return the rows of all drafts with these bytes, oldest first."""
    query = select(DRAFTS).where(DRAFTS.c.sha256 == sha256).order_by(DRAFTS.c.record_idx)
    return conn.execute(query).mappings().all()


def marked(conn: Connection, digests: Iterable[str], *, before: int) -> set[str]:
    """Return which digests (hex) a record before an index made as drafts, whatever became of them.

    So that it is the same for ever.
    """
    found: set[str] = set()
    for chunk in chunked(map(bytes.fromhex, digests)):
        query = select(DRAFTS.c.sha256).where(DRAFTS.c.sha256.in_(chunk))
        found |= {d.hex() for d in conn.scalars(query.where(DRAFTS.c.record_idx < before))}
    return found


def expired(conn: Connection, digests: Iterable[bytes]) -> set[bytes]:
    """Return which digests expired: no other output has these bytes, or was made from them."""
    found: set[bytes] = set()
    for chunk in chunked(digests):
        gone = select(DRAFTS.c.sha256).where(
            DRAFTS.c.sha256.in_(chunk), DRAFTS.c.state == "expired"
        )
        found |= set(conn.scalars(gone))
    for chunk in chunked(list(found)):
        found -= set(conn.scalars(_others(chunk)))
        found -= {used for used, _ in conn.execute(_users(chunk))}
    return found


def not_drafts(conn: Connection, digests: Iterable[bytes]) -> set[bytes]:
    """Return which digests some output has that is no draft, or was kept."""
    found: set[bytes] = set()
    for chunk in chunked(digests):
        query = _outputs_with(chunk).where(or_(DRAFTS.c.state.is_(None), DRAFTS.c.state == "kept"))
        found |= set(conn.scalars(query))
    return found


def users(conn: Connection, digests: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Return (used, user): outputs that are not expired, and what of the digests they are from."""
    return [
        (used, user) for chunk in chunked(digests) for used, user in conn.execute(_users(chunk))
    ]


def list_drafts(
    conn: Connection, chosen: DraftFilter, *, limit: int | None = None, offset: int = 0
) -> Sequence[RowMapping]:
    """Return a page of drafts with record, time and size, newest first."""
    query = (
        select(
            DRAFTS,
            RECORDS.c.leaf_hash,
            RECORDS.c.time_ms,
            RECORDS.c.project,
            RECORDS.c.campaign,
            _OUTPUTS.c.media_type,
            _OUTPUTS.c.size,
        )
        .join(RECORDS, RECORDS.c.idx == DRAFTS.c.record_idx)
        .join(NODES, _of_node(NODES))
        .join(_OUTPUTS, _OUTPUTS.c.node_id == NODES.c.id)
        .order_by(DRAFTS.c.record_idx.desc(), DRAFTS.c.position)
    )
    if chosen.state is not None:
        query = query.where(DRAFTS.c.state == chosen.state)
    if chosen.project is not None:
        query = query.where(RECORDS.c.project == chosen.project)
    if chosen.campaign is not None:
        query = query.where(RECORDS.c.campaign == chosen.campaign)
    return conn.execute(query.limit(limit).offset(offset)).mappings().all()


def _of_node(node: Any) -> ColumnElement[bool]:
    return and_(DRAFTS.c.record_idx == node.c.record_idx, DRAFTS.c.position == node.c.position)


def _outputs_with(digests: Sequence[bytes]) -> Select[Any]:
    """Select the digests of outputs with these bytes, beside what each is as a draft."""
    return (
        select(NODES.c.sha256)
        .outerjoin(DRAFTS, _of_node(NODES))
        .where(NODES.c.sha256.in_(digests), NODES.c.record_idx.is_not(None))
    )


def _others(digests: Sequence[bytes]) -> Select[Any]:
    return _outputs_with(digests).where(_lives())


def _users(digests: Sequence[bytes]) -> Select[Any]:
    used, user = NODES.alias("used"), NODES.alias("user")
    return (
        select(used.c.sha256, user.c.sha256)
        .select_from(EDGES)
        .join(used, used.c.id == EDGES.c.parent)
        .join(user, user.c.id == EDGES.c.child)
        .outerjoin(DRAFTS, _of_node(user))
        .where(used.c.sha256.in_(digests), _lives())
        .distinct()
    )


def _lives() -> ColumnElement[bool]:
    return or_(DRAFTS.c.state.is_(None), DRAFTS.c.state != "expired")
