"""Sealed fields in the manner of RFC 9901 (SD-JWT): salted digests now, texts for those who may.

A disclosure's name is the JSON Pointer of its place, so it fits one place only. Encrypting and
keeping disclosures is done elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.core import jsonio
from registry.core.generation import Sealed
from registry.errors import FormatError, InputError, IntegrityError

SALT_BYTES = 16
"""Length of a salt (RFC 9901 recommends 128 bits)."""
MAX_DISCLOSURE_BYTES = 16 * 1024 * 1024
"""Largest disclosure, as JSON before base64url."""

_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Salt (base64url of 128 bits), name (a JSON Pointer) and value of one sealed field.

    A parsed disclosure keeps its text verbatim: the digest is over the text, not the values.
    """

    salt: str
    name: str
    value: Any
    text: str = field(default="", repr=False, compare=False)

    def encode(self) -> str:
        """Return the disclosure's base64url text, verbatim when it was parsed (RFC 9901, 4.2)."""
        if self.text:
            return self.text
        raw = jsonio.dumps([self.salt, self.name, self.value])
        if len(raw) > MAX_DISCLOSURE_BYTES:
            raise FormatError(
                f"sealed value at {self.name} has {len(raw)} bytes, over {MAX_DISCLOSURE_BYTES}",
                code="disclosure.invalid",
                hint="put long texts into a blob named by digest",
            )
        return _base64url(raw)

    def digest(self) -> str:
        """Return the base64url SHA-256 of the text's ASCII bytes (RFC 9901, 4.2.3)."""
        return _base64url(hashlib.sha256(self.encode().encode("ascii")).digest())


def parse(text: str) -> Disclosure:
    """Read a disclosure; raises FormatError (`disclosure.invalid`).

    Unpadded base64url of a JSON array of three: salt, name, value.
    """
    raw = _unbase64url(text)
    try:
        items = jsonio.loads(raw, max_bytes=MAX_DISCLOSURE_BYTES)
    except FormatError as error:
        raise FormatError(f"disclosure: {error.message}", code="disclosure.invalid") from None
    if not isinstance(items, list) or len(items) != 3:
        raise FormatError("disclosure is not [salt, name, value]", code="disclosure.invalid")
    salt, name, value = items
    if not isinstance(salt, str) or not isinstance(name, str):
        raise FormatError("disclosure's salt and name are not text", code="disclosure.invalid")
    return Disclosure(salt, name, value, text)


def seal(document: Any, salts: Callable[[], bytes]) -> tuple[Any, tuple[Disclosure, ...]]:
    """Put a salted digest in the place of every `Sealed` in `document`.

    Returns a copy as plain dicts and lists, and the disclosures in document order; `salts` gives
    16 fresh random bytes a call. Raises InputError (`disclosure.invalid`) for a sealed value
    inside a sealed value, and for data that already looks like a sealed field.
    """
    made: list[Disclosure] = []
    return _seal(document, "", salts, made), tuple(made)


def unseal(document: Any, disclosures: Iterable[Disclosure]) -> Any:
    """Return a copy of `document` with the disclosed values back in their places.

    Fields without a disclosure stay sealed. Raises IntegrityError (`disclosure.mismatch`) when a
    disclosure's digest does not stand at the place that it names, or a place is disclosed twice.
    """
    wanted: dict[str, Disclosure] = {}
    for disclosure in disclosures:
        if disclosure.name in wanted:
            raise _mismatch(disclosure.name, "it is disclosed twice")
        wanted[disclosure.name] = disclosure
    opened = _unseal(document, "", wanted)
    for name in wanted:
        raise _mismatch(name, "no sealed field stands there")
    return opened


def sealed_pointers(document: Any) -> dict[str, str]:
    """Return the digest of every sealed field of `document` by JSON Pointer, in document order."""
    found: dict[str, str] = {}
    _collect(document, "", found)
    return found


def sealed_digest(value: Any) -> str | None:
    """Return the digest if `value` is a sealed field, else None."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    inner = value.get("sealed")
    if not isinstance(inner, Mapping) or len(inner) != 1:
        return None
    digest = inner.get("sha-256")
    return digest if isinstance(digest, str) and _DIGEST.fullmatch(digest) else None


def _seal(value: Any, where: str, salts: Callable[[], bytes], made: list[Disclosure]) -> Any:
    if isinstance(value, Sealed):
        return _seal_one(value, where, salts, made)
    if isinstance(value, Mapping):
        if "sealed" in value and sealed_digest(value) is not None:
            raise InputError(
                f"value at {where or '/'} looks like a sealed field", code="disclosure.invalid"
            )
        return {key: _seal(item, _child(where, key), salts, made) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return [_seal(item, f"{where}/{i}", salts, made) for i, item in enumerate(value)]
    return value


def _seal_one(
    sealed: Sealed, where: str, salts: Callable[[], bytes], made: list[Disclosure]
) -> dict[str, Any]:
    if not where or _holds_sealed(sealed.value):
        raise InputError(
            f"value at {where or '/'} cannot be sealed: it is the root, or holds a sealed value",
            code="disclosure.invalid",
        )
    salt = salts()
    if len(salt) != SALT_BYTES:
        raise InputError(f"a salt has {SALT_BYTES} bytes", code="disclosure.invalid")
    draft = Disclosure(_base64url(salt), where, sealed.value)
    disclosure = Disclosure(draft.salt, draft.name, draft.value, draft.encode())
    made.append(disclosure)
    return {"sealed": {"sha-256": disclosure.digest()}}


def _holds_sealed(value: Any) -> bool:
    if isinstance(value, Sealed):
        return True
    if isinstance(value, Mapping):
        return any(map(_holds_sealed, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_holds_sealed, value))
    return False


def _unseal(value: Any, where: str, wanted: dict[str, Disclosure]) -> Any:
    digest = sealed_digest(value)
    if digest is not None:
        disclosure = wanted.pop(where, None)
        if disclosure is None:
            return value
        if disclosure.digest() != digest:
            raise _mismatch(where, "its digest is another")
        return disclosure.value
    if isinstance(value, Mapping):
        return {key: _unseal(item, _child(where, key), wanted) for key, item in value.items()}
    if isinstance(value, list):
        return [_unseal(item, f"{where}/{i}", wanted) for i, item in enumerate(value)]
    return value


def _collect(value: Any, where: str, found: dict[str, str]) -> None:
    digest = sealed_digest(value)
    if digest is not None:
        found[where] = digest
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _collect(item, _child(where, key), found)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _collect(item, f"{where}/{i}", found)


def _child(where: str, key: Any) -> str:
    return f"{where}/{jsonio.escape_pointer(str(key))}"


def _mismatch(name: str, why: str) -> IntegrityError:
    return IntegrityError(f"disclosure for {name} does not fit: {why}", code="disclosure.mismatch")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _unbase64url(text: str) -> bytes:
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if not raw or _base64url(raw) != text:
        raise FormatError("disclosure is not unpadded base64url", code="disclosure.invalid")
    return raw
