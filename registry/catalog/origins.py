"""The pictures that a picture was made from, picture by picture: why two assets may look alike.

Unlike the closure it does not go through models: two pictures by one LoRA have no origin in common.
"""

from __future__ import annotations

from sqlalchemy import Connection, or_, select

from registry.catalog.graph import EDGES, NODES, chunked
from registry.catalog.queries import OUTPUTS

_PICTURES = select(NODES.c.id, NODES.c.sha256).outerjoin(OUTPUTS, OUTPUTS.c.node_id == NODES.c.id)
_IS_PICTURE = or_(NODES.c.kind == "image", OUTPUTS.c.media_type.like("image/%"))


def picture_origins(conn: Connection, sha256: bytes) -> frozenset[bytes]:
    """Return the digests of an asset and of every picture that any output of it was made from."""
    frontier = list(conn.scalars(select(NODES.c.id).where(NODES.c.sha256 == sha256)))
    seen, found = set(frontier), {sha256}
    while frontier:
        parents: dict[int, bytes] = {}
        for chunk in chunked(frontier):
            above = select(EDGES.c.parent).where(EDGES.c.child.in_(chunk))
            query = _PICTURES.where(NODES.c.id.in_(above), _IS_PICTURE)
            parents |= {row.id: row.sha256 for row in conn.execute(query)}
        frontier = [node for node in parents if node not in seen]
        seen.update(frontier)
        found.update(parents.values())
    return frozenset(found)
