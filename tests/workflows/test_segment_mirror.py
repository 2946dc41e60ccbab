"""The vault's segments are compared with the log, sent again, and never stopped by one record."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from registry.cli.main import run
from registry.errors import InputError
from registry.sdk import Registry
from registry.vault.segments import read_segment
from registry.vault.shelf import pointers
from registry.vault.store import Vault
from tests.conftest import make_generation


@pytest.fixture
def filled(registry: Registry) -> Registry:
    for seed in range(4):
        registry.record(make_generation(seed))
    return registry


def vault_of(registry: Registry) -> Vault:
    return Vault(registry.settings.home.vault)


def names(registry: Registry) -> list[str]:
    return [pointer.name for pointer in pointers(vault_of(registry))]


def damage(vault: Vault, path: str) -> None:
    for pointer in pointers(vault):
        blob = read_segment(vault, pointer.path).members.get(path)
        if blob is not None:
            file = vault.path(blob)
            file.chmod(0o644)
            file.write_bytes(file.read_bytes()[:-1] + b"?")
            return
    raise AssertionError(path)


def output_of(registry: Registry, index: int) -> Path:
    """Return where the vault keeps what a record made."""
    return next(Path(str(a.path)) for a in registry.list() if a.index == index)


def test_a_record_whose_output_is_gone_is_named_and_the_others_go_on(filled: Registry) -> None:
    lost = output_of(filled, 2)
    content = lost.read_bytes()
    lost.unlink()
    (report,) = filled.sync_mirrors(["vault"])
    assert (report.sent, report.failed, report.pending) == (4, 1, 1)
    assert "record 2" in report.error
    assert names(filled) == ["0-1", "3-4"]
    lost.write_bytes(content)
    done = filled.recovery.retry_mirror("vault")
    assert (done.again, done.sent, done.failed, done.pending) == (1, 1, 0, 0)
    assert names(filled) == ["0-1", "2-2", "3-4"]
    assert filled.check_mirror("vault") == ()


def test_segments_that_are_whole_give_no_difference(filled: Registry) -> None:
    filled.sync_mirrors(["vault"])
    filled.record(make_generation(9))  # it waits, and is left out
    assert filled.check_mirror("vault") == ()
    filled.sync_mirrors(["vault"])
    assert filled.check_mirror("vault") == ()
    assert names(filled) == ["0-4", "5-5"]


@pytest.mark.parametrize(
    "path", ["entries/000000000001.json", "sealed/000000000003.bin", "outputs/000000000002-0.png"]
)
def test_a_file_of_a_segment_that_was_altered_is_named(filled: Registry, path: str) -> None:
    filled.sync_mirrors(["vault"])
    damage(vault_of(filled), path)
    found = filled.check_mirror("vault")
    assert len(found) == 1
    assert path in found[0]


def test_missing_segments_are_named_and_written_again(
    filled: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    filled.sync_mirrors(["vault"])
    filled.record(make_generation(9))
    filled.sync_mirrors(["vault"])
    for pointer in pointers(vault_of(filled))[:1]:
        pointer.path.unlink()
    assert filled.check_mirror("vault") == ("records 0-4 are in no segment",)
    home = str(filled.settings.home.root)
    assert run(["mirror", "check", "--target", "vault", "--home", home, "--json"]) == 1
    assert not json.loads(capsys.readouterr().out)["ok"]
    assert run(["mirror", "retry", "--target", "vault", "--home", home, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["again"], told["sent"], told["failed"], told["pending"]) == (5, 5, 0, 0)
    assert filled.check_mirror("vault") == ()


def test_a_segment_of_another_record_is_named(filled: Registry, home: Path) -> None:
    filled.sync_mirrors(["vault"])
    with closing(sqlite3.connect(home / "registry.db")) as conn, conn:
        for (name,) in conn.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'log_entries'"
        ).fetchall():
            conn.execute(f"DROP TRIGGER {name}")
        conn.execute("UPDATE log_entries SET envelope_sha256 = zeroblob(32) WHERE idx = 2")
    assert "record 2: the vault holds another record" in filled.check_mirror("vault")


def test_an_unknown_mirror_is_refused(filled: Registry) -> None:
    for ask in (filled.check_mirror, filled.recovery.retry_mirror):
        with pytest.raises(InputError):
            ask("tape")
