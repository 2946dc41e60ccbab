"""Which blobs the vault was given: from our SHA-256 to what DVC calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Engine, select

from registry.core.generation import Blob
from registry.store.sidecar_tables import BlobRow
from registry.store.transaction import read
from registry.store.types import table_of

_BLOBS = table_of(BlobRow)
_CHUNK = 500


class BlobIndex:
    """Looks blobs up by hex SHA-256; says nothing of whether their bytes are still there."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, sha256: str) -> Blob | None:
        """Return a blob, None when the vault was never given it."""
        return self.get_many((sha256,)).get(sha256)

    def get_many(self, digests: Iterable[str]) -> Mapping[str, Blob]:
        """Return those of the blobs that the vault was given, by hex SHA-256."""
        wanted = sorted(set(digests))
        found: dict[str, Blob] = {}
        with read(self._engine) as conn:
            for start in range(0, len(wanted), _CHUNK):
                chunk = [bytes.fromhex(item) for item in wanted[start : start + _CHUNK]]
                for row in conn.execute(select(_BLOBS).where(_BLOBS.c.sha256.in_(chunk))):
                    found[row.sha256.hex()] = Blob(row.sha256.hex(), row.md5.hex(), row.size)
        return found
