"""Lines of lists of fingerprints: an entry, or why a line is none; and what all forms share.

Nothing in a list is trusted: not its lengths, its encoding, nor what it says of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.core import jsonio
from registry.core.fingerprint import FingerprintValue
from registry.errors import InputError

Form = Literal["genops", "text", "csv", "threatexchange"]
FORMS: tuple[Form, ...] = ("genops", "text", "csv", "threatexchange")
PDQ_LISTED = "pdq256-listed-v1"
"""PDQ as others computed it and exchange it in lists, by whatever decoding: 32 bytes."""
MAX_LINE_BYTES = 64 * 1024
"""Longest line that is read; one entry of ours has at most about 10 KiB."""
MAX_LABEL = 100
"""Longest name of an owner, in characters."""
MAX_SOURCE = 256
"""Longest name of a source, in characters."""

Line = tuple[int, bytes]
"""A line's number, from 1, and its bytes."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a list, at a line from 1; what the list does not say is None.

    `prints` carry the entry's digest, which is of them alone where it is `hash_only`.
    """

    line: int
    sha256: str
    prints: tuple[FingerprintValue, ...]
    hash_only: bool = True
    pixels: str | None = None
    owner: str | None = None
    source: str | None = None
    expires_ms: int | None = None
    reason: str | None = None
    tags: str | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was passed over, and why."""

    line: int
    why: str


Read = Listed | BadLine


class UnfitError(Exception):
    """A line cannot be used; the readers of lists turn it into a `BadLine`."""


def bad_list(why: str) -> InputError:
    """Return the error for a list that cannot be read at all."""
    return InputError(
        f"the list cannot be read: {why}",
        code="bank.list",
        hint=f"say what it is with --format: {', '.join(FORMS)}",
    )


def label(text: str, most: int = MAX_LABEL) -> str:
    """Return a plain one-line text; raises InputError (`bank.label`) for what cannot be one."""
    found = text.strip()
    if not found or len(found) > most or any(ord(c) < 32 or ord(c) == 127 for c in found):
        raise InputError(
            f"{text[:40]!r} is not a line of 1 to {most} characters",
            code="bank.label",
            hint="owner and source are plain text on the log: name a team or a list, not a person",
        )
    return found


def object_of(line: bytes) -> Mapping[str, Any]:
    """Parse a line as a JSON object; raises UnfitError or FormatError."""
    document = jsonio.loads(line.strip(), max_bytes=MAX_LINE_BYTES)
    if not isinstance(document, dict):
        raise UnfitError("it is no JSON object")
    return document


def decoded(line: bytes) -> str:
    """Return a line's text, stripped; raises UnfitError."""
    if len(line) > MAX_LINE_BYTES:
        raise UnfitError(f"it is longer than {MAX_LINE_BYTES} bytes")
    if b"\0" in line:
        raise UnfitError("it holds a NUL")
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise UnfitError("it is not UTF-8") from None
    if not text:  # white space that is none in ASCII
        raise UnfitError("it is blank")
    return text
