"""Blobs by digest, written directly in DVC's cache layout.

DVC names content by MD5 alone, so every read is checked against our SHA-256. Nothing is ever
overwritten here, only drafts that expired are removed, and no lock of DVC's is taken.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from registry.core.generation import Blob
from registry.errors import InputError, IntegrityError, MaterialError, UnavailableError
from registry.files import make_folders, sync_folder, write_new

CHUNK_BYTES = 1024 * 1024
BLOB_MODE = 0o444
LEFT_BEHIND_S = 86400.0
"""Age of a scratch file that nobody writes any more, seconds since it was last written to."""
CONFIG = """\
[core]
    no_scm = True
    analytics = false
    autostage = false
    check_update = false
"""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_FILES = {
    ".dvc/config": CONFIG,
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvcignore": "",
}


class Vault:
    """A DVC repository that holds blobs. Safe for threads and processes.

    `max_bytes` is the largest blob that is taken.
    """

    def __init__(self, root: Path, *, max_bytes: int = 64 * 1024**3) -> None:
        self.root = root
        self._max_bytes = max_bytes
        self._cache = root / ".dvc" / "cache" / "files" / "md5"
        self._scratch = root / ".dvc" / "tmp" / "genops"
        self._swept = False

    def __repr__(self) -> str:
        return f"Vault({self.root})"

    def init(self) -> None:
        """Make the repository: no source control, no analytics. Keeps what is there."""
        make_folders(self._scratch)
        make_folders(self._cache)
        for first in range(256):
            (self._cache / f"{first:02x}").mkdir(exist_ok=True)
        sync_folder(self._cache)
        for name, text in _FILES.items():
            with suppress(FileExistsError):
                write_new(self.root / name, text)

    def put(self, data: bytes) -> Blob:
        """Store bytes; durable on return, and nothing is done where they are stored already.

        Raises IntegrityError (`vault.collision`: other bytes lie under the same MD5;
        `vault.altered`: the stored copy is damaged), InputError (`vault.too-large`),
        UnavailableError (`vault.unwritable`).
        """
        return self._put((data,), suffix="")

    def put_file(self, path: Path) -> Blob:
        """Store a file's bytes as `put` does, without holding them in memory.

        Raises MaterialError (`material.missing`) when there is no such file.
        """
        try:
            with path.open("rb") as file:
                return self._put(_chunks(file), suffix="")
        except (FileNotFoundError, IsADirectoryError):
            raise MaterialError(
                f"there is no file at {path}", code="material.missing", hint="check the path"
            ) from None

    def put_manifest(self, data: bytes) -> Blob:
        """Store a DVC directory object, which lies under its MD5 and `.dir`."""
        return self._put((data,), suffix=".dir")

    def remove(self, blob: Blob) -> int:
        """Remove a blob, of which the caller knows that nothing names it; return the bytes freed.

        Idempotent. Raises UnavailableError (`vault.unwritable`).
        """
        path = self.path(blob)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise UnavailableError(
                f"the vault's copy of sha256:{blob.sha256} cannot be removed: {error.strerror}",
                code="vault.unwritable",
                hint=f"check the permissions of {self.root}",
            ) from error
        return size

    def path(self, blob: Blob) -> Path:
        """Return where a blob lies, whether or not it is there."""
        return self._at(blob.md5)

    def open_path(self, blob: Blob) -> Path:
        """Return where a blob lies after checking its bytes; raises as `read` does."""
        self.verify(blob)
        return self.path(blob)

    def verify(self, blob: Blob) -> None:
        """Check a blob's size and SHA-256; raises as `read` does."""
        with self._open(blob) as file:
            found = _digests(_chunks(file))
        _compare(blob, found)

    def found_at(self, blob: Blob) -> Blob:
        """Return what lies in a blob's place, by its own digests and size, whatever it is.

        Raises MaterialError (`material.missing`), UnavailableError (`vault.unreadable`).
        """
        try:
            with self._open(blob) as file:
                return _digests(_chunks(file))
        except OSError as error:
            raise UnavailableError(
                f"the vault's copy of sha256:{blob.sha256} cannot be read: {error.strerror}",
                code="vault.unreadable",
                hint=f"check the disk and the permissions of {self.root}",
            ) from error

    def read(self, blob: Blob) -> bytes:
        """Return a blob's bytes after checking their size and SHA-256.

        Raises MaterialError (`material.missing`) and IntegrityError (`vault.altered`).
        """
        with self._open(blob) as file:
            data = file.read()
        _compare(blob, _digests((data,)))
        return data

    def read_manifest(self, md5: str, sha256: str) -> bytes:
        """Return a directory object (`md5` ends in `.dir`) after checking its SHA-256."""
        path = self._at(md5)
        blob = Blob(sha256, md5, path.stat().st_size if path.is_file() else 0)
        return self.read(blob)

    def blob_at(self, md5: str, sha256: str) -> Blob:
        """Return the blob that DVC knows by this MD5, with the size on disk; nothing is checked.

        Raises MaterialError (`material.missing`).
        """
        blob = Blob(sha256, md5, 0)
        try:
            return Blob(sha256, md5, self._at(md5).stat().st_size)
        except FileNotFoundError:
            raise _missing(blob) from None

    def stored(self) -> Iterator[Blob]:
        """Yield what lies in the vault, by its own digests, the newest file first.

        Every file is read, so that this is for when the index of blobs is lost. Directory objects
        are left out.
        """
        files = [path for path in self._cache.glob("??/*") if path.suffix != ".dir"]
        for path in sorted(files, key=lambda p: p.stat().st_mtime_ns, reverse=True):
            with path.open("rb") as file:
                found = _digests(_chunks(file))
            if found.md5 == path.parent.name + path.name:
                yield found

    def _at(self, md5: str) -> Path:
        return self._cache / md5[:2] / md5[2:]

    def _open(self, blob: Blob) -> IO[bytes]:
        try:
            return self.path(blob).open("rb")
        except FileNotFoundError:
            raise _missing(blob) from None

    def _put(self, chunks: Iterable[bytes], suffix: str) -> Blob:
        try:
            scratch = self._scratch / secrets.token_hex(16)
            try:
                blob = self._write(scratch, chunks, suffix)
                self._place(scratch, blob)
            finally:
                scratch.unlink(missing_ok=True)
        except OSError as error:
            self._check_root()
            raise UnavailableError(
                f"the vault cannot store this: {error}",
                code="vault.unwritable",
                hint=f"check free space and permissions of {self.root}",
            ) from error
        return blob

    def _write(self, scratch: Path, chunks: Iterable[bytes], suffix: str) -> Blob:
        """Write the bytes to a scratch file, durably, and return what they are."""
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, BLOB_MODE)
        with os.fdopen(handle, "wb") as file:
            found = _digests(_copied(chunks, file, self._max_bytes))
            file.flush()
            os.fchmod(handle, BLOB_MODE)
            os.fsync(handle)
            if not self._swept:
                self._sweep(os.fstat(handle).st_mtime)
        return Blob(found.sha256, found.md5 + suffix, found.size)

    def _place(self, scratch: Path, blob: Blob) -> None:
        """Give the scratch file its name, unless that is taken; never replace what is there."""
        target = self.path(blob)
        if not target.parent.is_dir():
            make_folders(target.parent)
        try:
            _link(scratch, target)
        except FileExistsError:
            self._compare_stored(target, blob)
        sync_folder(target.parent)

    def _compare_stored(self, target: Path, blob: Blob) -> None:
        with target.open("rb") as file:
            found = _digests(_chunks(file))
            os.fsync(file.fileno())  # DVC, which may have written it, does not
        if found.sha256 == blob.sha256:
            return
        if found.md5 == blob.md5.removesuffix(".dir"):
            raise IntegrityError(
                f"other bytes lie in the vault under MD5 {blob.md5}: sha256:{found.sha256},"
                f" not sha256:{blob.sha256}",
                code="vault.collision",
                hint="somebody made two files with one MD5; refuse both",
            )
        raise _altered(blob, found)

    def _sweep(self, now_s: float) -> None:
        """Remove what processes that were killed left behind; once for each vault that is open."""
        self._swept = True
        for left in self._scratch.iterdir():
            with suppress(OSError):  # it may be another's, who is done with it
                if now_s - left.stat().st_mtime > LEFT_BEHIND_S:
                    left.unlink()

    def _check_root(self) -> None:
        if not self._scratch.is_dir():
            raise MaterialError(
                f"there is no vault at {self.root}",
                code="vault.missing",
                hint="run `genops init`, or restore the vault with `dvc pull`",
            )


