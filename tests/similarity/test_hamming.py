"""The index in memory misses nothing, however its rows came to lie, and compares few of them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.similarity import hamming, probing
from registry.similarity.bands import BandTable
from registry.similarity.hamming import HammingIndex
from registry.similarity.sources import Rows, packed

RADII = (0, 1, 15, 16, 31, 32, 62)


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def rows_of(values: Iterable[bytes], first: int = 0) -> Rows:
    """Return values, each of an asset of its own by its number."""
    numbered = [(first + n + 1, digest(first + n), value) for n, value in enumerate(values)]
    return Rows(first + len(numbered), *packed(numbered))


def brute_force(values: Sequence[bytes], query: bytes, radius: int) -> list[tuple[str, int]]:
    """Compare with every part of every value."""
    wanted = int.from_bytes(query, "big")
    hits = []
    for number, value in enumerate(values):
        parts = [value[start : start + 32] for start in range(0, len(value), 32)]
        distances = [(int.from_bytes(part, "big") ^ wanted).bit_count() for part in parts]
        if parts and min(distances) <= radius:
            hits.append((digest(number).hex(), min(distances)))
    return sorted(hits, key=lambda hit: (hit[1], hit[0]))


def near(value: bytes, bits: Iterable[int]) -> bytes:
    flipped = int.from_bytes(value, "big")
    for bit in bits:
        flipped ^= 1 << bit
    return flipped.to_bytes(32, "big")


def grown(values: Sequence[bytes], parts: int) -> HammingIndex:
    """Return an index that was given its values in parts, and searched often after each."""
    index = HammingIndex()
    for numbers in np.array_split(np.arange(len(values)), parts):
        index.add(rows_of([values[n] for n in numbers], int(numbers[0])))
        index.search_many([bytes(32)] * (hamming._PATIENCE + 1), 0)
    return index


def clustered(rng: Any, count: int, around: int) -> tuple[bytes, list[bytes]]:
    """Return a value, and a shuffled list of values of which some lie near it."""
    centre = rng.bytes(32)
    close = [near(centre, rng.choice(256, n % 70, replace=False).tolist()) for n in range(around)]
    values = [*close, *(rng.bytes(32) for _ in range(count - around))]
    rng.shuffle(values)
    return centre, values


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_search_equals_a_comparison_with_every_part_of_every_value(data: st.DataObject) -> None:
    index = HammingIndex()
    queries = data.draw(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4))
    close = st.builds(near, st.sampled_from(queries), st.sets(st.integers(0, 255), max_size=70))
    part = close | st.binary(min_size=32, max_size=32)
    value = st.lists(part, max_size=3).map(b"".join)
    values = data.draw(st.lists(value, max_size=40))
    radius = data.draw(st.integers(0, 256))
    cut = data.draw(st.integers(0, len(values)))
    index.add(rows_of(values[:cut]))
    index.add(rows_of(values[cut:], cut))
    expected = [brute_force(values, query, radius) for query in queries]
    assert index.search_many(queries, radius) == expected
    assert [index.search(query, radius) for query in queries] == expected


def test_a_scan_in_chunks_leaves_no_row_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_BLOCK", 7)
    rng = np.random.default_rng(1)
    values = [rng.bytes(32) for _ in range(50)]
    assert grown(values, 3).search(values[49], 256) == brute_force(values, values[49], 256)


def test_a_few_searches_sort_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "_TAIL", 10)
    index = HammingIndex()
    index.add(rows_of([bytes(32)] * 20))
    index.search_many([bytes(32)] * hamming._PATIENCE, 0)
    index.search_many([bytes(32)] * (hamming._PATIENCE + 1), 32)  # never by bands
    assert index._view().blocks == ()
    index.search(bytes(32), 31)
    assert len(index._view().blocks) == 1


@pytest.mark.parametrize("parts", [1, 3, 40])
def test_sorted_blocks_and_the_tail_answer_as_a_comparison_with_every_value(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hamming, "_TAIL", 50)
    rng = np.random.default_rng(parts)
    centre, values = clustered(rng, 5_000, 300)
    index = grown(values, parts)
    view = index._view()
    assert [b.start for b in view.blocks] == [0, *(b.end for b in view.blocks[:-1])]
    assert view.size - view.sorted_end < 50
    queries = [centre, values[7], near(centre, range(5)), centre]
    for radius in RADII:
        expected = [brute_force(values, query, radius) for query in queries[:3]]
        assert index.search_many(queries, radius) == [*expected, expected[0]]


def test_a_query_in_full_buckets_is_compared_with_all_beside_one_that_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hamming, "_TAIL", 50)
    rng = np.random.default_rng(5)
    values = [bytes(32)] * 900 + [rng.bytes(32) for _ in range(9000)]
    index = grown(values, 1)
    queries = [rng.bytes(32), near(bytes(32), range(3)), values[-1]]
    table = index._view().blocks[0].table
    words = np.frombuffer(b"".join(queries), np.uint64).reshape(-1, 4)
    found = table.candidates(words, 31, len(values) // 8)
    assert found is not None
    assert found[2].tolist() == [1]
    assert index.search_many(queries, 31) == [brute_force(values, q, 31) for q in queries]


def test_blocks_are_merged_so_that_few_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "_TAIL", 10)
    rng = np.random.default_rng(1)
    index = grown([rng.bytes(32) for _ in range(1000)], 100)
    lengths = [len(block.table) for block in index._view().blocks]
    assert lengths == sorted(lengths, reverse=True)
    assert len(lengths) <= 7  # ten rows a hundred times: one block for each bit of 100


def test_a_small_radius_does_not_compare_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "_TAIL", 1000)
    rng = np.random.default_rng(1)
    values = [rng.bytes(32) for _ in range(20_000)]
    index = grown(values, 1)
    queries = np.frombuffer(values[7] + values[9], np.uint64).reshape(-1, 4)
    found = index._view().blocks[0].table.candidates(queries, 31, len(values))
    assert found is not None
    assert len(found[1]) < 2 * len(values) // 50
    assert index.search(values[7], 31) == [(digest(7).hex(), 0)]


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_bands_leave_out_nothing_within_the_radius(data: st.DataObject) -> None:
    radius = data.draw(st.integers(0, 31))
    query = data.draw(st.binary(min_size=32, max_size=32))
    flips = data.draw(st.lists(st.sets(st.integers(0, 255), max_size=radius), max_size=20))
    worst = {16 * n + k for n in range(16) for k in (3, 9)} - {243}  # 31 bits: two a band but one
    values = [near(query, bits) for bits in [*flips, set(sorted(worst)[:radius])]]
    words = np.frombuffer(b"".join(values), np.uint64).reshape(-1, 4).T
    found = BandTable(words).candidates(np.frombuffer(query, np.uint64)[None], radius, 10**6)
    assert found is not None
    assert set(found[1].tolist()) == set(range(len(values)))


def test_a_radius_too_large_for_bands_is_scanned() -> None:
    table = BandTable(np.zeros((4, 3), np.uint64))
    assert table.candidates(np.zeros((1, 4), np.uint64), 32, 10**6) is None
    found = table.candidates(np.zeros((1, 4), np.uint64), 31, 10)  # 48 with repetitions
    assert found is not None
    assert (found[1].tolist(), found[2].tolist()) == ([], [0])


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33)])
def test_a_value_of_another_size_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="expected 32"):
        HammingIndex().search(value, 0)
    with pytest.raises(ValueError, match="expected 32"):
        HammingIndex().search_many([bytes(32), value], 0)


def test_searches_beside_growth_see_whole_rows() -> None:
    rng = np.random.default_rng(2)
    values = [rng.bytes(32) for _ in range(2000)]
    expected = {digest(n).hex(): value for n, value in enumerate(values)}
    index = HammingIndex()
    wrong: list[Any] = []
    done = threading.Event()

    def search() -> None:
        query = int.from_bytes(values[0], "big")
        while not done.is_set():
            for sha256, distance in index.search(values[0], 256):
                stored = int.from_bytes(expected.get(sha256, b""), "big")
                if (stored ^ query).bit_count() != distance:
                    wrong.append(sha256)

    thread = threading.Thread(target=search)
    thread.start()
    for first in range(0, len(values), 100):
        index.add(rows_of(values[first : first + 100], first))
    done.set()
    thread.join()
    assert wrong == []
    assert len(index) == len(values)
