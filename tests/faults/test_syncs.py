"""Before `record()` returns, the kernel was asked to make its bytes, names and rows durable.

A killed process loses nothing that it wrote, so killing proves nothing about power: this does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.scenario import WITHOUT
from tests.faults.traces import Life
from tests.faults.tracing import Call

pytestmark = pytest.mark.usefixtures("traceable")

CACHE = "home/vault/.dvc/cache/files/md5"
KEYRING = "home/keyring.db-wal"
DATABASE = "home/registry.db-wal"


def places(calls: list[Call], kind: str, path: str) -> list[int]:
    return [at for at, call in enumerate(calls) if (call.kind, call.path) == (kind, path)]


def synced_after(calls: list[Call], path: str, start: int) -> int | None:
    """Return where a file or folder is next synced, None when it is not."""
    return next((at for at in places(calls, "sync", path) if at > start), None)


def missing_syncs(calls: list[Call]) -> list[str]:
    """Return what `record()` did not make durable, or too late, before it returned."""
    missing = []
    keyring, database = (
        synced_after(calls, path, places(calls, "write", path)[-1]) for path in (KEYRING, DATABASE)
    )
    if keyring is None:
        missing.append("keyring")
    if database is None:
        missing.append("database")
    elif keyring is not None and keyring > places(calls, "write", DATABASE)[0]:
        missing.append("keyring before database")
    for at, call in enumerate(calls):
        if call.kind == "mkdir" and call.path.startswith(CACHE):
            missing += _unsynced("folder", calls, str(Path(call.path).parent), at, database)
        elif call.kind in {"link", "rename"} and call.to.startswith(CACHE):
            written = places(calls, "write", call.path)[-1]
            missing += _unsynced("blob", calls, call.path, written, at)
            missing += _unsynced("folder", calls, str(Path(call.to).parent), at, database)
    return missing


def _unsynced(what: str, calls: list[Call], path: str, after: int, before: int | None) -> list[str]:
    at = synced_after(calls, path, after)
    return [what] if at is None or (before is not None and at > before) else []


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """One record as it should be, one into a bare vault, one without each of the syncs."""
    careless = [f"careless:{what}" for what in WITHOUT]
    steps = ["create", "open", "record:first", "record:whole", "bare", "record:bare", *careless]
    return Life.traced(tmp_path_factory.mktemp("syncs"), *steps)


@pytest.mark.parametrize("step", ["first", "whole", "bare"])
def test_all_of_a_record_is_durable_when_its_receipt_is_given(life: Life, step: str) -> None:
    calls = life.step(f"record:{step}")
    linked = [call.to for call in calls if call.kind in {"link", "rename"} and CACHE in call.to]
    assert len(linked) == (2 if step == "first" else 1), "its bytes, and the first time its weights"
    assert missing_syncs(calls) == []


def test_a_blob_that_is_there_already_is_made_durable_too(life: Life) -> None:
    """Whoever put it there, DVC for one, may not have synced it."""
    stored = next(call.to for call in life.step("record:first") if CACHE in call.to)
    assert places(life.step("record:whole"), "sync", stored)


def test_a_folder_that_the_vault_must_make_is_made_durable_too(life: Life) -> None:
    made = [call.path for call in life.step("record:bare") if call.kind == "mkdir"]
    assert [str(Path(path).parent) for path in made] == [CACHE]


@pytest.mark.parametrize("what", WITHOUT)
def test_a_sync_that_is_left_out_is_seen(life: Life, what: str) -> None:
    assert set(missing_syncs(life.step(f"careless:{what}"))) == {what}
