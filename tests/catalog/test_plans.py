"""Look-ups by digest and by leaf hash read an index, and never every row of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from registry.catalog import queries
from registry.catalog.queries import ERASURES
from registry.core.digests import parse_ref
from registry.core.generation import Generation
from registry.sdk import Registry
from registry.store.catalog_tables import OutputRow
from registry.store.leaves import spoken_of
from registry.store.transaction import read
from registry.store.types import table_of

GROWING = ("records", "outputs", "nodes", "subjects", "log_entries", "blobs", "fingerprints")
OUTPUTS = table_of(OutputRow)


def plans(conn: Connection, look_up: Callable[[], Any]) -> list[str]:
    """Return what SQLite says that it does for each query of a look-up."""
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        asked.append((sql, parameters))

    event.listen(conn, "before_cursor_execute", note)
    look_up()
    event.remove(conn, "before_cursor_execute", note)
    assert asked
    rows = [
        row
        for sql, given in asked
        for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given)
    ]
    return [str(row[3]) for row in rows]


def scanned(steps: list[str]) -> list[str]:
    words = [step.split() for step in steps]
    return [" ".join(step) for step in words if step[0] == "SCAN" and step[1] in GROWING]


LOOK_UPS: dict[str, Callable[[Connection, str, bytes], Any]] = {
    "a record": lambda conn, record, _: queries.find_output(conn, parse_ref(record)),
    "a prefix": lambda conn, record, _: queries.find_output(conn, parse_ref(record[4:16])),
    "an asset": lambda conn, _, digest: queries.find_output(conn, parse_ref(digest.hex())),
    "outputs": lambda conn, _, digest: queries.outputs_of(conn, digest),
    "records about": lambda conn, _, digest: queries.records_about(conn, digest),
    "pixels": lambda conn, _, digest: conn.execute(
        OUTPUTS.select().where(OUTPUTS.c.pixels.in_([digest]))
    ),
    "erased": lambda conn, _, __: conn.execute(spoken_of(ERASURES)),
}


@pytest.mark.parametrize("name", LOOK_UPS)
def test_a_look_up_reads_an_index(
    registry: Registry, generation: Callable[..., Generation], name: str
) -> None:
    receipt = registry.record(generation(1))
    digest = bytes.fromhex(receipt.assets[0].partition(":")[2])
    with read(registry.log.engine) as conn:
        steps = plans(conn, lambda: LOOK_UPS[name](conn, receipt.record, digest))
    assert any(step.startswith("SEARCH") for step in steps)
    assert scanned(steps) == []
