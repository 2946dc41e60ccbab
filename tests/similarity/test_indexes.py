"""What every index of fingerprints promises, in memory and in Postgres; what a restart reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, delete, insert, select

from registry.errors import IntegrityError
from registry.settings import Home, Settings
from registry.similarity import hamming, indexes, stored
from registry.similarity.hamming import HammingIndex
from registry.similarity.indexes import Index, index_of
from registry.similarity.postgres import BANDED, BandIndex
from registry.store.engine import open_engine
from registry.store.index_tables import FingerprintBlockRow, FingerprintRemovalRow
from registry.store.scrub import scrub, wiping
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import READ_ONLY, read, write
from registry.store.types import table_of
from tests.similarity.test_hamming import brute_force, clustered, digest, near

PRINTS = table_of(FingerprintRow)
BLOCKS = table_of(FingerprintBlockRow)
REMOVALS = table_of(FingerprintRemovalRow)
WHOLE, OLD, PARTS = BANDED[0], BANDED[1], "parts8-phash256-of-this-test-v1"

Open = Callable[[], Engine]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open the same empty database again and again, as several workers do."""
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("new_database")
    opened = []

    def open_one() -> Engine:
        opened.append(open_engine(Settings(Home(tmp_path), "test", "0" * 8, database_url=url)))
        return opened[-1]

    settings_ = Settings(Home(tmp_path), "test", "0" * 8, database_url=url)
    open_engine(settings_, create=True).dispose()
    yield open_one
    for engine in opened:
        engine.dispose()


def store(
    engine: Engine, values: Sequence[bytes], *, first: int = 0, name: str = WHOLE, step: int = 1
) -> None:
    """Store values of assets by their numbers."""
    rows = [
        {"sha256": digest(first + n * step), "name": name, "value": value, "quality": 100}
        for n, value in enumerate(values)
    ]
    if rows:
        with write(engine) as conn:
            conn.execute(insert(PRINTS), rows)


def remove(engine: Engine, *numbers: int) -> None:
    with write(engine) as conn:
        conn.execute(delete(PRINTS).where(PRINTS.c.sha256.in_([digest(n) for n in numbers])))


def refreshed(engine: Engine, names: str | tuple[str, ...] = WHOLE) -> Index:
    index = index_of(engine, names)
    index.refresh()
    return index


def blocks(engine: Engine) -> list[tuple[str, int, int, int]]:
    with read(engine) as conn:
        columns = (BLOCKS.c.name, BLOCKS.c.first, BLOCKS.c.last, BLOCKS.c.size)
        return [tuple(row) for row in conn.execute(select(*columns).order_by(*columns))]


def test_the_kind_of_index_follows_the_database(opener: Open) -> None:
    engine = opener()
    kind = BandIndex if engine.dialect.name == "postgresql" else HammingIndex
    assert type(index_of(engine, WHOLE)) is kind
    assert type(index_of(engine, PARTS)) is HammingIndex
    assert index_of(engine, (WHOLE, OLD)) is index_of(engine, (WHOLE, OLD))
    assert index_of(engine, WHOLE) is not index_of(opener(), WHOLE)


