"""Every bit of a small registry is flipped: rows, texts, keys, blobs, checkpoints, the file itself.

Each flip is found by the check, or by opening. What a part of the check compares is flipped bit by
bit in memory against that part; that the parts are put together is shown by flips in a whole
registry, a sample of them here and all of them in `tests/torture`.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from registry.core.merkle import Frontier, leaf_hash
from registry.errors import FormatError, IntegrityError
from registry.log import check_read
from registry.log.check_heads import cosignature_problem
from registry.log.check_page import Judged, Page, PageJudge, Row
from registry.log.check_texts import TextsCheck
from registry.log.check_tree import DerivedTree
from registry.log.findings import Findings
from registry.log.head import head_of
from registry.log.outside import CheckpointFile
from registry.resources import schema_set
from registry.store.transaction import read
from registry.workflows.check_blobs import BlobsCheck
from tests.log.smallest import RawFile, Small, flip_export, flipped, flips, make_small

PAGES = 100
"""Flips of the database file that are tried here."""
BYTES = 7
"""One byte in so many of an export is tried here."""
STEP = 521
"""One flip in so many is tried in a whole registry here."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with make_small(tmp_path_factory.mktemp("small") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def pages(small: Small) -> list[tuple[Page, Judged]]:
    """Each record as a page of its own, and what its judge says of it."""
    judge = PageJudge(small.reader.vkey, schema_set())
    rows, unreadable = check_read.read_rows(small.services.engine, 0, small.size, texts=True)
    assert (len(rows), unreadable) == (small.size, [])
    made = []
    trust = small.trust_before(0)
    for index, row in sorted(rows.items()):
        page = Page(index, index + 1, {index: row}, trust, beside=True)
        judged = judge.judge(page)
        assert judged.found == []
        trust = small.trust_before(index + 1)
        made.append((page, judged))
    return made


def test_the_registry_that_is_flipped_holds_and_has_a_row_in_every_table(small: Small) -> None:
    assert small.everything() == ()
    empty = [table for table in small.rows() if not small.rows()[table]]
    assert empty == ["tile_hashes"]  # fewer than 256 records fill no tile: see test_check


@pytest.mark.parametrize("column", [f.name for f in fields(Row) if f.name != "ciphertext"])
def test_every_bit_of_every_record(
    small: Small, pages: list[tuple[Page, Judged]], column: str
) -> None:
    judge = PageJudge(small.reader.vkey, schema_set())
    tried = 0
    for page, _ in pages:
        row = page.rows[page.start]
        value = getattr(row, column)
        for changed in flips(value) if value is not None else ():
            rows = {page.start: replace(row, **{column: changed})}
            assert judge.judge(replace(page, rows=rows)).found, (page.start, column, changed)
            tried += 1
    assert tried >= small.size * 32 * 8 or (column == "key_id" and tried)


def test_every_bit_of_every_sealed_text(small: Small, pages: list[tuple[Page, Judged]]) -> None:
    check = TextsCheck(small.services.keyring)
    tried = 0
    for page, judged in pages:
        row = page.rows[page.start]
        for changed in flips(row.ciphertext) if row.ciphertext else ():
            rows = {page.start: replace(row, ciphertext=changed)}
            assert check.page(replace(page, rows=rows), judged)
            tried += 1
    assert tried > 5000
    assert not check.locked


def test_every_bit_of_every_sealing_key(small: Small, pages: list[tuple[Page, Judged]]) -> None:
    check = TextsCheck(small.services.keyring)
    conn = sqlite3.connect(small.home.keyring, isolation_level=None)
    conn.execute("PRAGMA synchronous = OFF")
    tried = 0
    for key_id, wrapped in conn.execute("SELECT key_id, wrapped FROM sealing_keys").fetchall():
        renamed = ((f"key_id = {sqlite_text(one)}", one) for one in flips(key_id.encode()))
        wrapped_anew = ((f"wrapped = x'{one.hex()}'", one) for one in flips(wrapped or b""))
        for change, _ in (*renamed, *wrapped_anew):
            assert conn.execute(f"UPDATE sealing_keys SET {change} WHERE key_id = ?", (key_id,))
            assert any(check.page(*one) for one in pages), (key_id, change)
            now = change.removeprefix("key_id = ") if "key_id" in change else f"'{key_id}'"
            conn.execute(
                f"UPDATE sealing_keys SET key_id = ?, wrapped = ? WHERE key_id = {now}",
                (key_id, wrapped),
            )
            tried += 1
    conn.close()
    assert tried > 3000
    assert not any(check.page(*one) for one in pages)


def sqlite_text(data: bytes) -> str:
    return f"CAST(x'{data.hex()}' AS TEXT)"


