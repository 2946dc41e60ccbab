"""The database opens at one version, guarded, and tells clearly when it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlmodel import SQLModel

from registry.errors import GenopsError, HomeError, InputError, IntegrityError, UnavailableError
from registry.settings import Home, Limits, Settings
from registry.store.engine import is_read_only, open_engine
from registry.store.migrate import HEAD_REVISION
from registry.store.transaction import read, write
from tests.folders import let_others_in

INSERT_ENVELOPE = text("INSERT INTO envelopes (sha256, data) VALUES (:sha256, :data)")


def settings_at(root: Path, wait_s: float = 30.0) -> Settings:
    return Settings(Home(root), "studio", "0" * 8, limits=Limits(lock_wait_s=wait_s))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_at(tmp_path)


@pytest.fixture
def engine(settings: Settings) -> Engine:
    return open_engine(settings, create=True)


def code_of(error: pytest.ExceptionInfo[GenopsError]) -> str:
    return error.value.code


def test_the_models_and_the_migrations_agree(engine: Engine) -> None:
    with read(engine) as conn:
        assert compare_metadata(MigrationContext.configure(conn), SQLModel.metadata) == []


def test_creating_twice_keeps_what_is_there(settings: Settings, engine: Engine) -> None:
    with write(engine) as conn:
        conn.execute(INSERT_ENVELOPE, {"sha256": b"a", "data": b"b"})
    with read(open_engine(settings, create=True)) as conn:
        assert conn.execute(text("SELECT data FROM envelopes")).scalar_one() == b"b"


def test_a_missing_database_is_not_made_by_opening(settings: Settings) -> None:
    with pytest.raises(HomeError) as error:
        open_engine(settings)
    assert code_of(error) == "home.missing"
    assert not settings.home.database.exists()


@pytest.mark.parametrize(("revision", "code"), [("0000", "home.outdated"), ("9999", "home.newer")])
def test_another_schema_version_is_refused(
    settings: Settings, engine: Engine, revision: str, code: str
) -> None:
    with write(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    with pytest.raises(HomeError) as error:
        open_engine(settings)
    assert code_of(error) == code


def test_a_newer_database_is_left_alone_by_create(settings: Settings, engine: Engine) -> None:
    with write(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(HomeError) as error:
        open_engine(settings, create=True)
    assert code_of(error) == "home.newer"


def test_a_foreign_sqlite_file_is_no_registry(settings: Settings) -> None:
    sqlite3.connect(settings.home.database).executescript("CREATE TABLE t (a); ")
    with pytest.raises(HomeError) as error:
        open_engine(settings)
    assert code_of(error) == "home.missing"


def test_a_file_that_is_no_database_is_damaged(settings: Settings) -> None:
    settings.home.database.write_bytes(b"not a database, but long enough to be read as one" * 99)
    with pytest.raises(IntegrityError) as error:
        open_engine(settings)
    assert code_of(error) == "database.corrupt"


def test_a_reader_sees_one_snapshot_and_does_not_wait_for_a_writer(engine: Engine) -> None:
    count = text("SELECT count(*) FROM envelopes")
    with read(engine) as reader:
        assert reader.execute(count).scalar_one() == 0
        with write(engine) as writer:
            writer.execute(INSERT_ENVELOPE, {"sha256": b"a", "data": b"b"})
        assert reader.execute(count).scalar_one() == 0
    with read(engine) as reader:
        assert reader.execute(count).scalar_one() == 1


def test_reading_then_writing_never_loses_an_update(engine: Engine) -> None:
    def add_one() -> None:
        for _ in range(25):
            with write(engine) as conn:
                value = conn.execute(text("SELECT value FROM mirror_state")).scalar_one()
                conn.execute(text("UPDATE mirror_state SET value = :v"), {"v": int(value) + 1})

    with write(engine) as conn:
        conn.execute(text("INSERT INTO mirror_state VALUES ('n', '0')"))
    threads = [threading.Thread(target=add_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read(engine) as conn:
        assert conn.execute(text("SELECT value FROM mirror_state")).scalar_one() == "100"


def test_an_error_in_the_block_leaves_nothing_behind(engine: Engine) -> None:
    def fail() -> None:
        with write(engine) as conn:
            conn.execute(INSERT_ENVELOPE, {"sha256": b"a", "data": b"b"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with read(engine) as conn:
        assert conn.execute(text("SELECT count(*) FROM envelopes")).scalar_one() == 0


def test_a_database_held_by_another_is_unavailable_not_broken(tmp_path: Path) -> None:
    engine = open_engine(settings_at(tmp_path, wait_s=0.05), create=True)
    holder = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError) as error, write(engine):
        pass
    assert code_of(error) == "database.locked"
    holder.execute("ROLLBACK")
    with write(engine) as conn:
        conn.execute(INSERT_ENVELOPE, {"sha256": b"a", "data": b"b"})


def test_a_full_database_is_unavailable_and_the_next_write_works(engine: Engine) -> None:
    def overfill() -> None:
        with write(engine) as conn:
            pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
            conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            try:
                conn.execute(INSERT_ENVELOPE, {"sha256": b"a", "data": bytes(1_000_000)})
            finally:
                conn.exec_driver_sql("PRAGMA max_page_count = 1073741823")

    with pytest.raises(UnavailableError) as error:
        overfill()
    assert code_of(error) == "database.full"
    with write(engine) as conn:
        conn.execute(INSERT_ENVELOPE, {"sha256": b"a", "data": b"b"})


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from sqlalchemy import text
from registry.errors import HomeError
from registry.settings import Home, Settings
from registry.store.engine import is_read_only, open_engine
from registry.store.transaction import read, write
os.setgid(65534), os.setuid(65534)
settings = Settings(Home(Path(sys.argv[1])), "studio", "0")
engine = open_engine(settings)
with read(engine) as conn:
    print(is_read_only(engine), conn.execute(text("SELECT count(*) FROM envelopes")).scalar_one())
for attempt in (lambda: write(engine).__enter__(), lambda: open_engine(settings, create=True)):
    try:
        attempt()
    except HomeError as error:
        print(error.code)
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)
@pytest.mark.parametrize("live", [True, False], ids=["beside a writer", "after a clean close"])
def test_a_home_of_another_user_reads_and_does_not_write(
    settings: Settings, engine: Engine, live: bool
) -> None:
    with write(engine) as conn:
        conn.execute(INSERT_ENVELOPE, {"sha256": b"a", "data": b"b"})
    if not live:
        engine.dispose()
    let_others_in(settings.home.root)
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, str(settings.home.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "1", "home.read-only", "home.read-only"]


def test_an_ordinary_home_is_not_read_only(engine: Engine) -> None:
    assert not is_read_only(engine)


@pytest.mark.parametrize("url", ["mysql://host/db", "nonsense", "sqlite:///x.db"])
def test_only_postgres_is_reached_by_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError) as error:
        open_engine(Settings(Home(tmp_path), "studio", "0", database_url=url))
    assert code_of(error) == "database.url"


def test_an_unreachable_server_is_unavailable_and_its_password_is_not_shown(
    tmp_path: Path,
) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/none"
    with pytest.raises(UnavailableError) as error:
        open_engine(Settings(Home(tmp_path), "studio", "0", database_url=url))
    assert code_of(error) == "database.unreachable"
    assert "hunter2" not in str(error.value)


def test_opening_an_embedded_home_imports_no_migration_tool_and_no_driver(
    settings: Settings, engine: Engine
) -> None:
    engine.dispose()
    program = (
        "import sys; from pathlib import Path; from registry.settings import Home, Settings;"
        "from registry.store.engine import open_engine;"
        f"open_engine(Settings(Home(Path({str(settings.home.root)!r})), 's', '0'));"
        "print([m for m in ('alembic', 'psycopg', 'torch', 'mlflow', 'dvc') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_revision_that_is_checked_is_the_newest_there_is() -> None:
    folder = Path(__file__).parents[2] / "registry/store/migrations/versions"
    newest = max(file.name[1:5] for file in folder.glob("r*.py"))
    assert newest == HEAD_REVISION
