"""Put every secret of a home under another passphrase, all at once.

The new files are made beside the old ones; then one marker says that they count, and they take
their places. A crash before the marker leaves the old passphrase in force, one after it the new
one, as soon as `finish` has run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.errors import KeyFileError, UnavailableError
from registry.files import sync_folder
from registry.signing.keys import (
    load_private,
    private_pem,
    read_secret,
    write_secret,
)
from registry.signing.protected import is_protected, protect, read_protected, unprotect

MARKER = "rekey.commit"
_STAGED = ".rekey"
_LOCK = "keys.lock"


def rekey(keys: Path, old: str | None, new: str | None, *, wait_s: float = 30.0) -> int:
    """Change the passphrase of all secrets in a folder of keys; return how many there are.

    None is no passphrase. Raises KeyFileError (`key.passphrase` and what else keeps a key from
    being opened): nothing is changed then. UnavailableError when another process is at it.
    """
    with _locked(keys, wait_s):
        _finish(keys)
        _discard(keys)  # what a crash left of an attempt that never came to count
        secrets = list(_secrets(keys))
        try:
            for path in secrets:
                _stage(path, old, new)
            sync_folder(keys)
        except Exception:
            _discard(keys)
            raise
        write_secret(keys / MARKER, b"")
        _finish(keys)
    return len(secrets)


def finish(keys: Path, *, wait_s: float = 30.0) -> None:
    """Finish a change of passphrase that was interrupted after it came to count."""
    if (keys / MARKER).exists():
        with _locked(keys, wait_s):
            _finish(keys)


def _discard(keys: Path) -> None:
    for path in keys.glob(f"*{_STAGED}"):
        path.unlink()


def _finish(keys: Path) -> None:
    marker = keys / MARKER
    if not marker.exists():
        return
    try:
        for path in sorted(keys.glob(f"*{_STAGED}")):
            path.replace(path.with_name(path.name.removesuffix(_STAGED)))
        sync_folder(keys)
        marker.unlink()
        sync_folder(keys)
    except OSError as error:
        raise KeyFileError(
            f"a change of passphrase in {keys} was interrupted, and cannot be finished:"
            f" {error.strerror}",
            code="key.rekey",
            hint="make the folder writable and open the registry again",
        ) from error


def _secrets(keys: Path) -> Iterator[Path]:
    for path in sorted((*keys.glob("*.pem"), *keys.glob("*.key"))):
        if path.suffix == ".key" or b"PRIVATE KEY" in path.read_bytes():
            yield path


def _stage(path: Path, old: str | None, new: str | None) -> None:
    """Write the new file beside the old one, and see that it opens."""
    staged = path.with_name(path.name + _STAGED)
    if path.suffix == ".key":
        secret = read_protected(path, old)
        write_secret(staged, protect(secret, new, path.name) if new else secret)
        data = read_secret(staged)
        opened = unprotect(data, new, path) if is_protected(data) else data
        same = opened == secret
    else:
        private = load_private(path, old)
        write_secret(staged, private_pem(private, new))
        same = load_private(staged, new).public_key() == private.public_key()
    if not same:
        raise KeyFileError(f"{staged} does not hold what {path} holds")


@contextmanager
def _locked(keys: Path, wait_s: float) -> Iterator[None]:
    from filelock import FileLock, Timeout  # noqa: PLC0415

    lock = FileLock(keys.parent / _LOCK, timeout=wait_s, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise UnavailableError(
            "another process is changing the passphrase", code="keys.busy"
        ) from None
    except OSError as error:
        raise KeyFileError(
            f"cannot lock {keys.parent / _LOCK}: {error.strerror}", code="key.rekey"
        ) from error
    try:
        yield
    finally:
        lock.release()
