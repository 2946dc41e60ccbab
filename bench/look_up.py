"""Exact search among perceptual fingerprints, and the whole look-up of a picture."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert

from bench import inputs
from bench.harness import Bar, Row, Size, Subject, median_ms, timed
from registry.factory import assemble, create_registry
from registry.sdk import Registry
from registry.settings import load_settings
from registry.similarity.fingerprints import PHASH256
from registry.similarity.scan import HammingIndex
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import write
from registry.store.types import table_of

RADIUS = 31
WANTED_SEARCH_MS = 1.0
WANTED_FIND_MS = 60.0
_BATCH = 50_000
_VALUE_BYTES = 32


def measure(place: Path, size: Size) -> Subject:
    """Store random fingerprints, load them, and search for random values."""
    home = place / "home"
    create_registry(home, name="bench").close()
    with Registry(assemble(load_settings(home))) as registry:
        engine = registry.log.engine
        values = _store(engine, size.fingerprints)
        index = HammingIndex()
        index.refresh(engine)
        ours, peer = _search(index, values, size.searches), _scan(values, size.searches)
        found: list[float] = []
        data = inputs.encoded(inputs.picture(1, size.picture_side))
        registry.find(data)  # loads the index, once in the life of a process
        for _ in range(size.searches):
            with timed(found):
                registry.find(data)
    search, whole = median_ms(ours), median_ms(found)
    return Subject(
        title=f"Look-up among {size.fingerprints:,} fingerprints of 256 bits",
        setting=f"Random values in memory, one thread; the median of {size.searches}. Nothing is "
        "approximate: every value is compared.",
        rows=(
            Row("index look-up", search, "ms", f"all within {RADIUS} bits"),
            Row(
                "a plain numpy scan", median_ms(peer), "ms", "bitwise_count(values ^ query).sum(1)"
            ),
            Row(
                "find",
                whole,
                "ms",
                f"decode a {size.picture_side}² PNG, digest its pixels, fingerprint it, look it up",
            ),
        ),
        bars=(
            _bar("index look-up, 256 bits, radius 31, exact", WANTED_SEARCH_MS, search, size),
            _bar("find of an encoded picture", WANTED_FIND_MS, whole, size),
        ),
    )


def _bar(claim: str, wanted: float, found: float, size: Size) -> Bar:
    at = f"{claim}, at {size.fingerprints:,}"
    return Bar(at, f"≤ {wanted:.0f} ms", f"{found:.2f} ms", found <= wanted)


def _store(engine: Engine, count: int) -> Any:
    """Store random fingerprints and return their values, one row of 32 bytes each."""
    values = np.random.default_rng(1).integers(0, 256, (count, _VALUE_BYTES), dtype=np.uint8)
    with write(engine) as conn:
        for rows in _rows(values):
            conn.execute(insert(table_of(FingerprintRow)), rows)
    return values


def _rows(values: Any) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(values), _BATCH):
        yield [
            {
                "sha256": secrets.token_bytes(_VALUE_BYTES),
                "name": PHASH256,
                "value": value.tobytes(),
                "quality": 100,
            }
            for value in values[start : start + _BATCH]
        ]


def _search(index: HammingIndex, values: Any, rounds: int) -> list[float]:
    taken: list[float] = []
    for number in range(rounds + 1):
        value = values[number % len(values)].tobytes()
        with timed(taken):
            index.search(value, RADIUS)
    return taken[1:]


def _scan(values: Any, rounds: int) -> list[float]:
    taken: list[float] = []
    for number in range(rounds + 1):
        value = values[number % len(values)]
        with timed(taken):
            np.flatnonzero(np.bitwise_count(values ^ value).sum(axis=1, dtype=np.uint16) <= RADIUS)
    return taken[1:]
