"""Where an export is written to: a folder or a tar, file by file, with a digest of each."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from registry.core import exports
from registry.core.exports import Manifest
from registry.errors import IntegrityError

_CHUNK = 1024 * 1024


class Sink(Protocol):
    """Takes files by path, in the order given. Two sinks given the same hold the same bytes."""

    def take(self, path: str, size: int, source: IO[bytes]) -> None:
        """Store a file of `size` bytes."""


class FolderSink:
    """Writes files into a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def take(self, path: str, size: int, source: IO[bytes]) -> None:  # noqa: ARG002  # a tar's need
        """Store a file."""
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := source.read(_CHUNK):
                file.write(chunk)


class TarSink:
    """Writes files into a tar (POSIX pax), without owner, time or mode of their origin."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def take(self, path: str, size: int, source: IO[bytes]) -> None:
        """Store a file."""
        member = tarfile.TarInfo(path)
        member.size, member.mode = size, 0o600 if path.startswith(exports.HOME) else 0o644
        self._tar.addfile(member, source)


@contextmanager
def tar_sink(stream: IO[bytes]) -> Iterator[TarSink]:
    """Write a tar into a stream; it is ended only when the block ends well."""
    tar = tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
    yield TarSink(tar)
    tar.close()


class Package:
    """An export in the making: counts and digests what goes into the sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.sums: dict[str, str] = {}
        self.bytes = 0

    def add(self, path: str, data: bytes) -> None:
        """Store bytes."""
        self._take(path, len(data), io.BytesIO(data))

    def add_file(self, path: str, file: Path, *, sha256: str | None = None) -> None:
        """Store a file; raises IntegrityError (`vault.altered`) unless it has the digest."""
        with file.open("rb") as source:
            found = self._take(path, file.stat().st_size, source)
        if sha256 not in {None, found}:
            raise IntegrityError(
                f"{file} holds sha256:{found}, not sha256:{sha256}",
                code="vault.altered",
                hint="fetch it again with `dvc pull`, or export with --no-blobs",
            )

    def finish(self, manifest: Manifest) -> None:
        """Store the list of digests and, last of all, the manifest."""
        self._sink.take(exports.SUMS, *_sized(exports.encode_sums(self.sums)))
        self._sink.take(exports.MANIFEST, *_sized(manifest.to_bytes()))

    def _take(self, path: str, size: int, source: IO[bytes]) -> str:
        exports.check_path(path)
        hashing = _Hashing(source)
        self._sink.take(path, size, hashing)  # type: ignore[arg-type]  # a sink only reads
        self.sums[path] = hashing.digest.hexdigest()
        self.bytes += size
        return self.sums[path]


class _Hashing:
    """A file that is digested as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


def _sized(data: bytes) -> tuple[int, IO[bytes]]:
    return len(data), io.BytesIO(data)
