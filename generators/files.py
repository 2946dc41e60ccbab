"""Digests of model files and folders, each file hashed once while it stays what it is.

Knows files and the registry's value types, not what is in the files.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from registry.core.generation import Material, ModelFile, Sealed
from registry.core.modelsets import modelset_digest
from registry.errors import MaterialError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VAULT_LIMIT_BYTES = 64 * 2**20
"""Model folders up to this size go into the vault; larger ones are referenced by digest."""
SETTLED_NS = 2_000_000_000
"""A file changed within this time may change again inside the same tick: it is hashed anew."""

LARGE_BYTES = 2**28
"""Files from this size on take seconds to hash: that is said while it lasts."""
_CHUNK_BYTES = 2**24

_Identity = tuple[int, int, int, int]


def say_progress(name: str, done: int, size: int) -> None:
    """Draw how far a file is hashed on the terminal; nothing where nobody watches."""
    if sys.stderr.isatty():
        end = "\n" if done >= size else "\r"
        sys.stderr.write(f"hashing {name}: {100 * done // size} %{end}")
        sys.stderr.flush()


@dataclass(slots=True)
class FileDigests:
    """SHA-256 of files, remembered by (device, inode, mtime in ns, size). Safe across threads.

    `progress` is called with name, bytes hashed and size, again and again, for large files alone.
    """

    now_ns: Callable[[], int] = time.time_ns
    progress: Callable[[str, int, int], None] = say_progress
    _known: dict[_Identity, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def describe(self, path: Path, name: str) -> ModelFile:
        """Return size and digest of `path` under the relative name `name`.

        Raises MaterialError (`material.unreadable`) when it cannot be read, or changes meanwhile.
        """
        try:
            before = _identity(path)
            digest = self._known.get(before)
            if digest is None:
                digest = self._sha256(path, before[3])
                if _identity(path) != before:
                    raise _unreadable(path, "it changed while it was read")
                self._remember(before, digest)
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from None
        return ModelFile(name, before[3], digest)

    def _sha256(self, path: Path, size: int) -> str:
        if size < LARGE_BYTES:
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        digest, done = hashlib.sha256(), 0
        with path.open("rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                done += len(chunk)
                self.progress(path.name, done, size)
        return digest.hexdigest()

    def _remember(self, identity: _Identity, digest: str) -> None:
        if self.now_ns() - identity[2] > SETTLED_NS:
            with self._lock:
                self._known[identity] = digest


DIGESTS = FileDigests()
"""The process's cache: digests hold for every pipeline alike."""


@dataclass(frozen=True, slots=True)
class Content:
    """A material and the files that hold its bytes, ready for the vault (none if referenced)."""

    material: Material
    paths: tuple[Path, ...]


def file_material(name: str, kind: str, path: Path, digests: FileDigests = DIGESTS) -> Content:
    """Describe one file that the vault is to keep; its path is sealed."""
    described = digests.describe(path, path.name)
    material = Material(
        name=name,
        kind=kind,
        sha256=described.sha256,
        storage="vaulted",
        annotations={"path": Sealed(str(path))},
    )
    return Content(material, (path,))


def folder_material(
    name: str,
    kind: str,
    folder: Path,
    paths: Iterable[Path],
    *,
    uri: str = "",
    digests: FileDigests = DIGESTS,
) -> Content:
    """Describe files below `folder` as one `modelset-v1`; vaulted up to `VAULT_LIMIT_BYTES`."""
    chosen = sorted(paths)
    files = tuple(digests.describe(p, p.relative_to(folder).as_posix()) for p in chosen)
    if not files:
        raise _unreadable(folder, "it holds no model files")
    small = sum(file.size for file in files) <= VAULT_LIMIT_BYTES
    material = Material(
        name=name,
        kind=kind,
        sha256=modelset_digest(files),
        uri=uri,
        storage="vaulted" if small else "referenced",
        files=files,
        annotations={"path": Sealed(str(folder))},
    )
    return Content(material, tuple(chosen) if small else ())


def files_below(folder: Path) -> list[Path]:
    """Return the files below a folder, hidden ones and their folders left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return found


def _identity(path: Path) -> _Identity:
    facts = path.stat()
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size


def _unreadable(path: Path, why: str) -> MaterialError:
    return MaterialError(
        f"model file {path.name} cannot be read: {why}",
        code="material.unreadable",
        hint="Load the pipeline from a folder that stays in place while it generates.",
    )
