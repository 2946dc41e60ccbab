"""Whole homes of release 0.1.0 open, migrate, verify and grow in every later release, for ever.

`homes/` is never made again: a failure here means that somebody's registry can no longer be used.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry.core.entries import LogEntry
from registry.core.evidence import Evidence, verify_evidence
from registry.core.generation import Generation
from registry.core.merkle import subtree_root, verify_consistency
from registry.errors import HomeError, KeyFileError
from registry.factory import open_home, upgrade_registry
from registry.sdk import Registry
from registry.store.transaction import read
from registry.workflows.maintain import projection_rows

HOMES = Path(__file__).parent / "homes"
PASSPHRASES = {"plain": None, "passphrase": "test-only"}
Make = Callable[..., Generation]
Unpack = Callable[[str], Path]


def expected_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HOMES / f"{name}.expected.json").read_text("ascii"))
    return found


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """Unpack a home as it was released, modes included."""

    def unpacked(name: str) -> Path:
        home = tmp_path / name
        with tarfile.open(HOMES / f"{name}.tar.xz") as archive:
            archive.extractall(home)
        return home

    return unpacked


@pytest.fixture(params=PASSPHRASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def old(name: str) -> dict[str, Any]:
    """What the release said of the home."""
    return expected_of(name)


@pytest.fixture
def home(unpack: Unpack, name: str) -> Path:
    """A home that was brought up to date."""
    root = unpack(name)
    upgrade_registry(root, backup=False)
    return root


@pytest.fixture
def registry(home: Path, name: str) -> Iterator[Registry]:
    with open_home(home, passphrase=PASSPHRASES[name]) as opened:
        yield opened


def contents(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def test_an_old_home_is_refused_with_advice_and_left_as_it_is(unpack: Unpack, name: str) -> None:
    home = unpack(name)
    before = contents(home)
    assert stat.S_IMODE((home / "keys" / "log.pem").stat().st_mode) == 0o600
    with pytest.raises(HomeError) as error:
        open_home(home)
    assert error.value.code == "home.outdated"
    assert "genops upgrade" in error.value.hint
    assert contents(home) == before


def test_bringing_it_up_to_date_keeps_every_row_and_every_other_file(
    unpack: Unpack, name: str
) -> None:
    home = unpack(name)
    before, rows = contents(home), table_rows(home / "registry.db")
    report = upgrade_registry(home)
    after, now = contents(home), table_rows(home / "registry.db")
    assert table_rows(Path(report.backup or "")) == rows
    assert before.pop("registry.db") != after.pop("registry.db")
    assert {file: after[file] for file in before} == before
    assert {table: now[table] for table in rows} == rows


def table_rows(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table but the schema's version."""
    with closing(sqlite3.connect(database)) as conn:
        names = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            table: sorted(conn.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for (table,) in names
            if table != "alembic_version"
        }


def test_ids_roots_and_checkpoint_are_those_of_then(
    registry: Registry, old: dict[str, Any]
) -> None:
    log = registry.log
    entries = [LogEntry.parse(log.entry(index)) for index in range(log.head().size)]
    leaves = [entry.leaf_hash() for entry in entries]
    assert [entry.record_id for entry in entries] == old["records"]
    for size, root in ((int(size), bytes.fromhex(root)) for size, root in old["roots"].items()):
        assert subtree_root(leaves[:size]) == root
        path = log.consistency(size)
        verify_consistency(size, len(leaves), path, root, log.verified_head().root)
    assert log.checkpoint().decode() == old["checkpoint"]
    assert registry.settings.origin == old["origin"]
    assert log.trust().log_vkey == old["vkey"]


def projected(registry: Registry) -> Any:
    with read(registry._services.engine) as conn:
        return projection_rows(conn)


