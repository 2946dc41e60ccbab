"""Each step of a submission that reaches the disk fails, before and after it took effect.

One table: the step, what its caller is told, and whether the record is in the log then. After any
of them nothing acknowledged is lost, the log checks clean, and the same submission, sent again
through ordinary code, has its one place in the log.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from unittest import mock

import pytest
from sqlalchemy import event

from registry.core.digests import record_id
from registry.core.provenance import generation_payload, output_subjects
from registry.errors import GenopsError, NotFoundError
from registry.factory import create_registry, open_home
from registry.log.submission import LogReceipt, Submission
from registry.signing.sealing import KEY_BYTES, encrypt
from registry.workflows.services import Services
from registry.workflows.submit import sign
from tests.faults.soundness import (
    WEIGHTS,
    Acknowledged,
    assert_sound,
    generation,
    new_invocation,
    record,
)

Do = Callable[[], Any]
Break = Callable[[Services, "Fault"], AbstractContextManager[object]]


class Fault:
    """One failure: of the first call that matches, before it or (`persisted`) after it."""

    def __init__(self, error: Callable[[], Exception], *, persisted: bool) -> None:
        self._error = error
        self._persisted = persisted
        self.struck = False

    def strike(self, do: Do) -> Any:
        if self.struck:
            return do()
        self.struck = True
        if self._persisted:
            do()
        raise self._error()


@dataclass(frozen=True)
class Step:
    """A step, how it is broken, and the code that its caller is told.

    `failed` and `persisted` say whether the record is in the log after it failed without effect,
    and after it failed although it took effect.
    """

    name: str
    broken: Break
    code: str
    failed: bool = False
    persisted: bool = False


def io_error() -> OSError:
    return OSError(5, "Input/output error")


def full_database() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def on_path(module: Any, name: str, matches: Callable[[Path], bool]) -> Break:
    """Break a call that takes a path, or a descriptor, as its first argument."""

    def broken(_: Services, fault: Fault) -> AbstractContextManager[object]:
        call = getattr(module, name)

        def wrapped(first: Any, *more: Any, **named: Any) -> Any:
            path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first
            do = lambda: call(first, *more, **named)  # noqa: E731
            return fault.strike(do) if matches(Path(path)) else do()

        return mock.patch.object(module, name, wrapped)

    return broken


def in_scratch(path: Path) -> bool:
    return path.parent.name == "genops"


def blob_folder(path: Path) -> bool:
    return path.parent.name == "md5"


def new_checkpoint(path: Path) -> bool:
    return path.name == "checkpoint.new"


class _Scratch:
    """A file whose bytes cannot be written, or that says so after they were."""

    def __init__(self, file: Any, fault: Fault) -> None:
        self._file, self._fault = file, fault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._fault.strike(lambda: self._file.write(data))

    def flush(self) -> None:
        self._file.flush()


def scratch_write(_: Services, fault: Fault) -> AbstractContextManager[object]:
    fdopen = os.fdopen
    return mock.patch("os.fdopen", lambda *given: _Scratch(fdopen(*given), fault))


class _Connection:
    """The keyring's connection, one kind of statement of which fails."""

    def __init__(self, conn: sqlite3.Connection, head: str, fault: Fault) -> None:
        self._conn, self._head, self._fault = conn, head, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    def execute(self, statement: str, *given: Any) -> Any:
        do = lambda: self._conn.execute(statement, *given)  # noqa: E731
        return self._fault.strike(do) if statement.startswith(self._head) else do()


def keyring(head: str) -> Break:
    def broken(services: Services, fault: Fault) -> AbstractContextManager[object]:
        with services.keyring._using() as (conn, *rest):
            opened = (_Connection(conn, head, fault), *rest)
        return mock.patch.object(services.keyring, "_opened", opened)

    return broken


def statement(head: str) -> Break:
    """Break the first statement to the database that begins so."""

    @contextmanager
    def broken(services: Services, fault: Fault) -> Iterator[None]:
        def execute(cursor: Any, text: str, given: Any, _: Any) -> bool:
            if not text.startswith(head):
                return False
            fault.strike(lambda: cursor.execute(text, given or ()))
            return True

        engine = services.engine
        event.listen(engine, "do_execute", execute)
        event.listen(engine, "do_execute_no_params", lambda c, s, x: execute(c, s, (), x))
        yield

    return broken


def commit(services: Services, fault: Fault) -> AbstractContextManager[object]:
    """Break the commit that follows the new head; that of a mere look goes through."""
    dialect, wrote = services.engine.dialect, threading.Event()
    done = dialect.do_commit

    def note(_: object, __: object, text: str, *___: object) -> None:
        if text.startswith("UPDATE log_head"):
            wrote.set()

    def broken(conn: Any) -> None:
        fault.strike(lambda: done(conn)) if wrote.is_set() else done(conn)

    event.listen(services.engine, "before_cursor_execute", note)
    return mock.patch.object(dialect, "do_commit", broken)


