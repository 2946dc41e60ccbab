"""Sealing: each record's texts are encrypted under a key of its own, and erased by destroying it.

Holds keys only; where ciphertexts lie is not known here. The keyring has a file, and a backup, of
its own: a backup of the database must never bring an erased text back.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_wrap,
)

from registry.errors import (
    ErasedError,
    HomeError,
    InputError,
    IntegrityError,
    KeyFileError,
    NotFoundError,
    UnavailableError,
)
from registry.signing.keys import write_secret
from registry.signing.protected import read_protected, write_protected

KEY_BYTES = 32
NONCE_BYTES = 12
SEALING_KEY_NAME = "sealing.key"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sealing_keys (
  key_id TEXT PRIMARY KEY,
  wrapped BLOB  -- NULL once destroyed
) WITHOUT ROWID
"""
# The write-ahead log costs one sync a commit where a rollback journal costs three or four.
# `destroy` empties it, so that no copy of a destroyed key outlives the call.
_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON")
_CHECKPOINT_PAUSE_S = 0.02
_MOST_ROWS = 256
"""Rows of one statement: the driver gives up the interpreter's lock at each statement's end."""


def encrypt(key: bytes, plaintext: bytes, aad: str) -> bytes:
    """Return nonce (12 fresh random bytes), ciphertext and tag of AES-256-GCM.

    `aad` is the key's id: it binds the text to its record. Raises InputError (`text.key`).
    """
    if len(key) != KEY_BYTES:
        raise _not_a_key()
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, aad.encode("utf-8"))


def decrypt(key: bytes, sealed: bytes, aad: str) -> bytes:
    """Return the plaintext of what `encrypt` made.

    Raises IntegrityError (`text.altered`) when the bytes, the key or `aad` do not belong together.
    """
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad.encode("utf-8"))
    except (InvalidTag, ValueError):
        raise IntegrityError(
            "a sealed text does not open with its key",
            code="text.altered",
            hint="restore the sealed texts and the keyring from backups of one age",
        ) from None


