"""Look a file up: the same bytes, the same pixels, and what looks like it, told apart.

A perceptual match is a suspicion with a distance, never evidence of anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, select

from registry.core.digests import asset_id, record_id, sha256_hex
from registry.core.look_up import FindResult, Match, MatchKind, MatchVerdict, strongest
from registry.errors import InputError
from registry.similarity.decode import ImageLimits, open_image, suffix_problem
from registry.similarity.fingerprints import (
    BITS,
    NOT_FINGERPRINTABLE,
    PHASH256,
    pixels_digest,
    read_source,
)
from registry.similarity.scan import HammingIndex
from registry.similarity.variants import variants
from registry.store.catalog_tables import OutputRow, RecordRow
from registry.store.transaction import read
from registry.store.types import table_of

MATCH_BITS = 30
"""Largest distance of a `match`."""
PROBABLE_BITS = 46
"""Largest distance that is `probable`; beyond it a person has to look."""
RADIUS = 62
"""Largest distance that is searched for unless the caller says otherwise."""
MOST_MATCHES = 200
"""Most perceptual matches in one answer; a note says when there were more."""

_OUTPUTS, _RECORDS = table_of(OutputRow), table_of(RecordRow)
_CHUNK = 500  # SQLite takes a bounded number of parameters


@dataclass(frozen=True, slots=True)
class _Query:
    sha256: str
    pixels: str | None
    values: Mapping[str, bytes]
    notes: tuple[str, ...]


def find(
    engine: Engine,
    source: bytes | Path,
    limits: ImageLimits,
    *,
    radius: int = RADIUS,
    index: HammingIndex | None = None,
) -> FindResult:
    """Look a file or its bytes up among all outputs.

    Without an `index`, one is kept for the engine as long as that lives. Bytes that are no picture
    are looked up by their SHA-256 alone. Raises InputError: `find.radius`, `file.unreadable`, and
    as `open_image` for a broken picture that is not itself on the log.
    """
    if not 0 <= radius <= BITS:
        raise InputError(f"a radius of {radius} is not between 0 and {BITS}", code="find.radius")
    data = read_source(source, limits)
    exact = _by_column(engine, "sha256", sha256_hex(data))
    query = _examine(data, source, limits, known=bool(exact))
    matches = [_match(sha256, records, "exact") for sha256, records in exact.items()]
    taken = set(exact)
    if query.pixels is not None:
        same = _without(_by_column(engine, "pixels", query.pixels), taken)
        matches += [_match(sha256, records, "pixels") for sha256, records in same.items()]
        taken |= set(same)
    if index is None:  # an empty index is false, too
        index = _index_of(engine)
    alike, notes = _alike(engine, index, query, radius, taken)
    found = (*matches, *alike)
    return FindResult(
        found,
        _described(query, radius, len(index)),
        (*query.notes, *notes),
        strongest(match.verdict for match in found),
    )


def verdict_of(distance: int) -> MatchVerdict:
    """Return the verdict band of a perceptual distance in bits of 256."""
    if distance <= MATCH_BITS:
        return "match"
    return "probable" if distance <= PROBABLE_BITS else "review"


def _examine(data: bytes, source: bytes | Path, limits: ImageLimits, *, known: bool) -> _Query:
    """Compute what to look for; a broken picture matters only where its bytes are unknown."""
    sha256 = sha256_hex(data)
    try:
        image = open_image(data, limits)
    except InputError as error:
        if not known:
            raise
        return _Query(sha256, None, {}, (f"only the bytes were compared: {error.message}",))
    notes = []
    if isinstance(source, Path) and (misnamed := suffix_problem(source, image)):
        notes.append(f"the file {misnamed}")
    values = dict(variants(image))
    if not values:
        notes.append(NOT_FINGERPRINTABLE)
    return _Query(sha256, pixels_digest(image), values, tuple(notes))


def _alike(
    engine: Engine, index: HammingIndex, query: _Query, radius: int, taken: set[str]
) -> tuple[list[Match], tuple[str, ...]]:
    if not query.values:
        return [], ()
    index.refresh(engine)
    hits = [hit for hit in _nearest(index, query.values, radius) if hit[0] not in taken]
    kept = hits[:MOST_MATCHES]
    with read(engine) as conn:
        records = _records(conn, "sha256", [sha256 for sha256, _, _ in kept])
    matches = [
        _match(sha256, records[sha256], "perceptual", distance, transform)
        for sha256, distance, transform in kept
        if sha256 in records
    ]
    notes = (f"{len(hits) - len(kept)} more look-alikes are left out",) if hits != kept else ()
    return matches, notes


def _nearest(
    index: HammingIndex, values: Mapping[str, bytes], radius: int
) -> list[tuple[str, int, str]]:
    """Return (hex SHA-256, distance, transform), nearest first, each asset by its best variant.

    A transform is believed within `MATCH_BITS` only: there are many, and chance has as many tries.
    """
    best: dict[str, tuple[int, str]] = {}
    for transform, value in values.items():
        for sha256, distance in index.search(
            value, min(radius, MATCH_BITS) if transform else radius
        ):
            if sha256 not in best or distance < best[sha256][0]:
                best[sha256] = (distance, transform)
    return sorted(
        ((sha256, *found) for sha256, found in best.items()), key=lambda hit: (hit[1], hit[0])
    )


def _match(
    sha256: str,
    records: Sequence[str],
    kind: MatchKind,
    distance: int | None = None,
    transform: str = "",
) -> Match:
    verdict = "match" if distance is None else verdict_of(distance)
    if distance is None:
        return Match(asset_id(sha256), tuple(records), kind, None, verdict)
    return Match(
        asset_id(sha256),
        tuple(records),
        kind,
        distance,
        verdict,
        transform,
        expected=None,
        expected_bound=None,
        fingerprint=PHASH256,
    )


def _described(query: _Query, radius: int, compared: int) -> dict[str, Any]:
    return {
        "sha256": query.sha256,
        "pixels": query.pixels,
        "algorithm": PHASH256,
        "fingerprint": query.values[""].hex() if query.values else None,
        "variants": [name for name in query.values if name],
        "radius": radius,
        "compared": compared if query.values else 0,
    }


def _by_column(engine: Engine, column: str, digest: str) -> dict[str, list[str]]:
    with read(engine) as conn:
        return _records(conn, column, [digest])


def _records(conn: Connection, column: str, digests: Iterable[str]) -> dict[str, list[str]]:
    """Return the record ids, newest first, of the assets whose column holds one of the digests."""
    wanted = [bytes.fromhex(digest) for digest in digests]
    found: dict[str, list[str]] = {}
    for start in range(0, len(wanted), _CHUNK):
        query = (
            select(_OUTPUTS.c.sha256, _RECORDS.c.leaf_hash)
            .join(_RECORDS, _RECORDS.c.idx == _OUTPUTS.c.record_idx)
            .where(_OUTPUTS.c[column].in_(wanted[start : start + _CHUNK]))
            .order_by(_RECORDS.c.idx.desc())
        )
        for row in conn.execute(query):
            records = found.setdefault(row.sha256.hex(), [])
            record = record_id(row.leaf_hash.hex())
            if record not in records:
                records.append(record)
    return found


def _without(found: dict[str, list[str]], taken: set[str]) -> dict[str, list[str]]:
    return {sha256: records for sha256, records in found.items() if sha256 not in taken}


_INDEXES: WeakKeyDictionary[Engine, HammingIndex] = WeakKeyDictionary()
_INDEXES_LOCK = threading.Lock()


def _index_of(engine: Engine) -> HammingIndex:
    """Return the one index of an engine: loading takes a third of a second for a million rows."""
    with _INDEXES_LOCK:
        return _INDEXES.setdefault(engine, HammingIndex())
