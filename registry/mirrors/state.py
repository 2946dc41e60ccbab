"""What a mirror must remember between runs: small texts by key, first writer wins.

Knows nothing of what the keys mean.
"""

from __future__ import annotations

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError as DuplicateKey

from registry.store.sidecar_tables import MirrorStateRow
from registry.store.transaction import read, write

_ROWS = MirrorStateRow.__table__  # type: ignore[attr-defined]  # set by SQLModel


class MirrorState:
    """Durable key/value texts in the registry's database; may be lost without losing a record."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, key: str) -> str | None:
        """Return the value, or None."""
        with read(self._engine) as conn:
            return conn.scalar(select(_ROWS.c.value).where(_ROWS.c.key == key))

    def claim(self, key: str, value: str, *, stale: str | None = None) -> str:
        """Store `value` unless another process was first; return the value that now stands.

        An existing value is replaced only if it is `stale`.
        """
        if stale is not None:
            this = (_ROWS.c.key == key) & (_ROWS.c.value == stale)
            with write(self._engine) as conn:
                conn.execute(update(_ROWS).where(this).values(value=value))
        try:
            with write(self._engine) as conn:
                conn.execute(insert(_ROWS), {"key": key, "value": value})
        except DuplicateKey:
            standing = self.get(key)
            return value if standing is None else standing
        return value
