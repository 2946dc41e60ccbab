"""Digests and the ids that people type: assets, records, incidents, model folders.

Pure text and bytes; reading files is done elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from registry.core import jsonio
from registry.core.generation import ModelFile
from registry.errors import FormatError, InputError

ASSET_HEAD = "sha256:"
RECORD_HEAD = "rec:"
INCIDENT_HEAD = "inc-"
MIN_PREFIX = 8
"""Fewest hex digits of an id that a person may type."""
MAX_MODELSET_BYTES = 64 * 1024 * 1024
"""Largest `modelset-v1` manifest."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_INCIDENT = re.compile(r"inc-([0-9a-f]{8,64})")
_PREFIX = re.compile(r"[0-9a-f]{8,64}")

RefKind = Literal["asset", "record", "incident", "prefix"]


@dataclass(frozen=True, slots=True)
class Ref:
    """What an id names.

    `asset`, `record`: `hex` is the full 64 digits. `incident`: the digits after `inc-`, maybe only
    the first of them. `prefix`: 8 to 64 digits, of an asset or of a record; `scope` says which
    when the prefix had a head.
    """

    kind: RefKind
    hex: str
    scope: Literal["asset", "record"] | None = None


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def is_sha256(text: str) -> bool:
    """Tell whether `text` is 64 lower-case hex digits."""
    return _SHA256.fullmatch(text) is not None


def asset_id(hex_digest: str) -> str:
    """Return `sha256:<hex>`, the id of the asset with this content digest."""
    return ASSET_HEAD + _checked(hex_digest)


def record_id(hex_digest: str) -> str:
    """Return `rec:<hex>`, the id of the record with this leaf hash."""
    return RECORD_HEAD + _checked(hex_digest)


def incident_id(invocation_id: str) -> str:
    """Return `inc-<16 hex>`: the id of the incident that this invocation opens."""
    return INCIDENT_HEAD + sha256_hex(invocation_id.encode("utf-8"))[:16]


def parse_ref(text: str) -> Ref:
    """Read an asset id, a record id, an incident id, or a prefix of 8 or more hex digits.

    Hex digits may be typed in either case. Raises InputError (`ref.invalid`).
    """
    wanted = text.strip().lower()
    if incident := _INCIDENT.fullmatch(wanted):
        return Ref("incident", incident[1])
    for head, scope in _SCOPES:
        if wanted.startswith(head):
            digits = wanted.removeprefix(head)
            if is_sha256(digits):
                return Ref(scope, digits, scope)
            return Ref("prefix", _prefix(digits, text), scope)
    return Ref("prefix", _prefix(wanted, text))


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


_SCOPES: tuple[tuple[str, Literal["asset", "record"]], ...] = (
    (ASSET_HEAD, "asset"),
    (RECORD_HEAD, "record"),
)


def _checked(hex_digest: str) -> str:
    if not is_sha256(hex_digest):
        raise InputError(f"{hex_digest!r} is not a hex SHA-256", code="ref.invalid")
    return hex_digest


def _prefix(digits: str, text: str) -> str:
    if _PREFIX.fullmatch(digits) is None:
        raise InputError(
            f"{text!r} is not an id",
            code="ref.invalid",
            hint=f"give sha256:<hex>, rec:<hex>, inc-<hex>, or {MIN_PREFIX} or more hex digits",
        )
    return digits


def _check_file(file: ModelFile) -> None:
    parts = file.path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\\" in file.path or "\0" in file.path:
        raise _modelset_error(f"path {file.path!r} is not a plain relative POSIX path")
    if not is_sha256(file.sha256):
        raise _modelset_error(f"digest of {file.path!r} is not a hex SHA-256")
    if isinstance(file.size, bool) or not 0 <= file.size < jsonio.SAFE_INTEGER:
        raise _modelset_error(f"size of {file.path!r} is out of range")


def _modelset_error(why: str) -> InputError:
    return InputError(f"model folder cannot be named: {why}", code="modelset.invalid")
