"""The embedded database: how a SQLite file is opened for writing, and how for reading only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event

from registry.store.transaction import READ, READ_ONLY

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA cache_size = -65536",  # KiB
    "PRAGMA wal_autocheckpoint = 4000",  # pages: fewer, larger checkpoints under load
)
_READ_PRAGMAS = ("PRAGMA query_only = ON",)


def sqlite_engine(path: Path, wait_s: float) -> Engine:
    """Return an engine on the file; it only reads when file or folder cannot be written.

    A writer waits at most `wait_s` seconds for another. Opens nothing before its first use.
    """
    read_only = not _writable(path)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=_reader(path, wait_s) if read_only else _writer(path, wait_s),
        # A reader of a file that nobody has open may not see later writes: it opens anew each time.
        poolclass=NullPool if read_only else QueuePool,
        hide_parameters=True,
        execution_options={READ_ONLY: read_only},
        **({} if read_only else {"pool_size": 8, "max_overflow": 56}),
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(conn: Connection) -> None:
    """Take the write lock at once: a deferred transaction that turns writer can fail half-way."""
    options = conn.get_execution_options()
    reads = options.get(READ) or options.get(READ_ONLY)
    conn.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _writable(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _writer(path: Path, wait_s: float) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        conn = sqlite3.connect(
            path,
            timeout=wait_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,  # bulk inserts have one for each power of two
        )
        return _prepared(conn, _PRAGMAS)

    return connect


def _reader(path: Path, wait_s: float) -> Callable[[], sqlite3.Connection]:
    """Open read-only; as immutable where a WAL database lacks its side files (sqlite.org/wal)."""

    def connect() -> sqlite3.Connection:
        try:
            return _open_uri(path, "mode=ro", wait_s)
        except sqlite3.OperationalError:
            return _open_uri(path, "mode=ro&immutable=1", wait_s)

    return connect


def _open_uri(path: Path, query: str, wait_s: float) -> sqlite3.Connection:
    conn = sqlite3.connect(
        f"file:{quote(str(path))}?{query}",
        uri=True,
        timeout=wait_s,
        isolation_level=None,
        check_same_thread=False,
    )
    return _prepared(conn, (*_READ_PRAGMAS, "SELECT count(*) FROM sqlite_master"))


def _prepared(conn: sqlite3.Connection, statements: tuple[str, ...]) -> sqlite3.Connection:
    try:
        for statement in statements:
            conn.execute(statement).fetchall()
    except sqlite3.Error:
        conn.close()
        raise
    return conn
