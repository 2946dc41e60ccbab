"""What an index reads: fingerprints out of the database, from where it stood, and what went.

Knows rows and their packed form, and nothing of searching. Values of several parts are split here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from registry.similarity.values import VALUE_BYTES, parts_of

DIGEST_BYTES = 32
ROW_BYTES = DIGEST_BYTES + VALUE_BYTES
ID_BYTES = 8


class Rows(NamedTuple):
    """Some fingerprints: all that there are up to the row id `last_id`, after those before.

    `packed` has 64 bytes for each part of a value: the asset's digest, then the part. `ids` has
    the row id of each part, 8 bytes, little-endian; empty where rows are never removed.
    """

    last_id: int
    packed: bytes | memoryview
    ids: bytes | memoryview = b""


class RowSource(Protocol):
    """Where an index takes its rows from: one snapshot of the database, by its connection.

    Row ids only grow, and those of a snapshot are all there: none that is lower comes later.
    """

    def after(self, conn: Connection, last_id: int) -> Iterator[Rows]:
        """Yield the rows whose ids are above `last_id`, in any number of parts."""


class Removals(Protocol):
    """What was taken out of a source."""

    def since(self, conn: Connection, seen: int | None) -> Removed:
        """Return what was removed after number `seen`; with None, only the newest number."""


class Removed(NamedTuple):
    """Row ids that are gone, as of the removal number `seen`.

    Ids above `top` may have been given to new rows since: they have to be read again. None where
    nothing was removed.
    """

    seen: int
    ids: Sequence[int]
    top: int | None


def packed(rows: Iterable[tuple[int, bytes, bytes]]) -> tuple[bytes, bytes]:
    """Return (id, digest, value) rows as `Rows` has them: a row for each 32 bytes of a value.

    A value that is no multiple of 32 bytes is left out: it is none of ours.
    """
    parts: list[bytes] = []
    ids: list[bytes] = []
    for number, digest, value in rows:
        if not is_searchable(digest, value):
            continue
        where = number.to_bytes(ID_BYTES, "little")
        for part in parts_of(value):
            parts += (digest, part)
            ids.append(where)
    return b"".join(parts), b"".join(ids)


def is_searchable(digest: bytes, value: bytes) -> bool:
    """Tell whether a row has values of 32 bytes, and the digest of an asset."""
    return len(value) % VALUE_BYTES == 0 and len(digest) == DIGEST_BYTES