def _link(scratch: Path, target: Path) -> None:
    """Name the scratch file `target`; raises FileExistsError when that is taken."""
    try:
        os.link(scratch, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():  # a filesystem without links cannot do this in one step
            raise FileExistsError(target) from None
        scratch.rename(target)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _copied(chunks: Iterable[bytes], file: IO[bytes], max_bytes: int) -> Iterator[bytes]:
    """Pass chunks on after writing them; refuse more than `max_bytes` of them."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise InputError(
                f"a blob has more than {max_bytes} bytes",
                code="vault.too-large",
                hint="raise the limit blob_bytes, or record it as referenced",
            )
        file.write(chunk)
        yield chunk


def _digests(chunks: Iterable[bytes]) -> Blob:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for chunk in chunks:
        sha256.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    return Blob(sha256.hexdigest(), md5.hexdigest(), size)


def _compare(blob: Blob, found: Blob) -> None:
    if (found.sha256, found.size) != (blob.sha256, blob.size):
        raise _altered(blob, found)


def _altered(blob: Blob, found: Blob) -> IntegrityError:
    return IntegrityError(
        f"the vault's copy of sha256:{blob.sha256} was altered: it has {found.size} bytes and"
        f" sha256:{found.sha256}, not {blob.size} bytes",
        code="vault.altered",
        hint=f"remove the file under MD5 {blob.md5} and fetch it again with `dvc pull`",
    )


def _missing(blob: Blob) -> MaterialError:
    return MaterialError(
        f"the vault does not hold sha256:{blob.sha256}",
        code="material.missing",
        hint="fetch it with `dvc pull` in the vault's folder",
    )
