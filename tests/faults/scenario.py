"""A life of a home, to be traced: `python -m tests.faults.scenario HOME MARKS STEP…`.

Before and after each step a line goes into the file of marks: what was begun, and what its caller
was told. A step `careless:WHAT` records without one of the syncs, so that a test can see that it
would notice.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import event

from registry.core.ingest_answers import FileOutcome
from registry.factory import create_registry, open_home
from registry.sdk import Registry
from registry.vault import store
from tests.faults.soundness import record

DATABASE_PAGES = 100
KEYRING_PAGES = 4


class Life:
    """One home, one step after the other."""

    def __init__(self, home: Path, marks: Path) -> None:
        self._home = home
        self._marks = os.open(marks, os.O_CREAT | os.O_WRONLY, 0o644)
        self._opened: Registry | None = None
        self._last = ""

    def step(self, name: str) -> None:
        verb, _, argument = name.partition(":")
        self._mark(begun=name)
        told = getattr(self, verb)(*([argument] if argument else []))
        self._mark(ended=name, told=told)

    def create(self) -> None:
        create_registry(self._home, name="test", project="brand").close()

    def open(self, _: str = "") -> None:
        self._opened = open_home(self._home)

    def tight(self, _: str = "") -> None:
        """From here on, empty both write-ahead logs every few records."""
        _on_checkout(self.registry, f"PRAGMA wal_autocheckpoint = {DATABASE_PAGES}").__enter__()
        _on_keyring(self.registry, f"PRAGMA wal_autocheckpoint = {KEYRING_PAGES}")

    def close(self, _: str = "") -> None:
        self.registry.close()

    def record(self, tag: str) -> dict[str, Any]:
        told = record(self.registry, tag)
        self._last = told.record
        return told.to_dict()

    def erase(self) -> str:
        self.registry.erase(self._last, reason="a person asked")
        return self._last

    def bare(self) -> None:
        """Take the vault's empty folders away, so that the next blob must make its own."""
        for folder in (self._home / "vault/.dvc/cache/files/md5").iterdir():
            if not any(folder.iterdir()):
                folder.rmdir()

    def careless(self, what: str) -> dict[str, Any]:
        """Record, and leave one sync out."""
        with WITHOUT[what](self.registry):
            return self.record(what)

    def ingest(self, what: str) -> None:
        """Take files in, and mark when each counts as registered; a sync may be left out.

        Of one file only then: what leaves it out is not made for threads.
        """
        library = self._home.parent.parent / what
        library.mkdir()
        for number in range(1 if what in WITHOUT else 3):
            (library / f"{number}.psd").write_bytes(b"8BPS" + f"{what} {number}".encode())

        def told(outcome: FileOutcome) -> None:
            self._mark(registered=hashlib.md5(Path(outcome.path).read_bytes()).hexdigest())

        with WITHOUT[what](self.registry) if what in WITHOUT else nullcontext():
            self.registry.ingest_many([library], told=told)

    @property
    def registry(self) -> Registry:
        assert self._opened is not None
        return self._opened

    def _mark(self, **line: Any) -> None:
        os.write(self._marks, json.dumps(line).encode() + b"\n")


@contextmanager
def _on_checkout(registry: Registry, statement: str) -> Iterator[None]:
    """Have every connection of the database's pool run a statement before it is used."""
    engine = registry._services.engine

    def run(conn: Any, *_: object) -> None:
        conn.execute(statement)

    event.listen(engine, "checkout", run)
    yield
    event.remove(engine, "checkout", run)
    engine.dispose()


def _on_keyring(registry: Registry, statement: str) -> None:
    with registry._services.keyring._using() as (conn, _):
        conn.execute(statement)


def _blob_sync(_: Registry) -> AbstractContextManager[object]:
    write = store.Vault._write

    def unsynced(self: store.Vault, *given: Any) -> Any:
        with mock.patch("os.fsync"):
            return write(self, *given)

    return mock.patch.object(store.Vault, "_write", unsynced)


def _folder_sync(_: Registry) -> AbstractContextManager[object]:
    return mock.patch.object(store, "sync_folder")


@contextmanager
def _keyring_sync(registry: Registry) -> Iterator[None]:
    _on_keyring(registry, "PRAGMA synchronous = OFF")
    yield
    _on_keyring(registry, "PRAGMA synchronous = FULL")


def _database_sync(registry: Registry) -> AbstractContextManager[object]:
    return _on_checkout(registry, "PRAGMA synchronous = OFF")


WITHOUT: dict[str, Callable[[Registry], AbstractContextManager[object]]] = {
    "blob": _blob_sync,
    "folder": _folder_sync,
    "keyring": _keyring_sync,
    "database": _database_sync,
}


if __name__ == "__main__":
    life = Life(Path(sys.argv[1]), Path(sys.argv[2]))
    for chosen in sys.argv[3:]:
        life.step(chosen)