TABLES = (
    *("log_entries", "envelopes", "invocations", "sealed", "blobs", "fingerprints", "outbox"),
    *("records", "subjects", "nodes", "outputs", "edges", "closure"),
)
WRITES = {"UPDATE log_head": "UPDATE log_head", "BEGIN": "BEGIN IMMEDIATE"} | {
    f"INSERT {table}": f'INSERT INTO "{table}"' for table in TABLES
}
VAULT = (
    Step("vault: open", on_path(os, "open", in_scratch), "vault.unwritable"),
    Step("vault: write", scratch_write, "vault.unwritable"),
    Step("vault: sync the file", on_path(os, "fsync", in_scratch), "vault.unwritable"),
    Step("vault: name the file", on_path(os, "link", in_scratch), "vault.unwritable"),
    Step("vault: sync the folder", on_path(os, "fsync", blob_folder), "vault.unwritable"),
    Step("vault: unlink", on_path(os, "unlink", in_scratch), "vault.unwritable"),
)
KEYRING = tuple(
    Step(f"keyring: {head}", keyring(head), "keyring.unavailable")
    for head in ("BEGIN", "INSERT", "COMMIT")
)
DATABASE = (
    *(Step(f"database: {name}", statement(head), "database.full") for name, head in WRITES.items()),
    Step("database: COMMIT", commit, "database.full", persisted=True),
)
UNWRITTEN = "log.checkpoint-unwritten"
CHECKPOINT = (
    Step("checkpoint: write", on_path(Path, "write_bytes", new_checkpoint), UNWRITTEN, True, True),
    Step("checkpoint: rename", on_path(os, "replace", new_checkpoint), UNWRITTEN, True, True),
)
SQL = {*KEYRING, *DATABASE}
TABLE = (*VAULT, *KEYRING, *DATABASE, *CHECKPOINT)


class Attempt:
    """One generation, sealed and signed once, and sent as often as its caller likes."""

    def __init__(self, services: Services, tag: str) -> None:
        self._services = services
        self._made = generation(tag, new_invocation())
        self._tag = tag
        (output,) = self._made.outputs
        invocation = self._made.invocation_id
        assert invocation is not None
        self._invocation = invocation
        sealed = generation_payload(
            self._made,
            output_subjects(self._made),
            project="brand",
            actor=services.head().actor,
            invocation_id=invocation,
            salts=services.salt,
        )
        key = services.entropy(KEY_BYTES)
        packed = json.dumps([d.encode() for d in sealed.disclosures]).encode()
        self._submission = Submission(
            sign(services.signer("generator"), sealed.payload),
            encrypt(key, packed, aad=sealed.payload_sha256),
            key,
            fingerprints=output.fingerprints or (),
        )
        self.payload_sha256 = bytes.fromhex(sealed.payload_sha256)

    def send(self) -> LogReceipt:
        """Store the bytes and submit, as `record()` does."""
        data = [*(output.data for output in self._made.outputs), WEIGHTS]
        blobs = tuple(map(self._services.vault.put, data))
        return self._services.sequencer.submit(replace(self._submission, blobs=blobs))

    def told(self, receipt: LogReceipt) -> Acknowledged:
        record = record_id(receipt.leaf_hash)
        return Acknowledged(self._tag, self._invocation, record, receipt.index)

    def is_logged(self) -> bool:
        try:
            self._services.reader.index_of(self.payload_sha256)
        except NotFoundError:
            return False
        return True


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Acknowledged]:
    """A home with one acknowledged record."""
    home = tmp_path_factory.mktemp("template") / "home"
    with create_registry(home, name="test", project="brand") as registry:
        return home, record(registry, "acknowledged")


@pytest.mark.parametrize("persisted", [False, True], ids=["fails", "fails although it persisted"])
@pytest.mark.parametrize("step", TABLE, ids=lambda step: step.name)
def test_a_step_that_fails(
    template: tuple[Path, Acknowledged], memory: Path, step: Step, persisted: bool
) -> None:
    home = memory / "home"
    shutil.copytree(template[0], home)
    fault = Fault(full_database if step in SQL else io_error, persisted=persisted)
    with open_home(home) as registry:
        services = registry._services
        services.keyring.is_destroyed("")  # opens it
        attempt = Attempt(services, "attempted")
        with step.broken(services, fault), pytest.raises(GenopsError) as told:
            attempt.send()
        assert (fault.struck, told.value.code) == (True, step.code)
        assert told.value.hint
        logged = step.persisted if persisted else step.failed
        assert attempt.is_logged() == logged
        receipt = attempt.send()
        assert (receipt.index, receipt.new) == (2, not logged)
        after = record(registry, "after")
    assert_sound(home, [template[1], attempt.told(receipt), after])


def test_the_table_names_every_write_of_a_record(
    template: tuple[Path, Acknowledged], memory: Path
) -> None:
    home = memory / "home"
    shutil.copytree(template[0], home)
    with open_home(home) as registry:
        written: list[str] = []
        event.listen(
            registry._services.engine,
            "before_cursor_execute",
            lambda _, __, text, *___: written.append(text),
        )
        record(registry, "watched")
    writes = [text for text in written if text.startswith(("INSERT", "UPDATE", "DELETE"))]
    heads = tuple(WRITES.values())
    assert [text for text in writes if not text.startswith(heads)] == []
    assert [head for head in heads if not any(text.startswith(head) for text in written)] == []
