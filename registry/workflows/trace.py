"""Lineage of an asset, and the blast radius of a source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import RowMapping

from registry.catalog import lineage as graph
from registry.catalog import queries
from registry.core.answers import Impact, Lineage, LineageEdge, LineageNode
from registry.core.digests import asset_id, record_id
from registry.core.statements import predicate_uri
from registry.errors import InputError
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.inspect import summaries
from registry.workflows.services import Services
from registry.workflows.view import RecordView

BY_HAND = predicate_uri("ingest", 2)
"""Records that say what people contributed."""
MAX_NODES = 5_000
"""Most nodes of one lineage answer; past it the answer says that it is not complete."""
DIRECTIONS = ("up", "down", "both")


def lineage(services: Services, text: str, *, direction: str, depth: int | None) -> Lineage:
    """Return the graph around an asset or material: what it is from, what was made from it.

    `depth` counts hops, None for all. Raises InputError for an unknown direction.
    """
    if direction not in DIRECTIONS:
        raise InputError(f"direction {direction!r} is not one of {', '.join(DIRECTIONS)}")
    with read(services.engine) as conn:
        digest = refs.digest(conn, text)
        roots = queries.nodes_of(conn, digest)
        found = graph.subgraph(
            conn,
            roots,
            up=direction in {"up", "both"},
            down=direction in {"down", "both"},
            depth=depth,
            most=MAX_NODES,
        )
        tainted = queries.tainted_nodes(conn, list(found.depths))
        edited = queries.of_type(conn, [r["record_idx"] for r in found.nodes], BY_HAND)
    hands = {i: tuple(RecordView(services, i).statement.predicate["contributions"]) for i in edited}
    return Lineage(
        root=asset_id(digest.hex()),
        direction=direction,
        complete=found.complete,
        nodes=tuple(
            _node(row, found.depths[row["id"]], tainted, hands.get(row["record_idx"], ()))
            for row in found.nodes
        ),
        edges=tuple(LineageEdge(*edge) for edge in found.edges),
    )


def impact(services: Services, text: str, *, limit: int, offset: int) -> Impact:
    """Return every output that derives from an asset or material, counted and a page of them."""
    most = services.settings.limits.page_rows
    with read(services.engine) as conn:
        digest = refs.digest(conn, text)
        counts = graph.count_descendants(conn, digest)
        page = graph.newest_descendants(conn, digest, limit=min(limit, most), offset=offset)
        return Impact(
            target=asset_id(digest.hex()),
            name=graph.name_of(conn, digest),
            count=sum(counts.values()),
            by_project=_grouped((project, n) for (project, _), n in counts.items()),
            by_campaign=_grouped((campaign, n) for (_, campaign), n in counts.items()),
            assets=tuple(summaries(services, conn, queries.list_nodes(conn, page))),
        )


def _grouped(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for name, count in counts:
        totals[name] += count
    return dict(sorted(totals.items()))


def _node(row: RowMapping, depth: int, tainted: set[int], hands: tuple[str, ...]) -> LineageNode:
    return LineageNode(
        node=row["id"],
        id=asset_id(row["sha256"].hex()),
        kind=row["kind"],
        name=row["name"],
        record=record_id(row["leaf_hash"].hex()) if row["leaf_hash"] else None,
        depth=depth,
        tainted=row["id"] in tainted,
        hands=hands,
    )
