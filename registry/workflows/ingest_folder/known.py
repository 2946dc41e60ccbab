"""What a project has already, by content: a file that is an asset of it needs no other record."""

from __future__ import annotations

from sqlalchemy import Connection, and_, bindparam, exists, select

from registry.catalog.drafts import DRAFTS
from registry.catalog.graph import RECORDS
from registry.catalog.queries import OUTPUTS
from registry.core.digests import record_id

_DRAFT = exists().where(
    and_(
        DRAFTS.c.record_idx == OUTPUTS.c.record_idx,
        DRAFTS.c.sha256 == OUTPUTS.c.sha256,
        DRAFTS.c.state != "kept",
    )
)
_FIRST = (  # built once: it is asked for every file
    select(RECORDS.c.leaf_hash)
    .join(OUTPUTS, OUTPUTS.c.record_idx == RECORDS.c.idx)
    .where(
        OUTPUTS.c.sha256 == bindparam("sha256"),
        RECORDS.c.project == bindparam("project"),
        ~_DRAFT,
    )
    .order_by(RECORDS.c.idx)
    .limit(1)
)


def record_of(conn: Connection, sha256: str, project: str) -> str | None:
    """Return the id of the first record of a project that made or took in these bytes; else None.

    Drafts that nobody kept do not count: their bytes go.
    """
    found = conn.scalar(_FIRST, {"sha256": bytes.fromhex(sha256), "project": project})
    return None if found is None else record_id(found.hex())
