"""Invocation ids: UUID version 7 from a given time and given random bytes."""

from __future__ import annotations

import re
import uuid

from registry.errors import InputError

RANDOM_BYTES = 10
"""Random bytes that one id consumes."""

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def uuid7(epoch_ms: int, random: bytes) -> str:
    """Return the UUIDv7 (RFC 9562) of this millisecond; takes 10 random bytes (more are ignored).

    Raises InputError when the time does not fit 48 bits or there are too few random bytes.
    """
    if not 0 <= epoch_ms < 2**48 or len(random) < RANDOM_BYTES:
        raise InputError(
            f"a UUIDv7 takes a 48-bit time and {RANDOM_BYTES} random bytes", code="id.invalid"
        )
    noise = int.from_bytes(random[:RANDOM_BYTES], "big")
    rand_a = (noise >> 62) & 0xFFF
    rand_b = noise & (2**62 - 1)
    return str(uuid.UUID(int=epoch_ms << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b))


def is_uuid7(text: str) -> bool:
    """Tell whether `text` is a UUIDv7 in lower-case hyphenated form."""
    return _UUID7.fullmatch(text) is not None
