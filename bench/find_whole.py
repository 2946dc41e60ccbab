"""All that a look-up of a decoded picture does: hash, search, verify, judge.

In a bank as real libraries are: values around those of real crops, with regions and corners.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import Engine, select

from bench import crops, inputs, robust
from bench.harness import Bar, Row, Size, Subject, median_ms, timed
from registry.factory import assemble, create_registry
from registry.sdk import Registry
from registry.settings import Limits, load_settings
from registry.similarity import hits
from registry.similarity.decode import open_image
from registry.similarity.finder import RADIUS
from registry.similarity.fingerprints import grey_of
from registry.similarity.indexes import index_of
from registry.similarity.query import query_of
from registry.similarity.segments import SEGMENTS
from registry.similarity.verify import Probe
from registry.similarity.vote_index import vote_index_of
from registry.store.bulk import insert_rows
from registry.store.sidecar_tables import ThumbnailRow
from registry.store.transaction import write
from registry.store.types import table_of

_THUMBNAILS = table_of(ThumbnailRow)
SEED = 9
WANTED_MS = 60.0
SIDE = 1024
"""Shortest side of the pictures that are looked up, pixels."""


def measure(place: Path, size: Size) -> Subject:
    """Look copies, parts and strangers up in a bank of `fingerprints` assets."""
    wanted, others = robust._pictures(size)
    fillers = crops.bank(others, size.bank - 1, SEED)
    home = place / "home"
    create_registry(home, name="bench").close()
    with Registry(assemble(load_settings(home))) as registry:
        known, strangers = wanted[::2], wanted[1::2] or [inputs.picture(SEED, 256)]
        for image in known:
            robust._registered(registry, place, image)
        robust._store(registry.log.engine, fillers)
        robust._enlarge(registry.log.engine, fillers, size.fingerprints - size.bank)
        queries = {
            "a copy": [_saved(image) for image in known],
            "a part of 60 % of each side": [_saved(_middle(image)) for image in known],
            "a stranger": [_saved(image) for image in strangers],
        }
        registry.find(queries["a copy"][0])  # loads the indexes, once in the life of a process
        small = [crop.thumbnail for crop in fillers if crop.thumbnail]
        for files in queries.values():
            for number, data in enumerate(files):
                _show(registry.log.engine, data, small[number % len(small)])
        rows = list(_rows(registry, queries, size.searches))
    whole = max(row.value for row in rows)
    return Subject(
        title=f"The whole look-up among {size.fingerprints:,} assets",
        setting=f"Pictures of {SIDE} pixels on the shortest side; {size.bank:,} of the assets have"
        " thumbnails, and so have all candidates. Medians, less decoding; two threads.",
        rows=tuple(rows),
        bars=(
            Bar(
                f"find of a decoded picture at {size.fingerprints:,}",
                f"≤ {WANTED_MS:.0f} ms",
                f"{whole:.1f} ms",
                whole <= WANTED_MS,
            ),
        ),
    )


def _rows(registry: Registry, queries: dict[str, list[bytes]], searches: int) -> Iterator[Row]:
    """Yield the median of each kind of query, less that of decoding it."""
    for name, files in queries.items():
        chosen = [files[number % len(files)] for number in range(searches)]
        whole = _median(registry.find, chosen)
        decoding = _median(_decode, chosen)
        yield Row(f"find {name}", whole - decoding, "ms", f"and {decoding:.1f} ms to decode it")
        if name == "a stranger":
            hashing = _median(lambda data: query_of(data, Limits()), chosen)
            yield Row("of that, hashing", hashing - decoding, "ms", "variants, regions, PDQ")


def _show(engine: Engine, data: bytes, thumbnail: bytes) -> None:
    """Give a thumbnail to each candidate of a query that has none: in a library, all have."""
    query = query_of(data, Limits())
    probe, votes = Probe(grey_of(query.image)), vote_index_of(engine)
    sides = {"": False, "mirrored": True}
    found = hits.by_votes(
        {
            name: votes.search(probe.keys(mirrored=side), hits.MOST_VOTED)
            for name, side in sides.items()
        }
    )
    found += hits.parts(index_of(engine, (SEGMENTS,)), query.segments, hits.NEAR_BITS)
    found += hits.whole(index_of(engine, hits.WHOLE), query.variants, RADIUS)
    with write(engine) as conn:
        there = {sha256.hex() for sha256 in conn.scalars(select(_THUMBNAILS.c.sha256))}
        missing = {hit.sha256 for hit in found} - there
        rows = [
            {"sha256": bytes.fromhex(one), "data": thumbnail, "made": "bench"} for one in missing
        ]
        insert_rows(conn, _THUMBNAILS, rows)


def _decode(data: bytes) -> Any:
    return open_image(data, Limits(), least=512)


def _median(work: Callable[[bytes], Any], queries: Sequence[bytes]) -> float:
    taken: list[float] = []
    for data in queries:
        with timed(taken):
            work(data)
    return median_ms(taken)


def _saved(image: Image.Image) -> bytes:
    """Return a picture of `SIDE` pixels on its shortest side as a JPEG."""
    scale = SIDE / min(image.size)
    size = (round(scale * image.width), round(scale * image.height))
    stream = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _middle(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 5, height // 5, width * 4 // 5, height * 4 // 5))
