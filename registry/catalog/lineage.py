"""Questions to the lineage graph: ancestors and descendants of an asset, and a blast radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, func, select

from registry.catalog.graph import CLOSURE, EDGES, NODES, RECORDS, chunked
from registry.catalog.queries import OUTPUTS


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Nodes with their distance in hops, and the edges among them as (child, parent, name)."""

    nodes: tuple[RowMapping, ...]
    depths: dict[int, int]
    edges: tuple[tuple[int, int, str], ...]
    complete: bool


def subgraph(
    conn: Connection, roots: Sequence[int], *, up: bool, down: bool, depth: int | None, most: int
) -> Subgraph:
    """Walk from the roots, at most `depth` hops and about `most` nodes, breadth first."""
    walk = _Walk(conn, depth, most, dict.fromkeys(roots, 0), {})
    whole = True
    if up:
        whole &= walk.run(roots, source=EDGES.c.child, target=EDGES.c.parent)
    if down:
        whole &= walk.run(roots, source=EDGES.c.parent, target=EDGES.c.child)
    query = select(NODES, RECORDS.c.leaf_hash).outerjoin(
        RECORDS, RECORDS.c.idx == NODES.c.record_idx
    )
    rows: list[RowMapping] = []
    for chunk in chunked(walk.depths):
        rows += conn.execute(query.where(NODES.c.id.in_(chunk))).mappings()
    rows.sort(key=lambda row: (walk.depths[row["id"]], row["id"]))
    edges = tuple((child, parent, name) for (child, parent), name in sorted(walk.edges.items()))
    return Subgraph(tuple(rows), walk.depths, edges, whole)


@dataclass(slots=True)
class _Walk:
    """A breadth-first walk over the edges; what it has seen so far."""

    conn: Connection
    depth: int | None
    most: int
    depths: dict[int, int]
    edges: dict[tuple[int, int], str]

    def run(self, roots: Sequence[int], *, source: Column[int], target: Column[int]) -> bool:
        """Follow edges from source to target; tell whether nothing was cut off."""
        frontier, hops = set(roots), 0
        while frontier:
            found = self._step(frontier, source, target)
            fresh = found - set(self.depths)
            if fresh and (hops == self.depth or len(self.depths) > self.most):
                self.edges = {k: v for k, v in self.edges.items() if not fresh & set(k)}
                return False
            hops += 1
            self.depths |= dict.fromkeys(fresh, hops)
            frontier = fresh
        return True

    def _step(self, frontier: set[int], source: Column[int], target: Column[int]) -> set[int]:
        found: set[int] = set()
        for chunk in chunked(sorted(frontier)):
            for row in self.conn.execute(select(EDGES).where(source.in_(chunk))).mappings():
                self.edges[row["child"], row["parent"]] = row["name"]
                found.add(row[target.name])
        return found


def newest_descendants(
    conn: Connection, sha256: bytes, *, limit: int, offset: int
) -> Sequence[int]:
    """Return a page of the outputs that derive from a digest, newest first, as node ids.

    Ids are handed out in log order, so that the closure's own index gives the order.
    """
    query = (
        select(CLOSURE.c.descendant)
        .join(OUTPUTS, OUTPUTS.c.node_id == CLOSURE.c.descendant)
        .where(_below(conn, sha256), OUTPUTS.c.sha256 != sha256)
        .order_by(CLOSURE.c.descendant.desc())
    )
    return list(conn.scalars(query.distinct().limit(limit).offset(offset)))


def count_descendants(conn: Connection, sha256: bytes) -> dict[tuple[str, str], int]:
    """Count the outputs that derive from a digest, by (project, campaign)."""
    below = select(CLOSURE.c.descendant).distinct().where(_below(conn, sha256)).subquery("below")
    query = (
        select(RECORDS.c.project, RECORDS.c.campaign, func.count())
        .select_from(below)
        .join(NODES, NODES.c.id == below.c.descendant)
        .join(RECORDS, RECORDS.c.idx == NODES.c.record_idx)
        .where(NODES.c.sha256 != sha256)
        .group_by(RECORDS.c.project, RECORDS.c.campaign)
        .order_by(RECORDS.c.project, RECORDS.c.campaign)
    )
    return {(project, campaign or ""): count for project, campaign, count in conn.execute(query)}


def _below(conn: Connection, sha256: bytes) -> ColumnElement[bool]:
    """Return the condition on the closure for what derives from a digest's nodes."""
    seeds = list(conn.scalars(select(NODES.c.id).where(NODES.c.sha256 == sha256)))
    return CLOSURE.c.ancestor == seeds[0] if len(seeds) == 1 else CLOSURE.c.ancestor.in_(seeds)


def name_of(conn: Connection, sha256: bytes) -> str:
    """Return the name under which a digest was first seen, or an empty string."""
    query = select(NODES.c.name).where(NODES.c.sha256 == sha256).order_by(NODES.c.id)
    return conn.scalar(query.limit(1)) or ""


def ancestors_of(conn: Connection, sha256: bytes) -> Sequence[RowMapping]:
    """Return every node that any output with these bytes derives from, without itself."""
    mine = select(NODES.c.id).where(NODES.c.sha256 == sha256)
    above = select(CLOSURE.c.ancestor).where(CLOSURE.c.descendant.in_(mine))
    query = select(NODES).where(NODES.c.id.in_(above)).order_by(NODES.c.id)
    return conn.execute(query).mappings().all()
