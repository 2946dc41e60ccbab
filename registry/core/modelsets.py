"""`modelset-v1`: the identity of a model folder, by the paths, sizes and digests of its files.

Pure values; reading the files is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from registry.core import jsonio
from registry.core.digests import is_sha256, sha256_hex
from registry.core.generation import ModelFile
from registry.errors import FormatError, InputError

MAX_MODELSET_BYTES = 64 * 1024 * 1024
"""Largest `modelset-v1` manifest."""


def modelset_manifest(files: Iterable[ModelFile]) -> bytes:
    """Return the `modelset-v1` manifest: RFC 8785 array of {path, sha256, size}, sorted by path.

    Paths are POSIX and relative. Raises InputError (`modelset.invalid`) for an empty set and for
    absolute, duplicate or climbing paths.
    """
    rows = sorted(files, key=lambda file: file.path.encode("utf-8", "surrogatepass"))
    if not rows:
        raise _modelset_error("it has no files")
    previous = ""
    for row in rows:
        _check_file(row)
        if row.path == previous:
            raise _modelset_error(f"path {row.path!r} stands twice")
        previous = row.path
    return jsonio.canonical(
        [{"path": row.path, "sha256": row.sha256, "size": row.size} for row in rows]
    )


def modelset_digest(files: Iterable[ModelFile]) -> str:
    """Return the `modelset-v1` digest: hex SHA-256 of the manifest's bytes."""
    return sha256_hex(modelset_manifest(files))


def parse_modelset(data: bytes) -> tuple[ModelFile, ...]:
    """Read a `modelset-v1` manifest.

    Raises FormatError unless the bytes are exactly what `modelset_manifest` writes.
    """
    rows = jsonio.loads(data, max_bytes=MAX_MODELSET_BYTES)
    try:
        files = tuple(ModelFile(row["path"], row["size"], row["sha256"]) for row in rows)
        same = modelset_manifest(files) == data
    except (AttributeError, KeyError, TypeError, InputError) as error:
        raise FormatError(f"not a modelset-v1 manifest: {error}", code="modelset.invalid") from None
    if not same:
        raise FormatError("modelset-v1 manifest is not in canonical form", code="modelset.invalid")
    return files


def _check_file(file: ModelFile) -> None:
    parts = file.path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\\" in file.path or "\0" in file.path:
        raise _modelset_error(f"path {file.path!r} is not a plain relative POSIX path")
    if not is_sha256(file.sha256):
        raise _modelset_error(f"digest of {file.path!r} is not a hex SHA-256")
    if type(file.size) is not int or not 0 <= file.size < jsonio.SAFE_INTEGER:
        raise _modelset_error(f"size of {file.path!r} is out of range")


def _modelset_error(why: str) -> InputError:
    return InputError(f"model folder cannot be named: {why}", code="modelset.invalid")
