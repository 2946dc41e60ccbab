"""Play the intruder: flip one byte on a copy of a home, as somebody who owns its files could."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def flipped_file(path: Path) -> Iterator[None]:
    """Flip one byte in the middle of a file, and back again afterwards."""
    _flip_file(path)
    try:
        yield
    finally:
        _flip_file(path)


@contextmanager
def flipped_cell(database: Path, table: str, column: str, where: str) -> Iterator[None]:
    """Flip one byte in the middle of a cell, past the guards, and back again afterwards."""
    _flip_cell(database, table, column, where)
    try:
        yield
    finally:
        _flip_cell(database, table, column, where)


def flip(data: bytes) -> bytes:
    """Return the bytes with the lowest bit of the middle one flipped."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _flip_file(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(flip(data))


def _flip_cell(database: Path, table: str, column: str, where: str) -> None:
    """Drop the triggers that forbid updates, update, and put them back, so that nothing shows."""
    with closing(sqlite3.connect(database)) as conn, conn:
        triggers = conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        guards = triggers.fetchall()
        for name, _ in guards:
            conn.execute(f"DROP TRIGGER {name}")
        select = f"SELECT {column} FROM {table} WHERE {where}"  # noqa: S608  # names are ours
        (data,) = conn.execute(select).fetchone()
        update = f"UPDATE {table} SET {column} = ? WHERE {where}"  # noqa: S608
        conn.execute(update, (flip(data),))
        for _, sql in guards:
            conn.execute(sql)
