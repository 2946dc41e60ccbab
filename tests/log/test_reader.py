"""What the reader proves, anyone can verify with the log's public key alone."""

from __future__ import annotations

import itertools

import pytest

from registry.core import checkpoints, merkle
from registry.core.entries import LogEntry
from registry.core.evidence import EvidenceItem, build_evidence, verify_evidence
from registry.core.tiles import TILE_WIDTH, decode_bundle, tiles_of
from registry.errors import InputError, IntegrityError, NotFoundError
from registry.log.reader import LogReader
from registry.log.tree import TreeHashes
from registry.store.transaction import read
from tests.log.conftest import ORIGIN, Lab

pytestmark = pytest.mark.both_databases

SIZES = (1, 2, 3, 5, 8, 13, 21, 34, 55)


def leaves_of(reader: LogReader) -> list[bytes]:
    return [LogEntry.parse(entry).leaf_hash() for _, entry, _ in reader.records()]


@pytest.mark.parametrize("size", SIZES)
def test_every_record_is_proved_under_the_newest_checkpoint(lab: Lab, size: int) -> None:
    lab.fill(size)
    reader = lab.reader()
    for index, leaf in enumerate(leaves_of(reader)):
        proof = reader.inclusion(index)
        checkpoint = proof.verify(leaf, str(lab.vkey))
        assert (proof.index, checkpoint.size, checkpoint.origin) == (index, size, ORIGIN)


def test_the_tree_is_right_past_the_first_full_tiles(lab: Lab) -> None:
    sequencer = lab.sequencer()
    lab.fill(TILE_WIDTH * 2 + 30, sequencer)
    reader = lab.reader()
    leaves = leaves_of(reader)
    head = reader.verified_head()
    assert head.root == merkle.subtree_root(leaves)
    for index in (0, 1, 255, 256, 300, 511, 512, 541):
        reader.inclusion(index).verify(leaves[index], lab.vkey)
    for tile in tiles_of(head.size):
        assert tile.level is not None
        data = reader.tile(tile.level, tile.index, tile.width)
        width = TILE_WIDTH**tile.level
        start = tile.index * TILE_WIDTH * width
        expected = [
            merkle.subtree_root(leaves[start + n * width : start + (n + 1) * width])
            for n in range(tile.width)
        ]
        assert data == b"".join(expected)
    with read(lab.engine) as conn:
        for size in (1, 2, 255, 256, 257, 511, 512, 513, 542):
            assert TreeHashes(conn).root(size) == merkle.subtree_root(leaves[:size])


def test_every_growth_is_proved_consistent(lab: Lab) -> None:
    lab.fill(21)
    reader = lab.reader()
    leaves = leaves_of(reader)
    for old, new in itertools.combinations_with_replacement(range(1, 22), 2):
        proof = reader.consistency(old, new)
        roots = merkle.subtree_root(leaves[:old]), merkle.subtree_root(leaves[:new])
        merkle.verify_consistency(old, new, proof, *roots)
    assert reader.consistency(7) == reader.consistency(7, 21)
    with pytest.raises(InputError):
        reader.consistency(0)
    with pytest.raises(NotFoundError):
        reader.consistency(7, 22)


def test_several_proofs_can_share_a_checkpoint_while_the_log_grows(lab: Lab) -> None:
    sequencer = lab.sequencer()
    lab.fill(5, sequencer)
    reader = lab.reader()
    head = reader.head()
    sequencer.submit(lab.generation())
    proofs = [reader.inclusion(index, size=head.size) for index in range(5)]
    assert {proof.checkpoint for proof in proofs} == {head.note}
    for proof, leaf in zip(proofs, leaves_of(reader), strict=False):
        proof.verify(leaf, lab.vkey)
    assert reader.inclusion(0).checkpoint != head.note
    with pytest.raises(NotFoundError):
        reader.inclusion(5, size=head.size)
    with pytest.raises(NotFoundError) as error:
        lab.reader().inclusion(0, size=head.size)
    assert error.value.code == "log.no-checkpoint"


