"""The index misses nothing: it answers as a comparison with every stored value does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from registry.settings import Home, Settings
from registry.similarity import scan
from registry.similarity.bands import BandTable
from registry.similarity.fingerprints import PHASH256
from registry.similarity.scan import HammingIndex
from registry.store.engine import open_engine
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import write
from registry.store.types import table_of

FINGERPRINTS = table_of(FingerprintRow)


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def store(engine: Engine, values: Sequence[bytes], *, first: int = 0, name: str = PHASH256) -> None:
    rows = [
        {"sha256": digest(first + number), "name": name, "value": value, "quality": 100}
        for number, value in enumerate(values)
    ]
    if rows:
        with write(engine) as conn:
            conn.execute(insert(FINGERPRINTS), rows)


def brute_force(values: Sequence[bytes], query: bytes, radius: int) -> list[tuple[str, int]]:
    wanted = int.from_bytes(query, "big")
    distances = [(int.from_bytes(value, "big") ^ wanted).bit_count() for value in values]
    hits = [(digest(n).hex(), d) for n, d in enumerate(distances) if d <= radius]
    return sorted(hits, key=lambda hit: (hit[1], hit[0]))


def near(value: bytes, bits: set[int]) -> bytes:
    flipped = int.from_bytes(value, "big")
    for bit in bits:
        flipped ^= 1 << bit
    return flipped.to_bytes(32, "big")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_search_equals_a_comparison_with_every_value(data: st.DataObject) -> None:
    index = HammingIndex()
    query = data.draw(st.binary(min_size=32, max_size=32))
    close = st.sets(st.integers(0, 255), max_size=70).map(lambda bits: near(query, bits))
    values = data.draw(st.lists(close | st.binary(min_size=32, max_size=32), max_size=40))
    radius = data.draw(st.integers(0, 256))
    cut = data.draw(st.integers(0, len(values)))
    for part, first in ((values[:cut], 0), (values[cut:], cut)):
        if part:
            index.add([digest(first + n) for n in range(len(part))], list(part))
    assert index.search(query, radius) == brute_force(values, query, radius)


def test_blocks_leave_no_row_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 7)
    monkeypatch.setattr(scan, "_FETCH", 5)
    rng = np.random.default_rng(1)
    values = [rng.bytes(32) for _ in range(50)]
    store(engine, values)
    index = HammingIndex()
    index.refresh(engine)
    assert index.search(values[49], 256) == brute_force(values, values[49], 256)


def grown(values: Sequence[bytes], parts: int) -> HammingIndex:
    """Return an index that was given its values in parts, and sorted after each."""
    index = HammingIndex()
    for numbers in np.array_split(np.arange(len(values)), parts):
        index.add([digest(n) for n in numbers], [values[n] for n in numbers])
    return index


@pytest.mark.parametrize("parts", [1, 3, 10, 40])
def test_sorted_blocks_and_the_tail_answer_as_a_comparison_with_every_value(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_TAIL", 50)
    rng = np.random.default_rng(parts)
    centre = rng.bytes(32)
    around = [
        near(centre, set(rng.choice(256, n % 70, replace=False).tolist())) for n in range(300)
    ]
    values = [*around, *(rng.bytes(32) for _ in range(20_000))]
    rng.shuffle(values)
    index = grown(values, parts)
    view = index._view()
    assert [b.start for b in view.blocks] == [0, *(b.end for b in view.blocks[:-1])]
    assert view.size - view.sorted_end < 50
    for radius in (0, 1, 15, 16, 31, 32, 62):
        assert index.search(centre, radius) == brute_force(values, centre, radius)


def test_blocks_are_merged_so_that_few_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_TAIL", 10)
    rng = np.random.default_rng(1)
    index = grown([rng.bytes(32) for _ in range(1000)], 100)
    lengths = [len(block.table) for block in index._view().blocks]
    assert lengths == sorted(lengths, reverse=True)
    assert len(lengths) <= 7  # ten rows a hundred times: one block for each bit of 100


def test_a_small_radius_does_not_compare_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_TAIL", 1000)
    rng = np.random.default_rng(1)
    values = [rng.bytes(32) for _ in range(50_000)]
    index = grown(values, 1)
    block = index._view().blocks[0]
    rows = block.table.candidates(np.frombuffer(values[7], np.uint64), 31, len(values))
    assert rows is not None
    assert len(rows) < len(values) // 50
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
    found = BandTable(words).candidates(np.frombuffer(query, np.uint64), radius, 10**6)
    assert found is not None
    assert set(found.tolist()) == set(range(len(values)))


def test_a_radius_too_large_for_bands_is_scanned() -> None:
    table = BandTable(np.zeros((4, 3), np.uint64))
    assert table.candidates(np.zeros(4, np.uint64), 32, 10**6) is None
    assert table.candidates(np.zeros(4, np.uint64), 31, 10) is None  # 48 with repetitions


def test_refresh_reads_on_from_where_it_stood(engine: Engine) -> None:
    index = HammingIndex()
    assert index.refresh(engine) == 0
    assert index.search(bytes(32), 256) == []
    store(engine, [bytes(32), b"\xff" * 32])
    assert index.refresh(engine) == 2
    store(engine, [b"\x01" * 32], first=2)
    assert index.refresh(engine) == 1
    assert index.refresh(engine) == 0
    assert len(index) == 3
    assert index.search(bytes(32), 32) == [(digest(0).hex(), 0), (digest(2).hex(), 32)]


@pytest.mark.both_databases
def test_rows_are_read_alike_from_both_databases(tmp_path: Path, database: str | None) -> None:
    settings = Settings(Home(tmp_path), "test", "0" * 8, database_url=database)
    engine = open_engine(settings, create=True)
    rng = np.random.default_rng(3)
    values = [bytes(32), *(rng.bytes(32) for _ in range(5000)), b"\xff" * 32]
    store(engine, values[:5001])
    index = HammingIndex()
    assert index.refresh(engine) == 5001
    store(engine, values[5001:], first=5001)
    assert index.refresh(engine) == 1
    for number in (0, 1, 4096, 5000, 5001):
        assert index.search(values[number], 0) == [(digest(number).hex(), 0)]
    engine.dispose()


def test_fingerprints_of_another_name_are_never_compared(engine: Engine) -> None:
    store(engine, [bytes(32)], name="phash256-other-v0")
    index = HammingIndex()
    assert index.refresh(engine) == 0


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33)])
def test_a_value_of_another_size_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="expected 32"):
        HammingIndex().search(value, 0)


def test_searches_beside_a_refresh_see_whole_rows(engine: Engine) -> None:
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
        store(engine, values[first : first + 100], first=first)
        index.refresh(engine)
    done.set()
    thread.join()
    assert wrong == []
    assert len(index) == len(values)