def test_the_log_the_catalog_and_every_asset_hold(registry: Registry, old: dict[str, Any]) -> None:
    assert registry.check_log().problems == ()
    assert registry.check_catalog() == ()
    before = projected(registry)
    assert registry.rebuild_catalog() == len(old["records"])
    assert projected(registry) == before
    assert registry.check_catalog() == ()
    listed = registry.list(limit=1000)
    assert len(listed) == sum(old["assets"].values())
    for asset in listed:
        assert registry.verify(asset.record).ok


def test_texts_are_readable_and_what_was_erased_stays_erased(
    registry: Registry, old: dict[str, Any]
) -> None:
    first, second = (registry.get(asset) for asset in old["generated"]["assets"])
    assert (first.text, first.parameters["prompt"]) == ("readable", old["prompt"])
    assert first.seed == old["generated"]["seed"]
    assert second.record == first.record == old["generated"]["record"]
    assert second.text == "readable"
    assert old["second_prompt"] in json.dumps(second.to_dict())
    assert registry.get(old["ingested"]["record"]).text == "readable"
    gone = registry.get(old["erased"]["record"])
    assert gone.text == "erased"
    assert set(gone.parameters["prompt"]) == {"sealed"}


def test_lineage_taint_and_verdicts_are_those_of_then(
    registry: Registry, old: dict[str, Any]
) -> None:
    assert sorted({a.id for a in registry.impact(old["lora"]).assets}) == old["impact_of_lora"]
    passport = registry.get(old["generated"]["assets"][0])
    assert passport.taints == ()
    assert len(registry.get(old["ingested"]["asset"]).taints) == 1
    told = {v["record"]: v["verdict"] for v in old["verdicts"]}
    assert {"decision", "reproduction"} <= {event.predicate for event in passport.events}
    assert sorted(told.values()) == ["fail", "pass"]
    again = registry.gate([v["asset"] for v in old["verdicts"]], record=False)
    assert [decision.verdict for decision in again.decisions] == ["pass", "pass"]


def test_an_old_home_goes_on(registry: Registry, old: dict[str, Any], generation: Make) -> None:
    size = len(old["records"])
    made = registry.record(generation(40, prompt="a new one"))
    assert made.index == size
    registry.taint(old["lora"], reason="again", severity="low")
    registry.erase(old["generated"]["record"], reason="asked for by the person")
    assert registry.get(old["generated"]["record"]).text == "erased"
    assert [report.failed for report in registry.sync_mirrors(["vault"])] == [0]
    assert registry.check_log().problems == ()
    assert registry.check_catalog() == ()
    report = verify_evidence(registry.evidence(made.record), log_vkey=old["vkey"])
    assert report.ok, report.checks


def test_a_passphrase_still_protects_the_keys(unpack: Unpack, generation: Make) -> None:
    home = unpack("passphrase")
    upgrade_registry(home)
    with open_home(home, passphrase="a wrong one") as opened:
        with pytest.raises(KeyFileError) as error:
            opened.record(generation(40))
        assert error.value.code == "key.passphrase"
        assert opened.check_log().ok


@pytest.mark.parametrize("texts", ["", "-sealed"])
def test_evidence_of_then_verifies_offline_to_the_byte(
    name: str, old: dict[str, Any], texts: str
) -> None:
    data = (HOMES / f"{name}.evidence{texts}.json").read_bytes()
    report = verify_evidence(data, log_vkey=old["vkey"])
    assert report.ok, report.checks
    assert report.record_id == old["generated"]["record"]
    assert bool(report.withheld) == bool(texts)
    assert report.document is not None
    inputs = report.document["predicate"]["buildDefinition"]["externalParameters"]
    assert (inputs["prompt"] == old["prompt"]) == (not texts)
    assert Evidence.parse(data).to_bytes() == data


def test_a_copy_of_an_old_home_is_the_same_registry(
    home: Path, old: dict[str, Any], tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(home, moved)
    with open_home(moved) as registry:
        assert registry.get(old["generated"]["record"]).parameters["prompt"] == old["prompt"]
