"""The bit flips of `tests/log/test_bitflips.py`, many more of them in whole registries."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.log.smallest import RawFile, Small, flip_export, make_small

STEP = 7
"""Each cell is flipped bit by bit in the short test; here one bit in so many, in a whole check."""
FLIPS = 20_000
"""Flips of the database file, beside all of its header."""
HEADER_BITS = 100 * 8


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with make_small(tmp_path_factory.mktemp("small") / "home") as made:
        yield made


def test_the_bits_of_every_column_in_a_whole_registry(small: Small) -> None:
    assert sum(small.flip_everywhere(STEP).values()) > 20_000


def test_a_bit_of_every_byte_of_an_export(small: Small, tmp_path: Path) -> None:
    assert flip_export(small, tmp_path, 1) > 20


def test_the_bits_of_the_database_file(small: Small, tmp_path: Path) -> None:
    file = RawFile(small, tmp_path / "home")
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    bits = [*range(HEADER_BITS), *random.Random(seed).sample(range(file.bits), FLIPS)]
    found = sum(file.is_found(bit) for bit in bits)
    print(f"{found} of {len(bits)} flips were found, the others changed nothing that counts")
    assert 0 < found < len(bits)
