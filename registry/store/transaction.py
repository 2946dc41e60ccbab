"""Transactions: one writer at a time, readers on a snapshot, database errors in our words.

Every access to the database goes through `read` or `write`; nothing else begins or commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from registry.errors import GenopsError, HomeError, IntegrityError, UnavailableError

READ = "genops_read"
"""Execution option of a connection that must not take the write lock."""
READ_ONLY = "genops_read_only"
"""Execution option of an engine whose home cannot be written."""

_PINNED: ContextVar[tuple[Engine, Connection] | None] = ContextVar("pinned", default=None)


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """Run the block as one durable transaction; committed on return, rolled back on any error.

    Serialised: on SQLite the write lock is taken at the start, so that read-then-write is safe.
    Raises HomeError (`home.read-only`), UnavailableError (`database.*`: locked, full,
    unreachable), IntegrityError (`log.append-only`, `database.corrupt`).
    """
    refuse_read_only(engine)
    with _in_our_words(), engine.begin() as conn:
        yield conn


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Run the block as `read` does; every `read` inside, in this thread, sees the same snapshot."""
    with read(engine) as conn:
        pinned = _PINNED.set((engine, conn))
        try:
            yield conn
        finally:
            _PINNED.reset(pinned)


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """Run the block on one consistent snapshot, beside any writer; nothing may be written."""
    pinned = _PINNED.get()
    if pinned is not None and pinned[0] is engine:
        yield pinned[1]
        return
    with _in_our_words(), engine.connect() as conn:
        if engine.dialect.name == "sqlite":
            conn.execution_options(**{READ: True})
        else:
            conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with conn.begin():
            yield conn


def refuse_read_only(engine: Engine) -> None:
    """Raise HomeError (`home.read-only`) when nothing can be written through this engine."""
    if engine.get_execution_options().get(READ_ONLY):
        raise _read_only(str(engine.url.database))


def translate(error: DBAPIError) -> GenopsError | None:
    """Return the error in our words, None when it is a programming error."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return _from_sqlite(int(code), str(error.orig))
    return _from_postgres(str(getattr(error.orig, "sqlstate", None) or ""), error)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        translated = translate(error)
        if translated is None:
            raise
        raise translated from error
    except UnicodeDecodeError as error:  # SQLite quotes a damaged schema in its message
        raise _damaged("its text is not UTF-8") from error
    except PoolTimeoutError as error:
        raise UnavailableError(
            f"no free database connection: {error}", code="database.busy", hint="try again"
        ) from error


_SQLITE_TRIGGER = 1811
_SQLITE_UNAVAILABLE = {
    5: ("database.locked", "another process holds the database", "try again when it is done"),
    6: ("database.locked", "another transaction holds a table", "try again when it is done"),
    10: ("database.io", "the disk failed", "check the disk and the kernel's log"),
    13: ("database.full", "the disk is full", "free some space, then submit again"),
    14: ("database.unopenable", "the database cannot be opened", "check the home's permissions"),
}
_SQLITE_NO_ROOM = 4874  # SQLITE_IOERR_SHMSIZE: none even for the file that readers share
_SQLITE_CORRUPT = (11, 26)
_SQLITE_READONLY = 8


def _from_sqlite(extended: int, message: str) -> GenopsError | None:
    code = sqlite3.SQLITE_FULL if extended == _SQLITE_NO_ROOM else extended & 0xFF
    if extended == _SQLITE_TRIGGER:
        return _append_only(message)
    if code == _SQLITE_READONLY:
        return _read_only(message)
    if code in _SQLITE_CORRUPT:
        return _damaged(message)
    if code in _SQLITE_UNAVAILABLE:
        name, what, hint = _SQLITE_UNAVAILABLE[code]
        return UnavailableError(f"{what}: {message}", code=name, hint=hint)
    return None


def _from_postgres(state: str, error: DBAPIError) -> GenopsError | None:
    message = str(error.orig).strip().partition("\n")[0]
    if state == "23001":
        return _append_only(message)
    if state == "25006":
        return _read_only(message)
    if state == "53100":
        name, _, hint = _SQLITE_UNAVAILABLE[13]
        return UnavailableError(f"the disk is full: {message}", code=name, hint=hint)
    if state in {"55P03", "40001", "40P01"}:
        return UnavailableError(f"{message}", code="database.locked", hint="try again")
    if state[:2] in {"08", "57"} or (not state and type(error.orig).__name__ == "OperationalError"):
        return UnavailableError(
            f"the database cannot be reached: {message}",
            code="database.unreachable",
            hint="check that the server runs and that database_url is right",
        )
    return None


def _damaged(why: str) -> IntegrityError:
    return IntegrityError(
        f"the database is damaged: {why}",
        code="database.corrupt",
        hint="restore the home from its backup or from the vault",
    )


def _append_only(message: str) -> IntegrityError:
    return IntegrityError(
        f"refused: {message}",
        code="log.append-only",
        hint="records are never changed; add a new one that says what was wrong",
    )


def _read_only(where: str) -> HomeError:
    return HomeError(
        f"the registry cannot be written: {where}",
        code="home.read-only",
        hint="use a home that you may write, or ask its owner",
    )
