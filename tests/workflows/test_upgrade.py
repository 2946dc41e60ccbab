"""An older home is brought up to date in one step, with its database as it was kept beside it."""

from __future__ import annotations

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from registry.errors import GenopsError, HomeError, IntegrityError, RollbackError
from registry.factory import open_home, upgrade_registry
from registry.sdk import Registry
from registry.store.migrate import HEAD_REVISION

GOLDEN = Path(__file__).parents[1] / "golden" / "homes" / "plain.tar.xz"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A home of the first release."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path / "old")
    return tmp_path / "old"


def schema(database: Path) -> str:
    with closing(sqlite3.connect(database)) as conn:
        return str(conn.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def run(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as conn, conn:
        for statement in statements:
            conn.execute(statement)


def copies(home: Path) -> list[Path]:
    return sorted(home.glob("registry.schema-*.db"))


def test_the_copy_is_a_database_of_then_that_its_owner_alone_can_read(old: Path) -> None:
    seen: list[str] = []
    done = upgrade_registry(old, steps=lambda what, *_: seen.append(what))
    assert (done.before, done.after, done.guards_restored) == ("0001", HEAD_REVISION, False)
    (copy,) = copies(old)
    assert done.backup == str(copy)
    assert schema(copy) == "0001"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert schema(old / "registry.db") == HEAD_REVISION
    assert set(seen) == {"records", "records checked"}
    with open_home(old) as registry:
        assert registry.log.head().size == done.records
        assert registry.check_catalog() == ()


def test_a_second_upgrade_does_nothing(old: Path) -> None:
    upgrade_registry(old)
    before = (old / "registry.db").read_bytes()
    done = upgrade_registry(old)
    assert (done.before, done.backup, done.records) == (HEAD_REVISION, None, 0)
    assert (old / "registry.db").read_bytes() == before
    assert len(copies(old)) == 1


def test_without_a_copy_none_is_made(old: Path) -> None:
    assert upgrade_registry(old, backup=False).backup is None
    assert copies(old) == []


def test_an_upgrade_that_fails_half_way_changes_nothing(old: Path) -> None:
    database = old / "registry.db"
    run(
        database,
        "DROP TRIGGER envelopes_no_update",
        "UPDATE envelopes SET data = x'00' WHERE rowid = (SELECT max(rowid) FROM envelopes)",
    )
    with closing(sqlite3.connect(database)) as conn:
        before = list(conn.iterdump())
    with pytest.raises(IntegrityError) as caught:
        upgrade_registry(old)
    assert caught.value.code == "log.altered"
    with closing(sqlite3.connect(database)) as conn:
        assert list(conn.iterdump()) == before


def test_a_log_that_does_not_hold_is_told_with_the_copy_named(old: Path) -> None:
    run(
        old / "registry.db",
        "DROP TRIGGER log_entries_no_update",
        "UPDATE log_entries SET leaf_hash = zeroblob(32) WHERE idx = 1",
    )
    with pytest.raises(IntegrityError) as caught:
        upgrade_registry(old)
    assert caught.value.code == "upgrade.log"
    assert str(copies(old)[0]) in caught.value.hint


def test_a_database_that_was_rolled_back_is_not_upgraded(old: Path) -> None:
    run(
        old / "registry.db",
        "UPDATE log_head SET size = 1, frontier = (SELECT leaf_hash FROM log_entries WHERE idx=0)",
    )
    with pytest.raises(RollbackError):
        upgrade_registry(old)
    assert copies(old) == []
    assert schema(old / "registry.db") == "0001"


def test_a_database_of_a_newer_version_is_left_alone(old: Path) -> None:
    run(old / "registry.db", "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(HomeError) as caught:
        upgrade_registry(old)
    assert caught.value.code == "home.newer"


def test_guards_that_were_dropped_are_restored_and_that_is_said(registry: Registry) -> None:
    home = registry.settings.home
    registry.close()
    run(home.database, "DROP TRIGGER envelopes_no_delete")
    with pytest.raises(IntegrityError) as caught:
        open_home(home.root)
    assert caught.value.code == "log.unguarded"
    assert "genops upgrade" in caught.value.hint
    done = upgrade_registry(home.root)
    assert (done.guards_restored, done.backup) == (True, None)
    with open_home(home.root) as opened:
        assert opened.check_log().ok
    with pytest.raises(sqlite3.IntegrityError):
        run(home.database, "DELETE FROM envelopes")


def test_guards_are_not_restored_in_silence_over_a_log_that_was_changed(
    registry: Registry,
) -> None:
    home = registry.settings.home
    registry.close()
    run(home.database, "DROP TRIGGER envelopes_no_update", "UPDATE envelopes SET data = x'00'")
    with pytest.raises(GenopsError) as caught:
        upgrade_registry(home.root)
    assert caught.value.code == "upgrade.log"
