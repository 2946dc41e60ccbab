"""Before `record()` returns, the kernel was asked to make its bytes, names and rows durable.

A killed process loses nothing that it wrote, so killing proves nothing about power: this does.
"""

from __future__ import annotations

import json
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


def told_too_early(calls: list[Call]) -> list[set[str]]:
    """Return, for each file of a library, what was not durable when it counted as registered."""
    marks = [(at, json.loads(call.data)) for at, call in enumerate(calls) if call.kind == "mark"]
    return [_missing_at(calls, line["registered"], at) for at, line in marks]


def _missing_at(calls: list[Call], md5: str, told: int) -> set[str]:
    """Its bytes, their name, its key and its row are made durable in this order, before `told`."""
    stored = f"{CACHE}/{md5[:2]}/{md5[2:]}"
    linked = next(at for at, call in enumerate(calls) if call.to == stored)
    missing = set() if places(calls[:linked], "sync", calls[linked].path) else {"blob"}
    named = synced_after(calls[:told], str(Path(stored).parent), linked)
    missing |= {"folder"} if named is None else set()
    for what, path in (("keyring", KEYRING), ("database", DATABASE)):
        written = next(at for at in places(calls, "write", path) if at > (named or linked))
        missing |= {what} if synced_after(calls[:told], path, written) is None else set()
    return missing


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """One record as it should be, one into a bare vault, one without each of the syncs."""
    careless = [f"careless:{what}" for what in WITHOUT]
    steps = ["create", "open", "record:first", "record:whole", "bare", "record:bare", *careless]
    steps += [f"ingest:{what}" for what in ("library", *WITHOUT)]
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


def test_a_file_of_a_library_counts_as_registered_when_all_of_it_is_durable(life: Life) -> None:
    assert told_too_early(life.step("ingest:library")) == [set()] * 3


@pytest.mark.parametrize("what", WITHOUT)
def test_a_sync_that_a_library_leaves_out_is_seen(life: Life, what: str) -> None:
    assert told_too_early(life.step(f"ingest:{what}")) == [{what}]