def test_every_bit_of_the_head(small: Small) -> None:
    (row,) = small.rows()["log_head"]
    head = dict(zip(("id", "size", "frontier", "checkpoint", "time_ms"), row, strict=True))
    entries = [row[1] for row in small.rows()["log_entries"]]
    frontier = Frontier().extend(map(leaf_hash, entries))

    def problems(changed: dict[str, object]) -> bool:
        found = Findings()
        try:
            DerivedTree(found, frontier).finish(
                head_of(changed), small.reader.vkey, int(head["time_ms"])
            )
        except FormatError:
            return True
        return bool(found.items)

    assert not problems(head)
    for column in ("size", "frontier", "checkpoint", "time_ms"):
        for changed in flips(head[column]):
            assert problems(head | {column: changed}), (column, changed)


def test_every_bit_of_the_checkpoint_file(small: Small) -> None:
    path = small.home.checkpoint
    note = path.read_bytes()

    def refused() -> bool:
        with read(small.services.engine) as conn:
            try:
                file = CheckpointFile(path, small.reader.vkey)
                file.refuse_rollback(
                    file.read(), small.size, lambda size: small.root_at(conn, size)
                )
            except IntegrityError:
                return True
        return False

    assert not refused()
    for changed in flips(note):
        path.write_bytes(changed)
        assert refused(), changed
    path.write_bytes(note)


def test_every_bit_of_a_cosignature(small: Small) -> None:
    with read(small.services.engine) as conn:
        (row,) = check_read.cosigned(conn, 0, small.size)
    entries = [row[1] for row in small.rows()["log_entries"]]
    tree = Frontier().extend(map(leaf_hash, entries[: row.size]))

    def problem(changed: check_read.Cosigned) -> str:
        return cosignature_problem(changed, tree, small.reader.vkey, [small.witness])

    assert problem(row) == ""
    for column in ("key_id", "time_s", "signature", "note", "size"):
        for changed in flips(getattr(row, column)):
            assert problem(replace(row, **{column: changed})), (column, changed)
    for changed in flips(row.name.encode()):
        assert problem(replace(row, name=check_read.shown(changed))), changed


def test_every_bit_of_the_index_of_blobs(small: Small) -> None:
    check = BlobsCheck(small.services)
    tried = 0
    for row in small.rows()["blobs"]:
        assert check.problem(row) == ""
        for place, value in enumerate(row):
            for changed in flips(value):
                altered = (*row[:place], changed, *row[place + 1 :])
                assert check.problem(altered), altered
                tried += 1
    assert tried == len(small.rows()["blobs"]) * (32 + 16 + 8) * 8


def test_every_bit_of_every_blob(small: Small) -> None:
    check = BlobsCheck(small.services)
    files = [path for path in small.cache.rglob("*") if path.is_file()]
    rows = small.rows()["blobs"]
    assert len(files) == len(rows)
    tried = 0
    for row in rows:
        md5 = row[1].hex()
        path = small.cache / md5[:2] / md5[2:]
        path.chmod(0o644)
        data = path.read_bytes()
        with path.open("r+b", buffering=0) as file:
            for place in range(len(data)):
                for bit in range(8):
                    file.seek(place)
                    file.write(bytes([data[place] ^ 1 << bit]))
                    assert check.problem(row), (path, place, bit)
                    tried += 1
                file.seek(place)
                file.write(data[place : place + 1])
        assert check.problem(row) == ""
    assert tried == sum(path.stat().st_size for path in files) * 8


def test_a_sample_of_the_bits_of_every_column_in_a_whole_registry(small: Small) -> None:
    tried = small.flip_everywhere(STEP)
    assert set(tried) == set(small.rows()) - {"tile_hashes"}
    assert sum(tried.values()) > 300


def test_a_sample_of_the_bits_of_the_database_file(small: Small, tmp_path: Path) -> None:
    file = RawFile(small, tmp_path / "home")
    bits = random.Random(7).sample(range(file.bits), PAGES)
    found = sum(file.is_found(bit) for bit in bits)
    assert 0 < found <= PAGES


def test_a_sample_of_the_bits_of_an_export(small: Small, tmp_path: Path) -> None:
    imported = flip_export(small, tmp_path, BYTES)
    assert imported > 3


def test_flipping_is_what_it_says() -> None:
    assert list(flips(b"\x00\x01"))[:2] == [b"\x01\x01", b"\x02\x01"]
    assert len(set(flips(b"\x00\x01"))) == 16
    assert set(flips(5)) == {5 ^ (1 << bit) for bit in range(63)} | {5 - 2**63}
    assert flipped(b"\x00", 7) == b"\x80"
