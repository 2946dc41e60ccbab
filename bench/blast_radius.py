"""The blast radius of one LoRA in a large catalog, beside a recursive query over its edges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, text

from bench.harness import Bar, Row, Size, Subject, median_ms, timed
from registry import create_registry
from registry.catalog.graph import CLOSURE, EDGES, NODES, RECORDS
from registry.catalog.lineage import count_descendants
from registry.catalog.queries import OUTPUTS
from registry.store.transaction import read, write

WANTED_COUNT_MS = 5.0
WANTED_PAGE_MS = 30.0
ROUNDS = 9
PAGE = 100
BASE, LORA, INPUT = 1, 2, 3
"""Node ids of the materials: every asset uses the model and the input, some the LoRA."""
_FIRST = 10
_BATCH = 20_000
_RECURSIVE = """
WITH RECURSIVE below(id) AS (
  SELECT child FROM edges WHERE parent = :root
  UNION SELECT edges.child FROM edges JOIN below ON edges.parent = below.id
) SELECT count(*) FROM below
"""


def measure(place: Path, size: Size) -> Subject:
    """Fill the projection with assets, and ask what derives from the LoRA."""
    counts: list[float] = []
    pages: list[float] = []
    walks: list[float] = []
    with create_registry(place / "home", name="bench") as registry:
        engine = registry.log.engine
        with write(engine) as conn:
            edges = _fill(conn, size)
        target = f"sha256:{_digest(LORA).hex()}"
        for _ in range(ROUNDS):
            with timed(counts), read(engine) as conn:
                found = sum(count_descendants(conn, _digest(LORA)).values())
            with timed(pages):
                registry.impact(target, limit=PAGE)
            with timed(walks), read(engine) as conn:
                conn.execute(text(_RECURSIVE), {"root": LORA}).scalar()
    if found != size.descendants:
        raise RuntimeError(f"{found} descendants were found, not {size.descendants}")
    count, page = median_ms(counts), median_ms(pages)
    return Subject(
        title=f"Blast radius: {size.descendants:,} of {size.assets:,} assets, {edges:,} edges",
        setting=f"SQLite, warm; the median of {ROUNDS}. Rows were written to the projection "
        "directly, one hop deep.",
        rows=(
            Row("count", count, "ms", "all that derives from the LoRA, by project"),
            Row("first page", page, "ms", f"impact(): both counts and {PAGE} assets, newest first"),
            Row("a recursive query", median_ms(walks), "ms", "the count alone, over the edges"),
        ),
        bars=(
            _bar("blast radius, count", WANTED_COUNT_MS, count),
            _bar("blast radius, first page", WANTED_PAGE_MS, page),
        ),
    )


def _bar(claim: str, wanted: float, found: float) -> Bar:
    return Bar(claim, f"≤ {wanted:.0f} ms", f"{found:.1f} ms", found <= wanted)


def _fill(conn: Connection, size: Size) -> int:
    """Write materials and assets; return the number of edges."""
    conn.execute(insert(NODES), [_node(n, "lora" if n == LORA else "model") for n in (1, 2, 3)])
    edges = 0
    for start in range(0, size.assets, _BATCH):
        numbers = range(start, min(start + _BATCH, size.assets))
        nodes = [_FIRST + number for number in numbers]
        pairs = [(n, p) for n in nodes for p in _parents(n - _FIRST < size.descendants)]
        conn.execute(insert(RECORDS), [_record(n) for n in nodes])
        conn.execute(insert(NODES), [_node(n, "generated", record=n) for n in nodes])
        conn.execute(insert(OUTPUTS), [_output(n) for n in nodes])
        conn.execute(insert(EDGES), [{"child": c, "parent": p, "name": "m"} for c, p in pairs])
        conn.execute(insert(CLOSURE), [{"ancestor": p, "descendant": c} for c, p in pairs])
        edges += len(pairs)
    return edges


def _parents(uses_lora: bool) -> Iterator[int]:
    yield from (BASE, INPUT)
    if uses_lora:
        yield LORA


def _digest(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def _node(number: int, kind: str, *, record: int | None = None) -> dict[str, Any]:
    return {
        "id": number,
        "kind": kind,
        "sha256": _digest(number),
        "name": "out/0",
        "uri": "",
        "storage": "vaulted",
        "record_idx": record,
        "position": None if record is None else 0,
    }


def _output(number: int) -> dict[str, Any]:
    return {
        "node_id": number,
        "record_idx": number,
        "sha256": _digest(number),
        "pixels": None,
        "media_type": "image/png",
        "width": 1024,
        "height": 1024,
        "size": 1,
        "seed": "1",
    }


def _record(number: int) -> dict[str, Any]:
    return {
        "idx": number,
        "leaf_hash": _digest(number + 2**40),
        "payload_sha256": _digest(number + 2**41),
        "time_ms": 1_790_000_000_000 + number,
        "predicate_type": "https://slsa.dev/provenance/v1",
        "build_type": None,
        "keyid": "",
        "project": f"project-{number % 3}",
        "campaign": f"campaign-{number % 20}",
        "actor": "",
        "invocation_id": str(number),
        "reproducible": True,
    }