class Keyring:
    """The keys of sealed texts, wrapped (AES key wrap, RFC 3394) in a SQLite file of their own.

    Safe for threads and processes. `put_many` and `destroy` are durable on return.
    """

    def __init__(
        self, path: Path, keys: Path, *, wait_s: float = 30.0, passphrase: str | None = None
    ) -> None:
        # Opened when first used: who may not read texts may still read everything else.
        self._path = path
        self._secret = keys / SEALING_KEY_NAME
        self._passphrase = passphrase
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._opened: tuple[sqlite3.Connection, bytes] | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        keys: Path,
        *,
        create: bool = False,
        wait_s: float = 30.0,
        passphrase: str | None = None,
    ) -> Keyring:
        """Return the keyring at `path`, wrapped under `<keys>/sealing.key`.

        With `create`, both are made where neither is there. `passphrase` opens, and protects, the
        sealing key. Every method raises KeyFileError (`key.missing`, `key.permissions`,
        `key.passphrase`, `key.unusable`) when either cannot be opened.
        """
        keyring = cls(path, keys, wait_s=wait_s, passphrase=passphrase)
        if create:
            keyring._create()
        return keyring

    def __repr__(self) -> str:
        return f"Keyring({self._path})"

    def put_many(self, keys: Mapping[str, bytes]) -> None:
        """Add keys (32 bytes each) by id, all or none.

        A key that is there is replaced: its text never reached the log. Raises ErasedError when an
        id was destroyed: it must never come back to life.
        """
        if not keys:
            return
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise _not_a_key()
        with self._writing() as (conn, wrapping_key):
            rows = [(key_id, aes_key_wrap(wrapping_key, key)) for key_id, key in keys.items()]
            for start in range(0, len(rows), _MOST_ROWS):
                _put(conn, rows[start : start + _MOST_ROWS])

    def get(self, key_id: str) -> bytes:
        """Return a key; raises ErasedError when it was destroyed, NotFoundError when unknown."""
        with self._using() as (conn, wrapping_key):
            row = _row(conn, key_id)
        if row is None:
            raise NotFoundError(
                f"the keyring holds no key {key_id[:16]}…",
                code="text.key-unknown",
                hint="restore the keyring from its newest backup",
            )
        if row[0] is None:
            raise _erased(key_id)
        try:
            return aes_key_unwrap(wrapping_key, row[0])
        except (InvalidUnwrap, ValueError):
            raise IntegrityError(
                f"key {key_id[:16]}… does not unwrap under this home's sealing key",
                code="text.altered",
                hint=f"restore {SEALING_KEY_NAME} and the keyring from one backup",
            ) from None

    def get_many(self, key_ids: Iterable[str]) -> dict[str, bytes | None]:
        """Return keys by id, None for a destroyed one.

        Unknown ids are left out, and keys that do not unwrap under this home's sealing key.
        """
        found: dict[str, bytes | None] = {}
        with self._using() as (conn, wrapping_key):
            for key_id in key_ids:
                row = _row(conn, key_id)
                if row is None:
                    continue
                with suppress(InvalidUnwrap, ValueError):
                    found[key_id] = row[0] and aes_key_unwrap(wrapping_key, row[0])
        return found

    def is_destroyed(self, key_id: str) -> bool:
        """Tell whether a key was destroyed."""
        with self._using() as (conn, _):
            row = _row(conn, key_id)
        return row is not None and row[0] is None

    def destroy(self, key_id: str) -> None:
        """Destroy a key for good and leave a tombstone; unknown ids get one too. Idempotent.

        On return no file of the keyring holds the key any more. Raises UnavailableError
        (`keyring.busy`) when a reader kept its last copy alive: call again.
        """
        self.destroy_many((key_id,))

    def destroy_many(self, key_ids: Iterable[str]) -> None:
        """Destroy keys as `destroy` does, all of them or none."""
        with self._writing() as (conn, _):
            conn.executemany(
                "INSERT INTO sealing_keys VALUES (?, NULL)"
                " ON CONFLICT (key_id) DO UPDATE SET wrapped = NULL",
                ((key_id,) for key_id in key_ids),
            )
        self._empty_write_ahead_log()

    def backup(self, target: Path) -> None:
        """Copy the keyring, consistent beside writers, to a new file (0600); durable on return."""
        write_secret(target, b"")  # a file of our own mode, which SQLite then fills
        with self._using() as (conn, _):
            copy = sqlite3.connect(target)
            try:
                conn.backup(copy)
            finally:
                copy.close()

    def close(self) -> None:
        """Close the file; a later use opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened[0].close()
            self._opened = None

    def _create(self) -> None:
        if not self._secret.exists() and not self._path.exists():
            write_protected(self._secret, os.urandom(KEY_BYTES), self._passphrase)
        self._wrapping_key()
        if not self._path.exists():
            write_secret(self._path, b"")
        with self._using() as (conn, _):
            conn.execute(_SCHEMA)

    @contextmanager
    def _using(self) -> Iterator[tuple[sqlite3.Connection, bytes]]:
        with self._lock, _in_our_words(self._path):
            if self._opened is None:
                wrapping_key = self._wrapping_key()
                self._opened = _connect(self._path, self._wait_s), wrapping_key
            yield self._opened

    @contextmanager
    def _writing(self) -> Iterator[tuple[sqlite3.Connection, bytes]]:
        with self._using() as (conn, wrapping_key):
            try:
                conn.execute("BEGIN IMMEDIATE")
                yield conn, wrapping_key
                conn.execute("COMMIT")
            except BaseException:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
                raise

    def _wrapping_key(self) -> bytes:
        key = read_protected(self._secret, self._passphrase)
        if len(key) != KEY_BYTES:
            raise KeyFileError(f"cannot use key {self._secret}: it is not {KEY_BYTES} bytes long")
        return key

    def _empty_write_ahead_log(self) -> None:
        """Move all pages to the main file and truncate the log, waiting out other readers."""
        deadline = time.monotonic() + self._wait_s
        while True:
            with self._using() as (conn, _):
                (busy, _, _) = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
            if time.monotonic() > deadline:
                raise UnavailableError(
                    "a reader keeps the old keyring open; the key is destroyed, but a copy of it"
                    " is still on disk",
                    code="keyring.busy",
                    hint="close other programs that use this home and erase again",
                )
            time.sleep(_CHECKPOINT_PAUSE_S)


def _put(conn: sqlite3.Connection, rows: Sequence[tuple[str, bytes]]) -> None:
    """Insert or replace keys in one statement; raises ErasedError when one was destroyed."""
    marks = ", ".join(["(?, ?)"] * len(rows))
    done = conn.execute(
        f"INSERT INTO sealing_keys VALUES {marks} ON CONFLICT (key_id) DO UPDATE"  # noqa: S608
        " SET wrapped = excluded.wrapped WHERE wrapped IS NOT NULL",
        tuple(chain.from_iterable(rows)),
    )
    if done.rowcount < len(rows):
        raise _erased(next(key_id for key_id, _ in rows if _row(conn, key_id) == (None,)))


def _row(conn: sqlite3.Connection, key_id: str) -> tuple[bytes | None] | None:
    query = "SELECT wrapped FROM sealing_keys WHERE key_id = ?"
    found: tuple[bytes | None] | None = conn.execute(query, (key_id,)).fetchone()
    return found


def _connect(path: Path, wait_s: float) -> sqlite3.Connection:
    if not path.exists():
        raise KeyFileError(
            f"no keyring at {path}",
            code="key.missing",
            hint="restore it from its backup; without it sealed texts cannot be read",
        )
    if _writable(path):
        return _prepared(path, "mode=rw", wait_s, _PRAGMAS)
    try:
        return _prepared(path, "mode=ro", wait_s, ())
    except sqlite3.OperationalError:  # a cleanly closed file lacks what `mode=ro` alone needs
        return _prepared(path, "mode=ro&immutable=1", wait_s, ())


def _prepared(
    path: Path, query: str, wait_s: float, pragmas: tuple[str, ...]
) -> sqlite3.Connection:
    conn = sqlite3.connect(
        f"file:{quote(str(path))}?{query}",
        uri=True,
        timeout=wait_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for pragma in pragmas:
            conn.execute(f"PRAGMA {pragma}").fetchall()
        conn.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error:
        conn.close()
        raise
    return conn


def _writable(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)


def _not_a_key() -> InputError:
    return InputError(f"a sealing key has {KEY_BYTES} bytes", code="text.key")


def _erased(key_id: str) -> ErasedError:
    return ErasedError(
        f"the text under key {key_id[:16]}… was erased", hint="its erasure record says by whom"
    )


@contextmanager
def _in_our_words(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY:
            raise HomeError(
                f"the keyring {path} cannot be written", code="home.read-only"
            ) from error
        raise UnavailableError(
            f"the keyring {path} cannot be used now: {error}",
            code="keyring.unavailable",
            hint="check free space and permissions, then try again",
        ) from error
    except sqlite3.DatabaseError as error:
        raise IntegrityError(
            f"the keyring {path} is damaged: {error}",
            code="keyring.corrupt",
            hint="restore it from its backup",
        ) from error
