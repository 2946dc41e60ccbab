"""The value of a perceptual fingerprint.

How one is computed is the business of `registry.similarity`; this only says what travels.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.core.digests import is_sha256
from registry.errors import InputError

MAX_VALUE_BYTES = 256
"""Longest fingerprint of any algorithm."""
MAX_THUMBNAIL_BYTES = 128 * 1024
"""Largest thumbnail, encoded."""


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


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small grey JPEG of the asset with hex digest `sha256`, to verify candidates by.

    `made` names the set of algorithms by which the asset's fingerprints were made with it, so that
    it can be told whether some are missing. Raises InputError (`fingerprint.invalid`).
    """

    sha256: str
    data: bytes
    made: str

    def __post_init__(self) -> None:
        if not is_sha256(self.sha256):
            raise _invalid(f"{self.sha256!r} is not a hex SHA-256")
        if not 1 <= len(self.data) <= MAX_THUMBNAIL_BYTES:
            raise _invalid(f"a thumbnail of {len(self.data)} bytes")
        if not self.made:
            raise _invalid("a thumbnail does not say what was made with it")


def _invalid(why: str) -> InputError:
    return InputError(f"not a fingerprint: {why}", code="fingerprint.invalid")
