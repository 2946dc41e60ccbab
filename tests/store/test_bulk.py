"""Bulk writes store what an ordinary insert would, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError as ConstraintError

from registry.settings import Home, Settings
from registry.store.bulk import insert_missing, insert_rows
from registry.store.catalog_tables import ModelRow
from registry.store.engine import open_engine
from registry.store.log_tables import TrustRecordRow
from registry.store.sidecar_tables import BlobRow
from registry.store.transaction import read, write
from registry.store.types import table_of

pytestmark = pytest.mark.both_databases

ROWS = [
    {"record_idx": 2**40, "sha256": b"\x00\xff", "name": "a 'b' \"c\" ?%s", "kind": "lora",
     "licence": "", "approved": True},
    {"record_idx": 2, "sha256": b"", "name": "\u00e9\u4e2d", "kind": "model", "licence": "MIT",
     "approved": False},
]  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path, database: str | None) -> Iterator[Engine]:
    settings = Settings(Home(tmp_path), "studio", "0", database_url=database)
    opened = open_engine(settings, create=True)
    yield opened
    opened.dispose()


def test_values_come_back_as_they_went_in(engine: Engine) -> None:
    models, trust, blobs = (table_of(model) for model in (ModelRow, TrustRecordRow, BlobRow))
    with write(engine) as conn:
        insert_rows(conn, models, ROWS)
        insert_rows(conn, models, [])
        insert_rows(conn, trust, [{"idx": 7}, {"idx": 9}])
        insert_missing(conn, blobs, [{"sha256": b"a", "md5": b"m", "size": 1}])
        insert_missing(conn, blobs, [{"sha256": b"a", "md5": b"n", "size": 2}])
        insert_missing(conn, blobs, [])
    with read(engine) as conn:
        found = [dict(row) for row in conn.execute(select(models)).mappings()]
        assert sorted(found, key=lambda row: -row["record_idx"]) == ROWS
        assert list(conn.scalars(select(trust.c.idx))) == [7, 9]
        assert conn.execute(select(blobs)).all() == [(b"a", b"m", 1)]


def test_a_clash_stores_none_of_the_rows(engine: Engine) -> None:
    models = table_of(ModelRow)
    with pytest.raises(ConstraintError), write(engine) as conn:
        insert_rows(conn, models, [*ROWS, ROWS[0]])
    with read(engine) as conn:
        assert conn.execute(select(models)).all() == []
