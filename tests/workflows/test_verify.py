"""Whatever is altered, and by whoever owns the files, the failing check is named."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from generators.demo.tamper import flipped_cell, flipped_file
from registry.core.generation import Generation
from registry.errors import RollbackError
from registry.factory import open_home
from registry.sdk import Registry

Make = Callable[..., Generation]


def failed(registry: Registry, ref: str) -> set[str]:
    return {check.name for check in registry.verify(ref).checks if not check.ok}


@pytest.fixture
def asset(registry: Registry, generation: Make) -> str:
    for seed in range(4):
        receipt = registry.record(generation(seed))
    return receipt.assets[0]


def test_a_flipped_blob_fails_the_blob_check_alone(registry: Registry, asset: str) -> None:
    with flipped_file(Path(registry.get(asset).path or "")):
        assert failed(registry, asset) == {"blob"}
    assert failed(registry, asset) == set()


def test_a_missing_blob_fails_the_blob_check_alone(registry: Registry, asset: str) -> None:
    Path(registry.get(asset).path or "").unlink()
    assert failed(registry, asset) == {"blob"}


@pytest.mark.parametrize(
    ("name", "table", "column", "where"),
    [
        (
            "envelope",
            "envelopes",
            "data",
            "sha256 = (SELECT envelope_sha256 FROM log_entries WHERE idx = 4)",
        ),
        ("entry", "log_entries", "entry", "idx = 4"),
        ("inclusion", "log_entries", "leaf_hash", "idx = 2"),
        ("checkpoint", "log_head", "checkpoint", "id = 1"),
    ],
)
def test_a_flipped_byte_in_the_database_is_named(
    registry: Registry, asset: str, name: str, table: str, column: str, where: str
) -> None:
    database = registry.settings.home.database
    with flipped_cell(database, table, column, where):
        assert name in failed(registry, asset)
    assert failed(registry, asset) == set()


def test_a_projection_that_points_at_another_subject_is_named(
    registry: Registry, generation: Make
) -> None:
    first = registry.record(generation(1))
    second = registry.record(generation(2))
    other = bytes.fromhex(second.assets[0].removeprefix("sha256:"))
    with closing(sqlite3.connect(registry.settings.home.database)) as conn, conn:
        update = "UPDATE outputs SET sha256 = ? WHERE record_idx = ?"
        conn.execute(update, (other, first.index))
    assert "subject" in failed(registry, first.record)


def test_yesterdays_database_is_refused(registry: Registry, generation: Make, home: Path) -> None:
    registry.record(generation(1))
    registry.close()
    kept = home.parent / "yesterday.db"
    shutil.copyfile(home / "registry.db", kept)
    with open_home(home) as later:
        later.record(generation(2))
    for suffix in ("-wal", "-shm"):
        (home / f"registry.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(kept, home / "registry.db")
    with pytest.raises(RollbackError), open_home(home) as restored:
        restored.get("sha256:" + "0" * 64)


def test_a_copied_home_still_works(registry: Registry, asset: str, tmp_path: Path) -> None:
    registry.close()
    copy = tmp_path / "elsewhere"
    shutil.copytree(registry.settings.home.root, copy)
    shutil.rmtree(registry.settings.home.root)
    with open_home(copy) as moved:
        passport = moved.get(asset)
        assert moved.verify(asset).ok
        assert passport.parameters["prompt"] == "a red mug on a blue table"
        assert Path(passport.path or "").is_relative_to(copy)
