"""What the catalog knows of digests: which assets are these very bytes or pixels, by which records.

Equal digests only; what looks alike is found elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from registry.core.digests import record_id
from registry.store.catalog_tables import OutputRow, RecordRow
from registry.store.types import table_of

_OUTPUTS, _RECORDS = table_of(OutputRow), table_of(RecordRow)
_CHUNK = 500  # SQLite takes a bounded number of parameters


@dataclass(frozen=True, slots=True)
class Known:
    """An asset's records, newest first, and the media type that one of them states."""

    records: tuple[str, ...]
    media_type: str | None


def by_digest(conn: Connection, digests: Iterable[str]) -> Mapping[str, Known]:
    """Return the assets among these hex SHA-256 digests."""
    return _known(conn, "sha256", digests)


def by_pixels(conn: Connection, pixels: str) -> Mapping[str, Known]:
    """Return the assets with these pixels (`pixels-v1`, hex), by their hex SHA-256."""
    return _known(conn, "pixels", [pixels])


def _known(conn: Connection, column: str, digests: Iterable[str]) -> dict[str, Known]:
    wanted = [bytes.fromhex(digest) for digest in digests]
    found: dict[str, Known] = {}
    for start in range(0, len(wanted), _CHUNK):
        query = (
            select(_OUTPUTS.c.sha256, _OUTPUTS.c.media_type, _RECORDS.c.leaf_hash)
            .join(_RECORDS, _RECORDS.c.idx == _OUTPUTS.c.record_idx)
            .where(_OUTPUTS.c[column].in_(wanted[start : start + _CHUNK]))
            .order_by(_RECORDS.c.idx.desc())
        )
        for sha256, media_type, leaf in conn.execute(query):
            name, record = sha256.hex(), record_id(leaf.hex())
            known = found.get(name, Known((), None))
            records = known.records if record in known.records else (*known.records, record)
            found[name] = Known(records, known.media_type or media_type)
    return found
