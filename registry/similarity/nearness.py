"""How far a picture is from certain others that are known, such as an edit from its original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Engine, select

from registry.core.fingerprint import FingerprintValue
from registry.similarity.borders import TRIMMED
from registry.similarity.fingerprints import PHASH256, PHASH256_V1
from registry.similarity.prints import BLACK
from registry.similarity.values import bits_apart
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read
from registry.store.types import table_of

FAR = 100
"""Bits of 256 that an edit seldom reaches; pictures that have nothing in common differ in 128."""

_FINGERPRINTS = table_of(FingerprintRow)
_WHOLE = (PHASH256, PHASH256_V1, TRIMMED, BLACK)


def distances(
    engine: Engine, prints: Sequence[FingerprintValue], digests: Sequence[str]
) -> Mapping[str, int]:
    """Return the smallest distance, in bits, to each of the assets (hex SHA-256) that has one.

    Pictures as a whole are compared, with and without a border, on white and on black.
    """
    mine = [value.value for value in prints if value.name in _WHOLE]
    wanted = [bytes.fromhex(digest) for digest in digests]
    if not mine or not wanted:
        return {}
    query = select(_FINGERPRINTS).where(_FINGERPRINTS.c.sha256.in_(wanted))
    found: dict[str, int] = {}
    with read(engine) as conn:
        for row in conn.execute(query.where(_FINGERPRINTS.c.name.in_(_WHOLE))):
            bits = min(bits_apart(row.value, value) for value in mine)
            found[row.sha256.hex()] = min(bits, found.get(row.sha256.hex(), bits))
    return found