def test_every_size_and_radius_equals_a_comparison_with_all(
    opener: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BLOCK_ROWS", 64)
    monkeypatch.setattr(stored, "LOOSE_IDS", 32)
    monkeypatch.setattr(stored, "_FETCH", 50)
    monkeypatch.setattr(hamming, "_TAIL", 60)
    engine = opener()
    for count in (0, 1, 63, 64, 65, 400):
        rng = np.random.default_rng(count)
        centre, values = clustered(rng, count, min(count, 200))
        values = [*values, *values[: count // 4]]
        with write(engine) as conn:
            conn.execute(delete(PRINTS))
        store(engine, values)
        queries = [centre, near(centre, range(9)), bytes(32)]
        for _ in range(2):  # the second reads what the first has packed
            index = indexes._made(engine, (WHOLE,))
            index.refresh()
            assert len(index) == len(values)
            index.search_many([bytes(32)] * 65, 0)  # then values are sorted
            for radius in (0, 1, 15, 16, 31, 32, 62, 256):
                expected = [brute_force(values, query, radius) for query in queries]
                assert index.search_many(queries, radius) == expected
                assert index.search(queries[1], radius) == expected[1]


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_comes_and_goes_the_index_answers_as_the_table_does(
    opener: Open, data: st.DataObject
) -> None:
    engine = opener()
    with write(engine) as conn:
        conn.execute(delete(PRINTS))
    query = data.draw(st.binary(min_size=32, max_size=32))
    close = st.builds(near, st.just(query), st.sets(st.integers(0, 255), max_size=64))
    value = close | st.binary(min_size=32, max_size=32)
    multi = st.lists(value, max_size=3).map(b"".join)
    steps = st.sampled_from(["add", "add", "remove last", "remove", "pack"])
    held: dict[int, bytes] = {}
    index = index_of(engine, (WHOLE, PARTS))
    for number, step in enumerate(data.draw(st.lists(steps, max_size=8))):
        if step == "add":
            name = data.draw(st.sampled_from([WHOLE, PARTS]))
            drawn = data.draw(st.lists(multi if name == PARTS else value, max_size=4))
            store(engine, drawn, first=100 * number, name=name)
            held |= {100 * number + n: each for n, each in enumerate(drawn)}
        elif step == "pack":
            pack_all(engine)
        elif held:
            gone = max(held) if step == "remove last" else data.draw(st.sampled_from(sorted(held)))
            remove(engine, gone)
            del held[gone]
        radius = data.draw(st.integers(0, 64))
        full = [held.get(n, b"") for n in range(100 * number + 10)]
        for found in (index, indexes._made(engine, (WHOLE, PARTS))):
            found.refresh()
            assert found.search(query, radius) == brute_force(full, query, radius)
            assert len(found) == sum(len(each) // 32 for each in held.values())


def pack_all(engine: Engine) -> None:
    """Make blocks of all that is in none, however little it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "LOOSE_IDS", 1)
        sources = [stored.FingerprintSource(name) for name in (WHOLE, OLD, PARTS)]
        for source in sources:
            source.loose = 1
        stored.pack(engine, sources)


def test_several_names_are_one_index_and_others_are_never_compared(opener: Open) -> None:
    engine = opener()
    store(engine, [bytes(32), b"\xff" * 32])
    store(engine, [near(bytes(32), [1, 2]), near(b"\xff" * 32, [3])], name=OLD)
    store(engine, [near(bytes(32), [7])], name=BANDED[2])
    store(engine, [b"\x0f" * 32 + near(bytes(32), [1, 2, 3])], first=5, name=PARTS)
    store(engine, [b"\x0f" * 31], first=6, name=PARTS)  # of no use, and harmless
    both = refreshed(engine, (WHOLE, OLD))
    assert both.search(bytes(32), 31) == [(digest(0).hex(), 0)]
    assert both.search(near(bytes(32), [1, 2]), 31) == [(digest(0).hex(), 0)]
    assert refreshed(engine, OLD).search(bytes(32), 31) == [(digest(0).hex(), 2)]
    every = refreshed(engine, (WHOLE, OLD, PARTS))
    assert every.search(bytes(32), 40) == [(digest(0).hex(), 0), (digest(5).hex(), 3)]
    assert (len(both), len(every)) == (4, 6)


def test_what_another_worker_stored_or_removed_is_seen_at_once(opener: Open) -> None:
    here, there = opener(), opener()
    mine = refreshed(here)
    store(there, [bytes(32), near(bytes(32), [5])])
    assert mine.refresh() == 2
    assert mine.refresh() == 0
    assert mine.search(bytes(32), 8) == [(digest(0).hex(), 0), (digest(1).hex(), 1)]
    remove(there, 1)
    store(there, [near(bytes(32), [6, 7])], first=2)  # SQLite gives it the row id of the last
    mine.refresh()
    assert mine.search(bytes(32), 8) == [(digest(0).hex(), 0), (digest(2).hex(), 2)]
    assert mine.search(bytes(32), 40) == [(digest(0).hex(), 0), (digest(2).hex(), 2)]
    assert len(mine) == 2


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BLOCK_ROWS", 4)
    monkeypatch.setattr(stored, "LOOSE_IDS", 8)


@pytest.mark.usefixtures("small")
def test_a_removed_row_takes_its_block_along_and_comes_back_nowhere(opener: Open) -> None:
    engine = opener()
    name = PARTS  # in memory on both databases
    store(engine, [near(bytes(32), range(n)) for n in range(20)], name=name)
    assert len(refreshed(engine, name)) == 20
    assert [(first, last) for _, first, last, _ in blocks(engine)] == [
        (first, first + 3) for first in range(1, 20, 4)
    ]
    remove(engine, 5, 19)
    assert [first for _, first, _, _ in blocks(engine)] == [1, 9, 13]
    left = [number for number in range(20) if number not in (5, 19)]
    for found in (refreshed(engine, name), refreshed(opener(), name)):
        assert [hit[0] for hit in found.search(bytes(32), 256)] == [digest(n).hex() for n in left]
    pack_all(engine)
    assert sum(size for *_, size in blocks(engine)) == 18
    assert len(refreshed(opener(), name)) == 18


def test_row_ids_that_are_handed_out_again_are_read_again(opener: Open) -> None:
    engine = opener()
    store(engine, [b"\xff" * 32] * 3)
    pack_all(engine)  # what covers these ids holds no row of another name
    remove(engine, 1, 2)
    store(engine, [bytes(32)] * 2, first=7, name=PARTS)
    assert refreshed(opener(), PARTS).search(bytes(32), 0) == [
        (hit, 0) for hit in sorted((digest(7).hex(), digest(8).hex()))
    ]


@pytest.mark.usefixtures("small")
def test_a_start_reads_the_blocks_and_not_their_rows(
    opener: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = opener()
    store(engine, [near(bytes(32), range(n)) for n in range(30)], name=PARTS)
    store(engine, [bytes(32)], first=40)
    refreshed(engine, PARTS)
    read_rows: list[int] = []
    loose = stored._loose

    def counted(*args: Any) -> list[Any]:
        rows = loose(*args)
        read_rows.append(len(rows))
        return rows

    monkeypatch.setattr(stored, "_loose", counted)
    again = refreshed(opener(), PARTS)
    assert (len(again), sum(read_rows)) == (30, 0)
    store(engine, [bytes(32)], first=41, name=PARTS)
    assert again.refresh() == 1
    assert sum(read_rows) == 1


@pytest.mark.usefixtures("small")
def test_a_block_that_another_worker_made_meanwhile_is_left_alone(opener: Open) -> None:
    engine = opener()
    store(engine, [bytes([n]) * 32 for n in range(20)], name=PARTS)
    pack_all(engine)
    before = blocks(engine)
    stored._pack(engine, PARTS, 0, 20)
    stored._pack(engine, PARTS, 2, 3)
    assert blocks(engine) == before


def test_a_fingerprint_is_replaced_and_never_changed(opener: Open) -> None:
    engine = opener()
    store(engine, [bytes(32)])
    for change in ({"value": b"\x01" * 32}, {"sha256": digest(9)}, {"name": OLD}, {"id": 7}):
        with pytest.raises(IntegrityError), write(engine) as conn:
            conn.execute(PRINTS.update().values(change))
    with write(engine) as conn:
        conn.execute(PRINTS.update().values(quality=3))


@pytest.mark.usefixtures("small")
def test_a_home_that_is_only_read_is_searched_without_blocks(tmp_path: Path) -> None:
    place = Settings(Home(tmp_path), "test", "0" * 8)
    engine = open_engine(place, create=True)
    store(engine, [near(bytes(32), range(n)) for n in range(20)])
    engine.dispose()
    only_read = sqlite3.connect(f"file:{place.home.database}?mode=ro&immutable=1", uri=True)
    engine = create_engine(
        "sqlite://", creator=lambda: only_read, execution_options={READ_ONLY: True}
    )
    index = refreshed(engine)
    assert (len(index), len(index.search(bytes(32), 19))) == (20, 20)
    assert blocks(engine) == []


def test_erased_fingerprints_leave_no_byte_in_a_block(tmp_path: Path) -> None:
    place = Settings(Home(tmp_path), "test", "0" * 8)
    engine = open_engine(place, create=True)
    secret = bytes(range(100, 132))
    store(engine, [bytes(32), secret, b"\xff" * 32])
    pack_all(engine)
    with wiping(engine) as conn:
        conn.execute(delete(PRINTS).where(PRINTS.c.sha256 == digest(1)))
    assert scrub(engine, "fingerprints")
    assert WHOLE not in {name for name, *_ in blocks(engine)}
    engine.dispose()
    assert all(secret not in path.read_bytes() for path in tmp_path.glob("registry.db*"))
