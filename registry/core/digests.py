"""Digests and the ids that people type: assets, records, incidents.

Pure text and bytes; reading files is done elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from registry.errors import InputError

ASSET_HEAD = "sha256:"
RECORD_HEAD = "rec:"
INCIDENT_HEAD = "inc-"
MIN_PREFIX = 8
"""Fewest hex digits of an id that a person may type."""

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
