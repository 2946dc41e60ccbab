"""Values of several parts are cut where a part ends, and a distance counts bits."""

from __future__ import annotations

from registry.similarity.values import bits_apart, parts_of


def test_a_value_is_cut_into_whole_parts() -> None:
    first, second = bytes(range(32)), bytes(range(32, 64))
    assert parts_of(first + second) == (first, second)
    assert parts_of(first + second[:31]) == (first,)
    assert parts_of(b"") == ()


def test_a_distance_counts_the_bits_that_differ() -> None:
    assert bits_apart(bytes(32), bytes(32)) == 0
    assert bits_apart(bytes(32), b"\xff" * 32) == 256
    assert bits_apart(b"\x80" + bytes(31), bytes(31) + b"\x01") == 2
