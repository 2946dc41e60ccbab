"""What a user typed, an id, a prefix or a path, to what it names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import Connection, RowMapping

from registry.catalog import queries
from registry.core.digests import Ref, is_sha256, parse_ref
from registry.core.generation import ModelFile
from registry.core.modelsets import modelset_digest
from registry.errors import InputError, NotFoundError

_READ_BYTES = 1024 * 1024


def parse(text: str | Path) -> Ref:
    """Read an id, a prefix, or a path to a file or model folder (named by its digest).

    Raises InputError (`ref.invalid`) for text that is neither.
    """
    try:
        return parse_ref(str(text))
    except InputError as error:
        path = Path(text)
        if path.exists():
            return Ref("asset", path_digest(path), "asset")
        raise InputError(
            f"{str(text)!r} is neither an id nor a file", code=error.code, hint=error.hint
        ) from None


def path_digest(path: Path) -> str:
    """Return the hex SHA-256 of a file, or the `modelset-v1` digest of a folder."""
    if path.is_dir():
        return modelset_digest(folder_files(path))
    return file_sha256(path)


def folder_files(folder: Path) -> tuple[ModelFile, ...]:
    """Return every file below a folder, with size and digest, sorted by path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return tuple(
        ModelFile(p.relative_to(folder).as_posix(), p.stat().st_size, file_sha256(p)) for p in files
    )


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file; raises InputError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", code="file.unreadable") from error
    return digest.hexdigest()


def output(conn: Connection, text: str | Path) -> RowMapping:
    """Return the newest output that `text` names; see `catalog.queries.find_output`."""
    ref = parse(text)
    try:
        return queries.find_output(conn, ref)
    except NotFoundError:
        if ref.scope == "asset" and Path(text).is_file():
            raise NotFoundError(
                f"no record of {text} (sha256:{ref.hex})",
                code="ref.unregistered",
                hint=f"it may be a copy with other bytes: try `genops find {text}`",
            ) from None
        raise


def digest(conn: Connection, text: str | Path) -> bytes:
    """Return the digest of the asset or material that `text` names.

    A digest in full, or a path, need not be known to the registry: a source can be tainted before
    anything was made from it.
    """
    ref = parse(text)
    if ref.kind == "asset":
        return bytes.fromhex(ref.hex)
    try:
        return queries.find_digest(conn, ref)
    except NotFoundError:
        if ref.scope == "record" or not is_sha256(ref.hex):
            raise
        return bytes.fromhex(ref.hex)
