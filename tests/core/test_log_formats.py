"""Entries, notes, checkpoints, tiles and proofs: the log's text and binary forms."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from registry.core import checkpoints, merkle, notes, tiles, times
from registry.core.checkpoints import Checkpoint
from registry.core.entries import MAX_ENTRY_BYTES, LogEntry
from registry.core.notes import SignedNote, VerifierKey
from registry.core.proofs import TlogProof
from registry.core.tiles import Tile
from registry.errors import FormatError, InputError, IntegrityError

HEX_A, HEX_B = "0a" * 32, "0b" * 32
ENTRY = LogEntry(1_795_172_820_000, HEX_A, HEX_B)
hashes = st.binary(min_size=32, max_size=32)

# The example in the documentation of golang.org/x/mod/sumdb/note.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def signer(number: int, name: str) -> tuple[VerifierKey, Ed25519PrivateKey]:
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return VerifierKey(name, private.public_key().public_bytes_raw()), private


def note(text: str, *who: tuple[VerifierKey, Ed25519PrivateKey]) -> SignedNote:
    return SignedNote(text, tuple(key.sign(text, private.sign) for key, private in who))


@given(st.integers(0, times.MAX_TIME_MS), hashes, hashes)
def test_an_entry_is_canonical_json_and_reads_back(time_ms: int, a: bytes, b: bytes) -> None:
    entry = LogEntry(time_ms, a.hex(), b.hex())
    data = entry.to_bytes()
    assert data == rfc8785.dumps(
        {"v": 1, "time": times.format_time(time_ms), "payload": a.hex(), "envelope": b.hex()}
    )
    assert LogEntry.parse(data) == entry
    assert len(data) <= MAX_ENTRY_BYTES
    assert entry.leaf_hash() == hashlib.sha256(b"\0" + data).digest()
    assert entry.record_id == f"rec:{entry.leaf_hash().hex()}"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d + b"\n",
        lambda d: d.replace(b'":', b'": '),
        lambda d: d.replace(b"{", b"{ "),
        lambda d: d.replace(b'"v":1', b'"v":2'),
        lambda d: d.replace(b"11:07", b"25:07"),
        lambda d: d.replace(b"0a", b"0A"),
        lambda d: d.replace(b'"payload"', b'"Payload"'),
        lambda d: d.replace(b',"v":1', b""),
        lambda d: d.replace(b'"v":1', b'"v":1,"x":1'),
        lambda d: b"",
        lambda d: d * 8,
    ],
)
def test_other_spellings_of_an_entry_are_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FormatError):
        LogEntry.parse(change(ENTRY.to_bytes()))


def test_an_entry_names_whole_digests() -> None:
    with pytest.raises(InputError):
        LogEntry(0, HEX_A[:-1], HEX_B)


def test_a_note_made_by_go_verifies() -> None:
    key = VerifierKey.parse(NEUMANN)
    parsed = SignedNote.parse(NEUMANN_NOTE)
    assert notes.verify(parsed, key) == (key,)
    assert parsed.to_bytes() == NEUMANN_NOTE
    assert str(key) == NEUMANN


@given(st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), max_size=60))
def test_any_printable_text_can_be_signed(text: str) -> None:
    who = signer(1, "example.org/é")
    signed = note(text + "\n\n\n" + text + "\n", who)
    again = SignedNote.parse(signed.to_bytes())
    assert again == signed
    assert notes.verify(again, who[0]) == (who[0],)


def test_unknown_signers_are_ignored_and_known_ones_must_be_right() -> None:
    a, b, c = signer(1, "a"), signer(2, "b"), signer(3, "c")
    impostor = signer(4, "a")
    signed = SignedNote.parse(note("text\n", impostor, a, b).to_bytes())
    assert notes.verify(signed, a[0]) == (a[0],)
    assert notes.verify(signed, b[0], a[0], c[0]) == (a[0], b[0])
    with pytest.raises(IntegrityError) as unsigned:
        notes.verify(signed, c[0])
    assert unsigned.value.code == "note.unsigned"
    other = SignedNote("other text\n", signed.signatures)
    with pytest.raises(IntegrityError) as bad:
        notes.verify(other, a[0])
    assert bad.value.code == "note.bad-signature"
    half = SignedNote("text\n", (note("text\n", a).signatures[0], note("no\n", b).signatures[0]))
    with pytest.raises(IntegrityError):
        notes.verify(half, a[0], b[0])


def test_sixteen_long_signatures_fit() -> None:
    signatures = [notes.NoteSignature(f"w{n}", b"\0\0\0\1", bytes(5000)) for n in range(16)]
    who = signer(1, "a")
    whole = SignedNote("t\n", (*signatures, who[0].sign("t\n", who[1].sign)))
    assert notes.verify(SignedNote.parse(whole.to_bytes()), who[0]) == (who[0],)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        NEUMANN_NOTE[:-1],
        NEUMANN_NOTE + b"\n",
        NEUMANN_NOTE.replace(b"\n\n", b"\n"),
        NEUMANN_NOTE.replace("— ".encode(), b"- "),
        NEUMANN_NOTE.replace(b"PeterNeumann ", b"Peter Neumann "),
        NEUMANN_NOTE.replace(b"PeterNeumann ", b"Peter+Neumann "),
        NEUMANN_NOTE.replace(b"PeterNeumann ", b" "),
        NEUMANN_NOTE.replace(b"nAM=", b"nAM"),
        NEUMANN_NOTE.replace(b"nAM=", b"nAN="),
        NEUMANN_NOTE.replace(b"If you", b"If\tyou"),
        NEUMANN_NOTE.replace(b"If you", b"If\xffyou"),
        NEUMANN_NOTE.replace(b"\n", b"\r\n"),
        "t\n\n— a AAAAAA==\n".encode(),
        b"x" * (notes.MAX_NOTE_BYTES + 1),
    ],
)
def test_a_malformed_note_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        SignedNote.parse(data)


@pytest.mark.parametrize("text", ["no newline", "tab\t\n", "cr\r\n", "nul\0\n"])
def test_a_text_unfit_for_a_note_is_not_written(text: str) -> None:
    with pytest.raises(FormatError):
        note(text, signer(1, "a")).to_bytes()
    with pytest.raises(FormatError):
        SignedNote("text\n", ()).to_bytes()


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        NEUMANN.replace("c74f20a3", "c74f20a4"),
        NEUMANN.replace("PeterNeumann", "Peter Neumann"),
        NEUMANN.replace("+ARpc", "+BRpc"),
        NEUMANN.replace("10TW", "10T"),
        NEUMANN.replace("+c74f20a3", ""),
    ],
)
def test_a_malformed_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(FormatError):
        VerifierKey.parse(vkey)


@given(st.integers(0, 2**53 - 1), hashes)
def test_a_checkpoint_reads_back(size: int, root: bytes) -> None:
    key, private = signer(5, "log.example/1")
    head = Checkpoint("log.example/1", size, root, ("extension",))
    data = checkpoints.sign(head, str(key), private.sign)
    assert checkpoints.verify(data, str(key)) == head
    encoded = base64.b64encode(root).decode()
    assert data.decode().startswith(
        f"log.example/1\n{size}\n{encoded}\nextension\n\n— log.example/1 "
    )


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n",
        "o\n1\nAAAA\n",
        "o\n01\n" + "A" * 43 + "=\n",
        "o\n-1\n" + "A" * 43 + "=\n",
        "o\n+1\n" + "A" * 43 + "=\n",
        "o\n9007199254740992\n" + "A" * 43 + "=\n",
        "o\n1\n" + "A" * 42 + "B=\n",
        "\n1\n" + "A" * 43 + "=\n",
        "o\n1\n" + "A" * 43 + "=\n\n",
        "o\n1\n" + "A" * 43 + "=\n\nx\n",
        "o\n1\n" + "A" * 43 + "=",
    ],
)
def test_a_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Checkpoint.parse_text(text)


def test_a_checkpoint_counts_only_under_its_own_origin() -> None:
    key, private = signer(5, "log.example/1")
    root = bytes(32)
    with pytest.raises(FormatError):
        checkpoints.sign(Checkpoint("other", 1, root), key, private.sign)
    foreign = note(Checkpoint("other", 1, root).to_text(), (key, private)).to_bytes()
    with pytest.raises(IntegrityError) as refused:
        checkpoints.verify(foreign, key)
    assert refused.value.code == "checkpoint.origin"
    good = checkpoints.sign(Checkpoint(key.name, 1, root), key, private.sign)
    with pytest.raises(IntegrityError):
        checkpoints.verify(good.replace(b"\n1\n", b"\n2\n"), key)
    with pytest.raises(IntegrityError):
        checkpoints.verify(good, signer(6, "log.example/1")[0])


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(1, 999, 17), "tile/1/999.p/17"),
        (Tile(2, 1000, 1), "tile/2/x001/000.p/1"),
        (Tile(63, 0, 255), "tile/63/000.p/255"),
        (Tile(None, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_tile_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tiles.tile_path(tile.level, tile.index, tile.width) == path
    assert tiles.parse_tile_path(path) == tile


@given(st.none() | st.integers(0, 63), st.integers(0, 2**45), st.integers(1, 256))
def test_tile_paths_round_trip(level: int | None, index: int, width: int) -> None:
    assert tiles.parse_tile_path(tiles.tile_path(level, index, width)) == Tile(level, index, width)


@pytest.mark.parametrize(
    "path",
    [
        "tile/64/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "/tile/0/000",
        "tile/0/../000",
        "tile/0/000\n",
        "tile/0/\u0660\u0660\u0660",
        f"tile/0/{'x001/' * 6}000",
        f"tile/0/{'x001/' * 2000}000",
    ],
)
def test_other_tile_paths_are_refused(path: str) -> None:
    with pytest.raises(FormatError):
        tiles.parse_tile_path(path)


@pytest.mark.parametrize("arguments", [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_impossible_tiles_have_no_path(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(InputError):
        tiles.tile_path(*arguments)


def test_a_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    found = list(tiles.tiles_of(70_000))
    partial = [tile for tile in found if tile.width < tiles.TILE_WIDTH]
    assert partial == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert len(found) == 273 + 1 + 1 + 1 + 1
    assert list(tiles.tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles.tiles_of(0)) == []


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(entries)) == entries


def test_bundle_lengths_are_big_endian() -> None:
    assert tiles.encode_bundle([b"a" * 258]) == b"\x01\x02" + b"a" * 258


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\0\2a", b"\0\0" * 257])
def test_a_cut_or_overfull_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        tiles.decode_bundle(data)


@pytest.mark.parametrize("entries", [[], [b""] * 257, [bytes(2**16)]])
def test_what_does_not_fit_a_bundle_is_refused(entries: list[bytes]) -> None:
    with pytest.raises(InputError):
        tiles.encode_bundle(entries)


@given(
    st.integers(0, 2**53 - 2),
    st.lists(hashes, max_size=53),
    st.none() | st.binary(min_size=1, max_size=50),
)
def test_a_proof_reads_back(index: int, path: list[bytes], extra: bytes | None) -> None:
    proof = TlogProof(index, tuple(path), NEUMANN_NOTE, extra)
    assert TlogProof.parse(proof.to_bytes()) == proof


def test_a_proof_has_the_lines_of_the_specification() -> None:
    proof = TlogProof(7, (bytes(32),), b"checkpoint\n", b"\1")
    assert proof.to_bytes() == (
        b"c2sp.org/tlog-proof@v1\nextra AQ==\nindex 7\n" + b"A" * 43 + b"=\n\ncheckpoint\n"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.replace(b"@v1", b"@v2"),
        lambda d: d.replace(b"index 7", b"index 07"),
        lambda d: d.replace(b"index 7\n", b""),
        lambda d: d.replace(b"index 7", b"index -7"),
        lambda d: d.replace(b"index 7", b"index 9007199254740992"),
        lambda d: d.replace(b"AAA=\n", b"AAA\n"),
        lambda d: d.replace(b"AAA=\n", b"AAAA=\n"),
        lambda d: d.replace(b"extra AQ==", b"extra "),
        lambda d: d.replace(b"extra AQ==", b"extra AR=="),
        lambda d: d.replace(b"\n\n", b"\n"),
        lambda d: d.replace(b"checkpoint\n", b""),
        lambda d: d.replace(b"index", b"ind\xc3\xa9x"),
        lambda d: d.replace(b"A" * 43 + b"=\n", (b"A" * 43 + b"=\n") * 65),
        lambda d: d + b" " * 10**6,
    ],
)
def test_a_malformed_proof_is_refused(change: Callable[[bytes], bytes]) -> None:
    good = TlogProof(7, (bytes(32),), b"checkpoint\n", b"\1").to_bytes()
    assert change(good) != good
    with pytest.raises(FormatError) as refused:
        TlogProof.parse(change(good))
    assert refused.value.code == "proof.format"


def test_a_proof_commits_to_its_leaf_only(book: Any) -> None:
    for _ in range(4):
        book.add(book.taint(), book.maker)
    item = book.item(3)
    leaf = book.leaves[3]
    assert item.proof.verify(leaf, book.vkey).size == 5
    with pytest.raises(IntegrityError):
        item.proof.verify(book.leaves[2], book.vkey)
    with pytest.raises(IntegrityError):
        TlogProof(2, item.proof.hashes, item.proof.checkpoint).verify(leaf, book.vkey)
    with pytest.raises(IntegrityError):
        item.proof.verify(merkle.leaf_hash(b""), book.vkey)


@pytest.mark.parametrize("name", ["log\udc80", "\ud800", "log\u2028x", "log x", "a+b", ""])
def test_a_key_name_that_cannot_stand_in_a_note_is_refused(name: str) -> None:
    key, _ = signer(1, "log.example/1")
    with pytest.raises(FormatError) as refused:
        VerifierKey(name, key.public)
    assert refused.value.code == "vkey.invalid"
