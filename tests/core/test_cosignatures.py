"""Cosignatures, notes with many signatures, requests to witnesses, and trees from tiles."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from registry.core import checkpoints, merkle, notes
from registry.core.checkpoints import Checkpoint
from registry.core.cosignatures import CosignerKey, time_of, verified
from registry.core.notes import NoteSignature, SignedNote, VerifierKey
from registry.core.tiles import TILE_WIDTH, Tile, TileHashes
from registry.core.witnessing import AddCheckpoint, check_growth, parse_size
from registry.errors import FormatError, IntegrityError, NotFoundError

# A checkpoint of a public log (Certificate Transparency, arche2025h1, staging) with the signatures
# of its log and of four public witnesses, as it was served.
PUBLIC = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
""".encode()  # noqa: E501  # verbatim
PUBLIC_LOG = (
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
)
PUBLIC_WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
PUBLIC_TIME_S = 1_779_573_024

TEXT = "log.example/1\n7\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
LEAVES = tuple(merkle.leaf_hash(n.to_bytes(4, "big")) for n in range(70_000))


def private(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def witness(number: int, name: str = "witness.example/w1") -> CosignerKey:
    return CosignerKey(name, private(number).public_key().public_bytes_raw())


def line(number: int, time_s: int = 1_700_000_000, text: str = TEXT) -> NoteSignature:
    return witness(number).cosign(text, time_s, private(number).sign)


def log_key() -> VerifierKey:
    return VerifierKey("log.example/1", private(9).public_key().public_bytes_raw())


def log_line(text: str = TEXT) -> NoteSignature:
    return log_key().sign(text, private(9).sign)


def test_a_public_checkpoint_verifies_under_its_log_and_its_witness() -> None:
    note = SignedNote.parse(PUBLIC)
    key = CosignerKey.parse(PUBLIC_WITNESS)
    assert str(key) == PUBLIC_WITNESS
    assert checkpoints.verify(PUBLIC, PUBLIC_LOG).size == 1_432_088_532
    (found,) = verified(note, [key])
    assert (found.key, found.time_s) == (key, PUBLIC_TIME_S)
    assert notes.verify(note, key) == (key,)


def test_signatures_of_unknown_types_and_keys_are_kept_in_order_and_byte_for_byte() -> None:
    note = SignedNote.parse(PUBLIC)
    assert [len(s.sig) for s in note.signatures] == [82, 64, 72, 72, 72, 72]
    assert note.to_bytes() == PUBLIC
    again = SignedNote(note.text, tuple(reversed(note.signatures)))
    assert SignedNote.parse(again.to_bytes()) == again
    assert verified(again, [CosignerKey.parse(PUBLIC_WITNESS)])


def test_a_cosignature_has_the_bytes_of_the_specification() -> None:
    made = line(1, 1_679_315_147)
    assert made.sig[:8] == (1_679_315_147).to_bytes(8, "big")
    message = ("cosignature/v1\ntime 1679315147\n" + TEXT).encode()
    private(1).public_key().verify(made.sig[8:], message)
    assert time_of(made.sig) == 1_679_315_147
    assert str(made) == (
        "— witness.example/w1 " + base64.b64encode(made.key_id + made.sig).decode() + "\n"
    )


def test_the_same_key_has_another_id_as_a_witness_than_as_a_log() -> None:
    public = witness(1).public
    assert witness(1).key_id != VerifierKey("witness.example/w1", public).key_id
    with pytest.raises(FormatError):
        CosignerKey.parse(str(VerifierKey("witness.example/w1", public)))
    with pytest.raises(FormatError):
        VerifierKey.parse(str(witness(1)))
    assert CosignerKey.parse(str(witness(1))) == witness(1)


@pytest.mark.parametrize("at", [0, 7, 8, 71])
def test_every_part_of_a_cosignature_is_signed(at: int) -> None:
    sig = bytearray(line(1).sig)
    sig[at] ^= 1
    bad = NoteSignature(witness(1).name, witness(1).key_id, bytes(sig))
    assert verified(SignedNote(TEXT, (bad,)), [witness(1)]) == ()


@pytest.mark.parametrize(
    "sig", [b"", bytes(64), bytes(71), bytes(73), b"\xff" * 72], ids=lambda s: str(len(s))
)
def test_a_cosignature_of_another_shape_is_refused(sig: bytes) -> None:
    assert not witness(1).verify(TEXT, sig)
    with pytest.raises(FormatError):
        time_of(sig)


@pytest.mark.parametrize("time_s", [-1, 2**63])
def test_no_cosignature_is_made_at_an_impossible_time(time_s: int) -> None:
    with pytest.raises(FormatError):
        line(1, time_s)


def test_a_cosignature_covers_extension_lines_and_no_other_text() -> None:
    extended = TEXT + "extension\n"
    assert verified(SignedNote(extended, (line(1, text=extended),)), [witness(1)])
    assert not verified(SignedNote(extended, (line(1),)), [witness(1)])


def test_a_witness_that_signed_twice_counts_once_with_its_newest_time() -> None:
    note = SignedNote(TEXT, (line(1, 10), line(2, 11), line(1, 30), line(1, 20), log_line()))
    found = verified(note, [witness(1), witness(2), witness(3)])
    assert [(c.key, c.time_s) for c in found] == [(witness(1), 30), (witness(2), 11)]


def test_one_witness_cannot_spoil_what_another_said() -> None:
    forged = NoteSignature(witness(2).name, witness(2).key_id, line(1).sig)
    note = SignedNote(TEXT, (forged, line(1)))
    assert [c.key for c in verified(note, [witness(1), witness(2)])] == [witness(1)]


def test_signature_lines_can_be_read_without_their_note() -> None:
    both = (line(1), line(2))
    assert notes.parse_signatures("".join(map(str, both)).encode()) == both
    for bad in (b"", b"\n", str(line(1)).encode()[:-1], str(line(1)).encode() + b"\n", b"x\n"):
        with pytest.raises(FormatError):
            notes.parse_signatures(bad)
    with pytest.raises(FormatError):
        notes.parse_signatures(str(line(1)).encode() * (notes.MAX_NOTE_SIGNATURES + 1))


hashes = st.binary(min_size=32, max_size=32)


@given(st.integers(0, 2**53 - 1), st.lists(hashes, max_size=63))
def test_a_request_to_a_witness_reads_back(old: int, proof: list[bytes]) -> None:
    request = AddCheckpoint(old, tuple(proof), PUBLIC)
    assert AddCheckpoint.parse(request.to_bytes()) == request


def test_a_request_has_the_lines_of_the_specification() -> None:
    proof = (bytes(32), b"\1" * 32)
    expected = "old 20852014\n" + "A" * 43 + "=\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\n"
    assert AddCheckpoint(20_852_014, proof, PUBLIC).to_bytes() == expected.encode() + PUBLIC
    assert AddCheckpoint(0, (), PUBLIC).to_bytes() == b"old 0\n\n" + PUBLIC


@pytest.mark.parametrize(
    "change",
    [
        lambda d: b"",
        lambda d: d.replace(b"old 5\n", b""),
        lambda d: d.replace(b"old 5", b"old 05"),
        lambda d: d.replace(b"old 5", b"old +5"),
        lambda d: d.replace(b"old 5", b"old 9" + b"9" * 16),
        lambda d: d.replace(b"old 5", b"Old 5"),
        lambda d: d.replace(b"old 5", b"old 5\r"),
        lambda d: d.replace(b"old 5", b"old \xd9\xa5"),
        lambda d: d.replace(b"AAA=\n", b"AAB=\n"),
        lambda d: d.replace(b"AAA=\n", b"AAA\n"),
        lambda d: d.replace(b"AAA=\n", b"\n"),
        lambda d: d.replace(b"A" * 43 + b"=\n", (b"A" * 43 + b"=\n") * 64),
        lambda d: d.replace(b"\n\n", b"\n"),
        lambda d: d[: d.index(b"\n\n") + 2],
        lambda d: d + b"x" * notes.MAX_NOTE_BYTES,
    ],
)
def test_a_malformed_request_is_refused(change: Callable[[bytes], bytes]) -> None:
    good = AddCheckpoint(5, (bytes(32),), b"note").to_bytes()
    assert change(good) != good
    with pytest.raises(FormatError) as refused:
        AddCheckpoint.parse(change(good))
    assert refused.value.code == "witness.request"


def test_a_size_is_one_number_on_a_line() -> None:
    assert parse_size(b"20852163\n") == 20_852_163
    for bad in (b"", b"1", b"01\n", b"-1\n", b"1\n\n", b" 1\n", b"1" * 17 + b"\n"):
        with pytest.raises(FormatError):
            parse_size(bad)


def tree(size: int, leaves: tuple[bytes, ...] = LEAVES) -> Checkpoint:
    return Checkpoint("log.example/1", size, merkle.Frontier().extend(leaves[:size]).root())


def proof_of(old: int, new: int) -> list[bytes]:
    def node(level: int, index: int) -> bytes:
        return merkle.subtree_root(LEAVES[index << level : (index + 1) << level])

    return merkle.consistency_proof(old, new, node)


def code_of(last: Checkpoint | None, new: Checkpoint, proof: list[bytes]) -> str:
    with pytest.raises(IntegrityError) as refused:
        check_growth(last, new, proof)
    return refused.value.code


def test_a_witness_accepts_what_goes_on_and_the_same_again() -> None:
    check_growth(None, tree(5), [])
    check_growth(tree(0), tree(5), [])
    check_growth(tree(5), tree(5), [])
    check_growth(tree(5), tree(9), proof_of(5, 9))


def test_a_witness_refuses_forks_and_roll_backs() -> None:
    other = tree(5, LEAVES[1:])
    assert code_of(tree(5), other, []) == "witness.forked"
    assert code_of(tree(5), tree(4), []) == "witness.rolled-back"
    assert code_of(tree(5), tree(0), []) == "witness.rolled-back"
    assert code_of(other, tree(9), proof_of(5, 9)) == "proof.invalid"
    assert code_of(tree(5), tree(9), []) == "proof.invalid"
    assert code_of(tree(5), tree(9), proof_of(4, 9)) == "proof.invalid"


def test_a_proof_where_none_is_due_is_refused() -> None:
    assert code_of(None, tree(5), [bytes(32)]) == "proof.invalid"
    assert code_of(tree(0), tree(5), [bytes(32)]) == "proof.invalid"
    assert code_of(tree(5), tree(5), [bytes(32)]) == "proof.invalid"
    assert code_of(None, Checkpoint("log.example/1", 0, bytes(32)), []) == "proof.invalid"


class Tiles:
    """The tiles of `LEAVES`, and what was asked of them."""

    def __init__(self, *, partial: bool = True) -> None:
        self.partial = partial
        self.asked: list[Tile] = []

    def __call__(self, tile: Tile) -> bytes:
        assert tile.level is not None
        self.asked.append(tile)
        if tile.width < TILE_WIDTH and not self.partial:
            raise NotFoundError(tile.path)
        span = TILE_WIDTH**tile.level
        starts = range(tile.index * TILE_WIDTH * span, len(LEAVES), span)
        rows = [LEAVES[s : s + span] for s in starts[: tile.width]]
        return b"".join(merkle.subtree_root(row) for row in rows if len(row) == span)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 700, 65_536, 65_537, 70_000])
def test_roots_and_proofs_come_from_tiles(size: int) -> None:
    root = tree(size).root
    fetch = Tiles()
    found = TileHashes(size, fetch)
    assert found.root() == root
    assert found.root() == root
    assert len(fetch.asked) == len(set(fetch.asked)), "a tile was fetched twice"
    for old in {1, size // 2, size - 1, size} - {0}:
        proof = merkle.consistency_proof(old, size, found.node)
        merkle.verify_consistency(old, size, proof, tree(old).root, root)
        assert found.root(old) == tree(old).root


def test_a_full_tile_stands_in_for_a_partial_one_that_is_gone() -> None:
    assert TileHashes(300, Tiles(partial=False)).root() == tree(300).root
    with pytest.raises(NotFoundError):
        TileHashes(512, lambda tile: Tiles(partial=False)(Tile(tile.level, tile.index, 5))).root()


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + bytes(32), lambda d: b""])
def test_a_tile_of_another_length_is_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FormatError) as refused:
        TileHashes(300, lambda tile: change(Tiles()(tile))).root()
    assert refused.value.code == "tile.invalid"
