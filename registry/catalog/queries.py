"""Look-ups in the projection: ids to outputs, listings, and what speaks of an asset.

Every function takes an open read connection and returns plain rows; paths, texts and proofs are
added above, by those who own them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select, union

from registry.catalog.graph import CLOSURE, NODES, RECORDS, chunked
from registry.core.digests import Ref
from registry.errors import AmbiguousError, NotFoundError
from registry.store.catalog_tables import (
    DecisionRow,
    ErasureRow,
    HoldRow,
    ModelRow,
    OutputRow,
    ReproductionRow,
    SubjectRow,
    TaintRow,
)
from registry.store.leaves import is_record, leaves_between
from registry.store.sidecar_tables import BlobRow
from registry.store.types import table_of

OUTPUTS = table_of(OutputRow)
SUBJECTS = table_of(SubjectRow)
TAINTS = table_of(TaintRow)
DECISIONS = table_of(DecisionRow)
REPRODUCTIONS = table_of(ReproductionRow)
MODELS = table_of(ModelRow)
ERASURES = table_of(ErasureRow)
HOLDS = table_of(HoldRow)
BLOBS = table_of(BlobRow)

_MAX_CANDIDATES = 8


@dataclass(frozen=True, slots=True)
class ListFilter:
    """Which outputs to list; None means any."""

    project: str | None = None
    campaign: str | None = None
    kind: str | None = None
    tainted: bool | None = None


def find_output(conn: Connection, ref: Ref) -> RowMapping:
    """Return the newest output that an asset id, record id or prefix answers to.

    Raises NotFoundError, or AmbiguousError with the candidates.
    """
    candidates = _candidates(conn, ref)
    if not candidates:
        raise NotFoundError(
            f"nothing here is called {ref.hex}",
            hint="`genops list` shows what there is; `genops find FILE` looks a picture up",
        )
    if len(candidates) > 1:
        raise _ambiguous(ref, candidates)
    head, digest = next(iter(candidates))
    chosen = OUTPUTS.c.sha256 == digest if head == "sha256" else is_record(digest)
    query = _outputs().where(chosen)
    row = conn.execute(query.order_by(OUTPUTS.c.record_idx.desc(), NODES.c.position)).first()
    if row is None:
        raise NotFoundError(
            f"rec:{digest.hex()} is a record, but none that made or took in an asset",
            code="ref.no-asset",
            hint="`genops log entry` shows any record",
        )
    return row._mapping


def find_digest(conn: Connection, ref: Ref) -> bytes:
    """Return the digest of an asset or material that an id or prefix answers to.

    Raises NotFoundError, or AmbiguousError with the candidates.
    """
    if ref.scope == "record":
        return bytes(find_output(conn, ref)["sha256"])
    low, high = _bounds(ref.hex)
    query = select(NODES.c.sha256).distinct().where(NODES.c.sha256.between(low, high))
    found = [("sha256", bytes(d)) for d in conn.scalars(query.limit(_MAX_CANDIDATES))]
    if len(found) > 1:
        raise _ambiguous(ref, set(found))
    if found:
        return found[0][1]
    return bytes(find_output(conn, ref)["sha256"])


def outputs_of(conn: Connection, sha256: bytes) -> Sequence[RowMapping]:
    """Return every output with these bytes, newest record first."""
    query = _outputs().where(OUTPUTS.c.sha256 == sha256).order_by(OUTPUTS.c.record_idx.desc())
    return conn.execute(query).mappings().all()


def list_outputs(
    conn: Connection, chosen: ListFilter, *, limit: int, offset: int
) -> Sequence[RowMapping]:
    """Return a page of outputs, newest first."""
    query = _filtered(_outputs(), chosen)
    query = query.order_by(OUTPUTS.c.record_idx.desc(), NODES.c.position)
    return conn.execute(query.limit(limit).offset(offset)).mappings().all()


def list_nodes(conn: Connection, nodes: Sequence[int]) -> Sequence[RowMapping]:
    """Return the outputs of the given nodes, newest first."""
    query = _outputs().where(OUTPUTS.c.node_id.in_(nodes)).order_by(OUTPUTS.c.node_id.desc())
    return conn.execute(query).mappings().all()


def nodes_of(conn: Connection, sha256: bytes) -> Sequence[int]:
    """Return every node that stands for a digest; raises NotFoundError when there is none."""
    found = list(conn.scalars(select(NODES.c.id).where(NODES.c.sha256 == sha256)))
    if not found:
        raise NotFoundError(
            f"nothing here was made from, or is, sha256:{sha256.hex()}",
            hint="`genops list` shows what there is",
        )
    return found


def tainted_nodes(conn: Connection, nodes: Sequence[int]) -> set[int]:
    """Return which of the given nodes a standing taint reaches."""
    hit: set[int] = set()
    for chunk in chunked(nodes):
        reached = tainted_query().subquery()
        hit |= set(conn.scalars(select(reached.c.id).where(reached.c.id.in_(chunk))))
    return hit


def taints_of(conn: Connection, sha256: bytes) -> Sequence[RowMapping]:
    """Return the standing taints that reach any output with these bytes, direct ones first."""
    mine = select(NODES.c.id).where(NODES.c.sha256 == sha256)
    above = select(CLOSURE.c.ancestor).where(CLOSURE.c.descendant.in_(mine))
    query = (
        select(
            TAINTS.c.record_idx,
            TAINTS.c.sha256,
            TAINTS.c.severity,
            RECORDS.c.leaf_hash,
            func.min(NODES.c.name).label("name"),
            (TAINTS.c.sha256 == sha256).label("direct"),
        )
        .join(RECORDS, RECORDS.c.idx == TAINTS.c.record_idx)
        .join(NODES, NODES.c.sha256 == TAINTS.c.sha256)
        .where(TAINTS.c.cleared_by.is_(None), NODES.c.id.in_(union(mine, above)))
        .group_by(TAINTS.c.record_idx, TAINTS.c.sha256, TAINTS.c.severity, RECORDS.c.leaf_hash)
        .order_by(TAINTS.c.record_idx)
    )
    rows = conn.execute(query).mappings().all()
    return sorted(rows, key=lambda row: not row["direct"])


def standing_taints(conn: Connection, sha256: bytes) -> Sequence[int]:
    """Return the record indices of the standing taints that name exactly this digest."""
    query = select(TAINTS.c.record_idx).where(
        TAINTS.c.sha256 == sha256, TAINTS.c.cleared_by.is_(None)
    )
    return list(conn.scalars(query.order_by(TAINTS.c.record_idx)))


def records_about(conn: Connection, sha256: bytes) -> Sequence[RowMapping]:
    """Return every record that has these bytes as a subject, oldest first."""
    query = (
        select(RECORDS)
        .distinct()
        .join(SUBJECTS, SUBJECTS.c.record_idx == RECORDS.c.idx)
        .where(SUBJECTS.c.sha256 == sha256)
        .order_by(RECORDS.c.idx)
    )
    return conn.execute(query).mappings().all()


def records_on(conn: Connection, leaf_hash: bytes) -> Sequence[RowMapping]:
    """Return the reproductions and erasures of one record and the holds on it, oldest first."""
    linked = union(
        select(REPRODUCTIONS.c.record_idx).where(REPRODUCTIONS.c.of_record == leaf_hash),
        select(ERASURES.c.record_idx).where(ERASURES.c.of_record == leaf_hash),
        select(HOLDS.c.record_idx).where(HOLDS.c.target == leaf_hash),
    )
    query = select(RECORDS).where(RECORDS.c.idx.in_(linked)).order_by(RECORDS.c.idx)
    return conn.execute(query).mappings().all()


def of_type(conn: Connection, indices: Iterable[int | None], predicate_type: str) -> Sequence[int]:
    """Return which of these records are of a predicate type, by index."""
    found: list[int] = []
    for chunk in chunked({index for index in indices if index is not None}):
        query = select(RECORDS.c.idx).where(RECORDS.c.predicate_type == predicate_type)
        found += conn.scalars(query.where(RECORDS.c.idx.in_(chunk)))
    return found


def verdicts_of(conn: Connection, indices: Sequence[int]) -> dict[int, str]:
    """Return the verdicts of decisions and reproductions, by record index."""
    found: dict[int, str] = {}
    for table in (DECISIONS, REPRODUCTIONS):
        query = select(table.c.record_idx, table.c.verdict)
        chosen = query.where(table.c.record_idx.in_(list(indices)))
        found |= {row.record_idx: row.verdict for row in conn.execute(chosen)}
    return found


def declared_models(conn: Connection, digests: Sequence[bytes]) -> dict[bytes, RowMapping]:
    """Return the newest declaration of each model or LoRA digest that has one."""
    found: dict[bytes, RowMapping] = {}
    for chunk in chunked(digests):
        query = select(MODELS).where(MODELS.c.sha256.in_(chunk)).order_by(MODELS.c.record_idx)
        found |= {row["sha256"]: row for row in conn.execute(query).mappings()}
    return found


def all_models(conn: Connection) -> Sequence[RowMapping]:
    """Return every model declaration, with its record, oldest first."""
    query = select(MODELS, RECORDS.c.leaf_hash, RECORDS.c.time_ms).join(
        RECORDS, RECORDS.c.idx == MODELS.c.record_idx
    )
    return conn.execute(query.order_by(MODELS.c.record_idx)).mappings().all()


def tainted_digests(conn: Connection, digests: Sequence[bytes]) -> set[bytes]:
    """Return which of the given digests a standing taint names or reaches."""
    hit: set[bytes] = set()
    for chunk in chunked(digests):
        reached = tainted_query().subquery()
        by_node = select(NODES.c.sha256).join(reached, reached.c.id == NODES.c.id)
        hit |= set(conn.scalars(by_node.where(NODES.c.sha256.in_(chunk))))
        named = select(TAINTS.c.sha256).where(TAINTS.c.cleared_by.is_(None))
        hit |= set(conn.scalars(named.where(TAINTS.c.sha256.in_(chunk))))
    return hit


def _outputs() -> Select[Any]:
    return (
        select(
            OUTPUTS,
            NODES.c.kind,
            NODES.c.position,
            RECORDS.c.leaf_hash,
            RECORDS.c.time_ms,
            RECORDS.c.project,
            RECORDS.c.campaign,
            RECORDS.c.reproducible,
            BLOBS.c.md5,
        )
        .join(NODES, NODES.c.id == OUTPUTS.c.node_id)
        .join(RECORDS, RECORDS.c.idx == OUTPUTS.c.record_idx)
        .outerjoin(BLOBS, BLOBS.c.sha256 == OUTPUTS.c.sha256)
    )


def _filtered(query: Select[Any], chosen: ListFilter) -> Select[Any]:
    if chosen.project is not None:
        query = query.where(RECORDS.c.project == chosen.project)
    if chosen.campaign is not None:
        query = query.where(RECORDS.c.campaign == chosen.campaign)
    if chosen.kind is not None:
        query = query.where(NODES.c.kind == chosen.kind)
    if chosen.tainted is not None:
        reached = OUTPUTS.c.node_id.in_(tainted_query())
        query = query.where(reached if chosen.tainted else ~reached)
    return query


def tainted_query() -> Any:
    """Select the nodes that a standing taint names, and all that derives from them."""
    standing = (
        select(NODES.c.id)
        .join(TAINTS, TAINTS.c.sha256 == NODES.c.sha256)
        .where(TAINTS.c.cleared_by.is_(None))
    )
    below = select(CLOSURE.c.descendant).where(CLOSURE.c.ancestor.in_(standing))
    return union(standing, below)


def _candidates(conn: Connection, ref: Ref) -> set[tuple[str, bytes]]:
    low, high = _bounds(ref.hex)
    found: set[tuple[str, bytes]] = set()
    assets = select(OUTPUTS.c.sha256).distinct().where(OUTPUTS.c.sha256.between(low, high))
    for head, kind, query in (
        ("sha256", "asset", assets),
        ("rec", "record", leaves_between(low, high)),
    ):
        if ref.scope in {kind, None}:
            found |= {(head, bytes(d)) for d in conn.scalars(query.limit(_MAX_CANDIDATES))}
    return found


def _bounds(prefix: str) -> tuple[bytes, bytes]:
    return bytes.fromhex(prefix.ljust(64, "0")), bytes.fromhex(prefix.ljust(64, "f"))


def _ambiguous(ref: Ref, candidates: set[tuple[str, bytes]]) -> AmbiguousError:
    names = sorted(f"{head}:{digest.hex()}" for head, digest in candidates)
    return AmbiguousError(
        f"{ref.hex} answers to {len(names)} things: " + ", ".join(names),
        hint="give more digits",
    )