def test_what_the_reader_gives_verifies_offline(lab: Lab) -> None:
    lab.fill(7)
    reader = lab.reader()

    def item(index: int) -> EvidenceItem:
        entry = LogEntry.parse(reader.entry(index))
        return EvidenceItem(reader.envelope(index), entry, reader.inclusion(index))

    data = build_evidence(item(4), [item(0)], [])
    report = verify_evidence(data, log_vkey=str(lab.vkey))
    assert report.ok, report


def test_a_bundle_holds_the_entries_as_hashed(lab: Lab) -> None:
    lab.fill(30)
    reader = lab.reader()
    entries = [entry for _, entry, _ in reader.records()]
    assert decode_bundle(reader.bundle(0, 30)) == entries
    assert decode_bundle(reader.bundle(0, 7)) == entries[:7]


@pytest.mark.parametrize(("level", "index", "width"), [(0, 0, 31), (0, 1, 1), (1, 0, 1)])
def test_tiles_past_the_end_are_not_there(lab: Lab, level: int, index: int, width: int) -> None:
    lab.fill(30)
    with pytest.raises(NotFoundError):
        lab.reader().tile(level, index, width)
    with pytest.raises(NotFoundError):
        lab.reader().bundle(index + (level > 0), width)


def test_records_are_found_by_leaf_hash_and_by_payload(lab: Lab) -> None:
    lab.fill(9)
    reader = lab.reader()
    for index, entry, envelope in reader.records():
        parsed = LogEntry.parse(entry)
        assert reader.index_of(parsed.leaf_hash()) == index
        assert reader.index_of(bytes.fromhex(parsed.payload_sha256)) == index
        assert reader.envelope(parsed.envelope_sha256) == envelope == reader.envelope(index)


def test_records_can_be_read_from_any_index_on(lab: Lab) -> None:
    lab.fill(9)
    assert [index for index, _, _ in lab.reader().records(first=6)] == [6, 7, 8]
    assert list(lab.reader().records(first=9)) == []


@pytest.mark.parametrize("index", [-1, 3, 10**9])
def test_an_index_past_the_end_is_not_found(lab: Lab, index: int) -> None:
    lab.fill(3)
    reader = lab.reader()
    for use in (reader.entry, reader.envelope, reader.envelope_bytes, reader.inclusion):
        with pytest.raises(NotFoundError) as error:
            use(index)
        assert error.value.code == "log.no-index"
    with pytest.raises(NotFoundError):
        reader.index_of(bytes(32))
    with pytest.raises(NotFoundError):
        reader.envelope("00" * 32)


def test_an_empty_log_says_so(lab: Lab) -> None:
    reader = lab.reader()
    for use in (reader.head, reader.verified_head, reader.checkpoint, reader.trust):
        with pytest.raises(NotFoundError) as error:
            use()  # type: ignore[operator]
        assert error.value.code == "log.empty"
    assert list(reader.records()) == []


def test_a_head_under_another_key_is_refused(lab: Lab) -> None:
    lab.fill(3)
    other = Lab(lab.root / "other")
    with pytest.raises(IntegrityError) as error:
        LogReader(lab.engine, ORIGIN, other.vkey).verified_head()
    assert error.value.code == "note.unsigned"


def test_a_head_that_its_checkpoint_does_not_sign_is_refused(lab: Lab) -> None:
    sequencer = lab.sequencer()
    lab.fill(3, sequencer)
    note = lab.reader().head().note
    sequencer.submit(lab.generation())
    lab.tamper(f"UPDATE log_head SET checkpoint = x'{note.hex()}'")
    with pytest.raises(IntegrityError) as error:
        lab.reader().verified_head()
    assert error.value.code == "log.head-altered"
    assert checkpoints.verify(note, lab.vkey).size == 3
