"""What a project has already, by content: a file that is an asset of it needs no other record."""

from __future__ import annotations

from sqlalchemy import Connection, and_, exists, select

from registry.catalog.drafts import DRAFTS
from registry.catalog.graph import RECORDS
from registry.catalog.queries import OUTPUTS
from registry.core.digests import record_id


def record_of(conn: Connection, sha256: str, project: str) -> str | None:
    """Return the id of the first record of a project that made or took in these bytes; else None.

    Drafts that nobody kept do not count: their bytes go.
    """
    draft = exists().where(
        and_(
            DRAFTS.c.record_idx == OUTPUTS.c.record_idx,
            DRAFTS.c.sha256 == OUTPUTS.c.sha256,
            DRAFTS.c.state != "kept",
        )
    )
    query = (
        select(RECORDS.c.leaf_hash)
        .join(OUTPUTS, OUTPUTS.c.record_idx == RECORDS.c.idx)
        .where(
            OUTPUTS.c.sha256 == bytes.fromhex(sha256),
            RECORDS.c.project == project,
            ~draft,
        )
        .order_by(RECORDS.c.idx)
        .limit(1)
    )
    found = conn.scalar(query)
    return None if found is None else record_id(found.hex())
