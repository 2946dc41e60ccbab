"""The bytes of hashes: how far apart two are, and where several stand in one value.

Knows neither how a hash is made nor what its distance means.
"""

from __future__ import annotations

VALUE_BYTES = 32
"""A hash, or a part of a value that has several."""


def parts_of(value: bytes) -> tuple[bytes, ...]:
    """Return the parts of a value, 32 bytes each; a rest that is shorter is left out."""
    ends = range(VALUE_BYTES, len(value) + 1, VALUE_BYTES)
    return tuple(value[end - VALUE_BYTES : end] for end in ends)


def bits_apart(one: bytes, other: bytes) -> int:
    """Return the bits in which two hashes of the same length differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()
