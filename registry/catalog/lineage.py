"""Questions to the lineage graph: ancestors and descendants of an asset, and a blast radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, RowMapping, Select, func, select

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


def descendants(sha256: bytes) -> Select[tuple[int]]:
    """Select the nodes that derive from a digest, each once, without the digest's own."""
    seeds = select(NODES.c.id).where(NODES.c.sha256 == sha256)
    return (
        select(CLOSURE.c.descendant)
        .distinct()
        .join(OUTPUTS, OUTPUTS.c.node_id == CLOSURE.c.descendant)
        .where(CLOSURE.c.ancestor.in_(seeds), OUTPUTS.c.sha256 != sha256)
    )


def count_by(conn: Connection, sha256: bytes, column: str) -> dict[str, int]:
    """Count the outputs that derive from a digest, grouped by `project` or `campaign`."""
    key = RECORDS.c[column]
    query = (
        select(key, func.count())
        .select_from(OUTPUTS)
        .join(RECORDS, RECORDS.c.idx == OUTPUTS.c.record_idx)
        .where(OUTPUTS.c.node_id.in_(descendants(sha256)))
        .group_by(key)
        .order_by(key)
    )
    return {name or "": count for name, count in conn.execute(query)}


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
