"""Where an export is read from: a folder, a tar, or an encrypted backup.

Nothing is believed that its list of digests does not name. Paths are checked before anything is
unpacked, and only plain files are.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from registry.core import exports
from registry.core.digests import sha256_hex
from registry.core.exports import Manifest
from registry.core.notes import VerifierKey
from registry.errors import FormatError, InputError, IntegrityError, KeyFileError
from registry.signing.encrypted import DecryptingReader, is_encrypted

_CHUNK = 1024 * 1024
_START = 32


class ExportReader:
    """A whole export, unpacked. `sums` are the digests of its files by path."""

    def __init__(self, root: Path, *, ours: bool) -> None:
        """Read manifest and digests, and compare the files that are there with them by name.

        `ours` says that the folder is an unpacked copy. Raises FormatError (`export.invalid`,
        `export.newer`), IntegrityError (`export.altered`).
        """
        self._root = root
        self._ours = ours
        self.manifest = Manifest.parse(
            _bounded(root / exports.MANIFEST, exports.MAX_MANIFEST_BYTES)
        )
        listed = _bounded(root / exports.SUMS, exports.MAX_SUMS_BYTES)
        if sha256_hex(listed) != self.manifest.sums_sha256:
            raise _altered(exports.SUMS, "is not the list that the manifest names")
        self.sums: Mapping[str, str] = exports.parse_sums(listed)
        self._compare_names()
        for path in self.sums:
            part = exports.part_of(path)
            if part is not None and not self.manifest.has(part):
                raise exports.invalid(f"it holds {path}, and its manifest names no {part}")

    def has(self, path: str) -> bool:
        """Tell whether the export holds a file."""
        return path in self.sums

    def read(self, path: str) -> bytes:
        """Return a file's bytes; raises IntegrityError (`export.altered`) naming it."""
        if path not in self.sums:
            raise _altered(path, "is missing")
        data = (self._root / path).read_bytes()
        if sha256_hex(data) != self.sums[path]:
            raise _altered(path, "does not have the digest listed for it")
        return data

    def vkey(self) -> VerifierKey:
        """Return the key of its log; raises FormatError, and as `read` does."""
        return VerifierKey.parse(self.read(exports.VKEY).decode("ascii", "replace"))

    def path(self, path: str) -> Path:
        """Return where a file lies; its bytes are not checked."""
        return self._root / path

    def check(self, path: str) -> None:
        """Check a file without holding it in memory; raises as `read` does."""
        with (self._root / path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != self.sums[path]:
                raise _altered(path, "does not have the digest listed for it")

    def done_with(self, path: str) -> None:
        """Free the space of an unpacked copy's file; an export's own files stay."""
        if self._ours:
            (self._root / path).unlink()

    def under(self, head: str) -> list[str]:
        """Return the paths that begin with `head`, sorted."""
        return sorted(path for path in self.sums if path.startswith(head))

    def _compare_names(self) -> None:
        if len(self.sums) != self.manifest.files:
            raise _altered(exports.SUMS, "does not have the number of files in the manifest")
        there = {path for path, _ in _walk(self._root)} - {exports.SUMS, exports.MANIFEST}
        for path in sorted(there ^ self.sums.keys()):
            raise _altered(path, "is missing" if path in self.sums else "is not on its list")


@contextmanager
def open_export(
    source: Path, scratch: Path, passphrase: Callable[[], str | None]
) -> Iterator[ExportReader]:
    """Open an export or a backup; a tar is unpacked into `scratch` for the block.

    `passphrase` is asked only for an encrypted one. Raises InputError (`transfer.missing`), what
    `ExportReader` raises, and KeyFileError (`backup.passphrase`).
    """
    if source.is_dir():
        yield ExportReader(source, ours=False)
        return
    if not source.is_file():
        raise InputError(f"there is no export at {source}", code="transfer.missing")
    scratch.mkdir(mode=0o700, parents=True)
    try:
        with source.open("rb") as file:
            _unpack_any(file, scratch, passphrase)
        yield ExportReader(scratch, ours=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def open_keys(
    source: str | Path, scratch: Path, passphrase: Callable[[], str | None]
) -> Iterator[ExportReader]:
    """Open a backup for its keys, as `open_export` does.

    Raises InputError (`import.no-keys`) as well.
    """
    with open_export(Path(source), scratch, passphrase) as held:
        if not held.manifest.has("home"):
            raise InputError(
                f"{source} holds no keys",
                code="import.no-keys",
                hint="give a file that `genops backup` made",
            )
        yield held


def other_key(
    vkey: VerifierKey, held: ExportReader | None, log_key: str | None
) -> VerifierKey | None:
    """Return what a backup, else the caller, names as the log's key instead of `vkey`.

    None when both say the same, or nothing.
    """
    if held is not None and (key := held.vkey()) != vkey:
        return key
    if log_key and (key := VerifierKey.parse(log_key)) != vkey:
        return key
    return None


def needs_passphrase(source: Path | None) -> bool:
    """Tell whether a file is an encrypted backup."""
    if source is None or not source.is_file():
        return False
    with source.open("rb") as file:
        return is_encrypted(file.read(_START))


def _unpack_any(file: IO[bytes], into: Path, passphrase: Callable[[], str | None]) -> None:
    encrypted = is_encrypted(file.read(_START))
    file.seek(0)
    if not encrypted:
        _unpack(file, into)
        return
    secret = passphrase()
    if not secret:
        raise KeyFileError(
            "the backup is encrypted, and no passphrase is given",
            code="backup.passphrase",
            hint="set GENOPS_BACKUP_PASSPHRASE, or run it on a terminal",
        )
    reader = DecryptingReader(file, secret)
    _unpack(reader, into)  # type: ignore[arg-type]  # a stream that reads
    reader.finish()


def _unpack(stream: IO[bytes], into: Path) -> None:
    """Unpack plain files with paths of an export; refuse everything else."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                _check_member(member)
                exports.check_path(member.name)
                content = tar.extractfile(member)
                assert content is not None  # noqa: S101  # a plain file, as was checked
                _write_new(into / member.name, content)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:  # odd numbers
        raise exports.invalid(f"it is no tar of one ({error})") from None


def _check_member(member: tarfile.TarInfo) -> None:
    if not member.isreg() or member.issparse():
        raise exports.invalid(f"{member.name[:100]!r} in it is no plain file")


def _write_new(target: Path, content: IO[bytes]) -> None:
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with target.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
    except (FileExistsError, NotADirectoryError):
        raise exports.invalid(f"it holds {target.name} twice, or below a file") from None


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise exports.invalid(f"{name[:100]!r} in it is no plain file")
        if path.is_file():
            yield name, path


def _bounded(path: Path, most: int) -> bytes:
    try:
        if path.stat().st_size > most:
            raise exports.invalid(f"{path.name} is too large")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise exports.invalid(f"it has no {path.name}") from None


def _altered(path: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path} of the export {why}", code="export.altered", hint="take another copy of it"
    )


__all__ = ["ExportReader", "FormatError", "needs_passphrase", "open_export"]
