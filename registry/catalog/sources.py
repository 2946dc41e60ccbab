"""What assets were made from, by the names that people have for it: nodes of the lineage graph.

A source is named by what it was declared as, by the name under which it was first used, or by its
digest. Knows nothing of what a search is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, func, or_, select

from registry.catalog.graph import EDGES, NODES, chunked
from registry.catalog.queries import MODELS, OUTPUTS
from registry.core.digests import ASSET_HEAD, MIN_PREFIX
from registry.core.search_values import Name

MOST = 10_000
"""Most nodes that a name may stand for."""
WEIGHTS = "application/octet-stream"
"""Media type of a model or LoRA that is itself an output: trained here, or taken in."""

_DIGITS = re.compile(rf"[0-9a-f]{{{MIN_PREFIX},64}}")


def source_nodes(conn: Connection, kind: str | None, names: Sequence[Name]) -> list[int]:
    """Return the nodes that any of the names stands for, at most `MOST`.

    `kind` is model or lora, `licence` for names of licences, None for any source.
    """
    found: set[int] = set()
    for name in names:
        if kind != "licence":
            found.update(_by_digest(conn, name), _by_use(conn, kind, name))
        found.update(_by_declaration(conn, kind, name))
    return sorted(found)[:MOST]


def _by_digest(conn: Connection, name: Name) -> list[int]:
    digits = name.text.lower().removeprefix(ASSET_HEAD)
    if _DIGITS.fullmatch(digits) is None:
        return []
    low, high = (bytes.fromhex(digits.ljust(64, end)) for end in "0f")
    query = select(NODES.c.id).where(NODES.c.sha256.between(low, high))
    return list(conn.scalars(query.limit(MOST)))


def _by_use(conn: Connection, kind: str | None, name: Name) -> list[int]:
    """Return materials by their first name, and outputs that were used under the name."""
    materials = select(NODES.c.id).where(
        NODES.c.record_idx.is_(None), _called(NODES.c.name, kind, name)
    )
    if kind is not None:
        materials = materials.where(NODES.c.kind == kind)
    weights = (
        select(OUTPUTS.c.node_id)
        .join(EDGES, EDGES.c.parent == OUTPUTS.c.node_id)
        .where(OUTPUTS.c.width.is_(None), OUTPUTS.c.media_type == WEIGHTS)
        .where(_called(EDGES.c.name, kind, name))
        .distinct()
    )
    return [*conn.scalars(materials.limit(MOST)), *conn.scalars(weights.limit(MOST))]


def _by_declaration(conn: Connection, kind: str | None, name: Name) -> list[int]:
    """Return what was declared so, by the newest declaration of each digest."""
    newest = select(func.max(MODELS.c.record_idx)).group_by(MODELS.c.sha256)
    column = MODELS.c.licence if kind == "licence" else MODELS.c.name
    query = select(MODELS.c.sha256).where(MODELS.c.record_idx.in_(newest), matches(column, name))
    if kind in {"model", "lora"}:
        query = query.where(MODELS.c.kind == kind)
    found: list[int] = []
    for chunk in chunked(conn.scalars(query.limit(MOST))):
        found += conn.scalars(select(NODES.c.id).where(NODES.c.sha256.in_(chunk)))
    return found


def _called(column: ColumnElement[str], kind: str | None, name: Name) -> ColumnElement[bool]:
    """Return the condition for `lora/brandx`, with its kind before it or not."""
    if "/" in name.text:
        return matches(column, name)
    heads = (kind,) if kind else ("model", "lora", "vae", "dataset", "input")
    return or_(matches(column, name), *(matches(column, Name(f"{h}/{name.text}")) for h in heads))


def matches(column: ColumnElement[str], name: Name) -> ColumnElement[bool]:
    """Return the condition that a column has a name; a pattern ignores case, on every database."""
    if not name.is_pattern:
        return column == name.text
    plain = name.text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return func.lower(column).like(plain.replace("*", "%"), escape="\\")


def known_names(conn: Connection, kind: str, most: int) -> list[str]:
    """Return some names that models, LoRAs or licences here go by, in order."""
    declared = select(MODELS.c.licence if kind == "licence" else MODELS.c.name).distinct()
    if kind == "licence":
        return sorted(conn.scalars(declared.limit(most)))
    used = select(NODES.c.name).where(NODES.c.record_idx.is_(None), NODES.c.kind == kind)
    names = {*conn.scalars(declared.where(MODELS.c.kind == kind).limit(most))}
    names |= {name.removeprefix(f"{kind}/") for name in conn.scalars(used.distinct().limit(most))}
    return sorted(names)[:most]
