"""The value of a perceptual fingerprint.

How one is computed is the business of `registry.similarity`; this only says what travels.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.core.digests import is_sha256
from registry.errors import InputError

MAX_VALUE_BYTES = 256
"""Longest fingerprint of any algorithm."""


@dataclass(frozen=True, slots=True)
class FingerprintValue:
    """A fingerprint of the asset with hex digest `sha256`.

    `name` carries every parameter that changes `value` (algorithm, size, decode path, version);
    `quality` is 0 to 100, low where the picture has little to recognise. Raises InputError
    (`fingerprint.invalid`) for a value that could not be stored.
    """

    sha256: str
    name: str
    value: bytes
    quality: int

    def __post_init__(self) -> None:
        if not is_sha256(self.sha256):
            raise _invalid(f"{self.sha256!r} is not a hex SHA-256")
        if not self.name:
            raise _invalid("it has no name")
        if not 1 <= len(self.value) <= MAX_VALUE_BYTES:
            raise _invalid(f"a value of {len(self.value)} bytes")
        if not 0 <= self.quality <= 100:
            raise _invalid(f"quality {self.quality} is not between 0 and 100")


def _invalid(why: str) -> InputError:
    return InputError(f"not a fingerprint: {why}", code="fingerprint.invalid")
