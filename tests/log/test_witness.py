"""A witness remembers before it signs, and signs one history; cosignatures are kept as said."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.core import checkpoints, merkle
from registry.core.checkpoints import Checkpoint
from registry.core.cosignatures import CosignerKey
from registry.core.notes import NoteSignature, SignedNote, VerifierKey
from registry.errors import ConflictError, IntegrityError, RollbackError
from registry.log import cosigned
from registry.log.witness import Witnessed, WitnessLedger
from registry.store.transaction import read, write
from tests.log.conftest import Lab, in_threads

OTHER = "other.example/log"
LEAVES = [merkle.leaf_hash(b"%d" % n) for n in range(40)]


def private(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def witness(number: int) -> CosignerKey:
    return CosignerKey(f"w{number}.example", private(number).public_key().public_bytes_raw())


def of(size: int, leaves: list[bytes] = LEAVES) -> Witnessed:
    key = VerifierKey(OTHER, private(99).public_key().public_bytes_raw())
    root = merkle.subtree_root(leaves[:size])
    return Witnessed.of(checkpoints.sign(Checkpoint(OTHER, size, root), key, private(99).sign))


def proof(old: int, new: int, leaves: list[bytes] = LEAVES) -> list[bytes]:
    def node(level: int, index: int) -> bytes:
        return merkle.subtree_root(leaves[index << level : (index + 1) << level])

    return merkle.consistency_proof(old, new, node)


def forked(number: int) -> list[bytes]:
    """Return another history that shares its first five leaves with `LEAVES`."""
    return LEAVES[:5] + [merkle.leaf_hash(b"%d of %d" % (n, number)) for n in range(40)]


def sign(text: str) -> NoteSignature:
    return witness(1).cosign(text, 1_700_000_000, private(1).sign)


@pytest.fixture
def ledger(lab: Lab, tmp_path: Path) -> WitnessLedger:
    """An empty memory of a witness, in a database and a folder."""
    return WitnessLedger(lab.engine, tmp_path / "witnessed")


def test_what_was_cosigned_is_remembered(ledger: WitnessLedger) -> None:
    assert ledger.last(OTHER) is None
    line = ledger.advance(None, of(5), [], sign)
    assert witness(1).verify(SignedNote.parse(of(5).note).text, line.sig)
    assert ledger.last(OTHER) == of(5)
    ledger.advance(of(5), of(9), proof(5, 9), sign)
    ledger.advance(of(9), of(9), [], sign)
    assert ledger.last(OTHER) == of(9)
    assert ledger.all() == [of(9)]
    assert ledger.last("another.example/log") is None


@pytest.mark.parametrize(
    ("new", "path", "code"),
    [
        (of(4), [], "witness.rolled-back"),
        (of(5, LEAVES[1:]), [], "witness.forked"),
        (of(9, LEAVES[1:]), proof(5, 9, LEAVES[1:]), "proof.invalid"),
        (of(9), [], "proof.invalid"),
    ],
)
def test_another_history_is_neither_signed_nor_remembered(
    ledger: WitnessLedger, new: Witnessed, path: list[bytes], code: str
) -> None:
    ledger.advance(None, of(5), [], sign)
    with pytest.raises(IntegrityError) as refused:
        ledger.advance(of(5), new, path, must_not_sign)
    assert refused.value.code == code
    assert ledger.last(OTHER) == of(5)


def must_not_sign(text: str) -> NoteSignature:
    raise AssertionError(f"signed {text!r}")


@pytest.mark.parametrize("claimed", [None, of(3)])
def test_who_looked_at_an_older_state_must_look_again(
    ledger: WitnessLedger, claimed: Witnessed | None
) -> None:
    ledger.advance(None, of(5), [], sign)
    path = proof(3, 9) if claimed else []
    with pytest.raises(ConflictError) as moved:
        ledger.advance(claimed, of(9), path, must_not_sign)
    assert moved.value.code == "witness.moved"
    assert ledger.last(OTHER) == of(5)


def test_of_many_forks_at_once_only_one_is_signed(ledger: WitnessLedger) -> None:
    ledger.advance(None, of(5), [], sign)
    start = threading.Barrier(8)

    def cosign(number: int) -> NoteSignature:
        start.wait()
        leaves = forked(number)
        return ledger.advance(of(5), of(9, leaves), proof(5, 9, leaves), sign)

    answers = in_threads(cosign, range(8), 8, errors=True)
    signed = [n for n, answer in enumerate(answers) if isinstance(answer, NoteSignature)]
    assert len(signed) == 1
    assert all(isinstance(answers[n], ConflictError) for n in range(8) if n not in signed)
    assert ledger.last(OTHER) == of(9, forked(signed[0]))


def test_nothing_is_remembered_of_what_could_not_be_signed(ledger: WitnessLedger) -> None:
    def broken(_: str) -> NoteSignature:
        raise OSError("the token was pulled")

    with pytest.raises(OSError, match="pulled"):
        ledger.advance(None, of(5), [], broken)
    assert ledger.last(OTHER) is None
    ledger.advance(None, of(5, forked(1)), [], sign)


def test_a_database_restored_from_a_backup_does_not_make_a_witness_forget(
    lab: Lab, ledger: WitnessLedger
) -> None:
    ledger.advance(None, of(5), [], sign)
    ledger.advance(of(5), of(9), proof(5, 9), sign)
    with write(lab.engine) as conn:
        conn.exec_driver_sql("UPDATE witnessed_logs SET size = 5, note = ?", (of(5).note,))
    assert ledger.last(OTHER) == of(9)
    fork = forked(1)
    with pytest.raises(ConflictError):
        ledger.advance(of(5), of(20, fork), proof(5, 20, fork), must_not_sign)
    ledger.advance(of(9), of(20), proof(9, 20), sign)
    with read(lab.engine) as conn:
        assert conn.exec_driver_sql("SELECT size FROM witnessed_logs").scalar() == 20


@pytest.mark.parametrize("content", [b"no note", of(5, LEAVES[1:]).note])
def test_a_file_that_contradicts_the_database_stops_the_witness(
    ledger: WitnessLedger, tmp_path: Path, content: bytes
) -> None:
    ledger.advance(None, of(5), [], sign)
    (file,) = (tmp_path / "witnessed").glob("*.checkpoint")
    file.write_bytes(content)
    with pytest.raises(IntegrityError) as refused:
        ledger.advance(of(5), of(9), proof(5, 9), must_not_sign)
    assert refused.value.code == "witness.state"


def head_with(lab: Lab, *numbers: int, time_s: int = 1_700_000_000) -> SignedNote:
    """Return the log's newest checkpoint with cosignatures of these witnesses."""
    note = SignedNote.parse(lab.reader().checkpoint())
    lines = (witness(n).cosign(note.text, time_s, private(n).sign) for n in numbers)
    return SignedNote(note.text, (*note.signatures, *lines))


def kept(lab: Lab, size: int, *numbers: int) -> list[tuple[str, int]]:
    with read(lab.engine) as conn:
        found = cosigned.kept(conn, size, [witness(n) for n in numbers])
    return [(one.key.name, one.time_s) for one in found[1]] if found else []


def test_cosignatures_by_known_witnesses_are_kept(lab: Lab) -> None:
    lab.fill(3)
    note = head_with(lab, 1, 2, 3)
    found = cosigned.keep(lab.reader(), note, [witness(1), witness(2)])
    assert [one.key for one in found] == [witness(1), witness(2)]
    assert kept(lab, 3, 1, 2, 3) == [("w1.example", 1_700_000_000), ("w2.example", 1_700_000_000)]
    assert kept(lab, 3, 2) == [("w2.example", 1_700_000_000)]
    assert kept(lab, 2, 1, 2) == []


def test_what_was_kept_first_stays_and_what_comes_later_joins_it(lab: Lab) -> None:
    lab.fill(2)
    both = [witness(1), witness(2)]
    cosigned.keep(lab.reader(), head_with(lab, 1, time_s=10), both)
    cosigned.keep(lab.reader(), head_with(lab, 1, 2, time_s=20), both)
    assert kept(lab, 2, 1, 2) == [("w1.example", 10), ("w2.example", 20)]


def test_a_forged_cosignature_is_left_out(lab: Lab) -> None:
    lab.fill(2)
    note = head_with(lab, 1)
    forged = NoteSignature(witness(2).name, witness(2).key_id, note.signatures[-1].sig)
    mixed = SignedNote(note.text, (*note.signatures, forged))
    found = cosigned.keep(lab.reader(), mixed, [witness(1), witness(2)])
    assert [one.key for one in found] == [witness(1)]
    assert kept(lab, 2, 1, 2) == [("w1.example", 1_700_000_000)]


def test_a_row_that_was_put_into_the_database_does_not_count(lab: Lab) -> None:
    lab.fill(2)
    cosigned.keep(lab.reader(), head_with(lab, 1), [witness(1)])
    row = (2, witness(2).name, witness(2).key_id, 1, bytes(72), head_with(lab, 1).to_bytes())
    with write(lab.engine) as conn:
        conn.exec_driver_sql("INSERT INTO cosignatures VALUES (?, ?, ?, ?, ?, ?)", row)
    assert kept(lab, 2, 1, 2) == [("w1.example", 1_700_000_000)]


def test_cosignatures_of_other_trees_show_what_the_log_has_forgotten_or_rewritten(
    lab: Lab, tmp_path: Path
) -> None:
    lab.fill(3)
    before = head_with(lab, 1)
    fresh = Lab(tmp_path / "restored")
    fresh.signers, fresh.vkey = lab.signers, lab.vkey
    fresh.log_signer = lab.log_signer  # type: ignore[method-assign]  # the same log, emptied
    fresh.fill(2)
    with pytest.raises(RollbackError) as gone:
        cosigned.keep(fresh.reader(), before, [witness(1)])
    assert gone.value.code == "log.rolled-back"
    fresh.sequencer().submit(fresh.generation())
    with pytest.raises(RollbackError) as other:
        cosigned.keep(fresh.reader(), before, [witness(1)])
    assert other.value.code == "log.forked"
    assert kept(fresh, 3, 1) == []


def test_a_checkpoint_that_the_log_did_not_sign_is_not_kept(lab: Lab) -> None:
    lab.fill(2)
    note = head_with(lab, 1)
    with pytest.raises(IntegrityError) as refused:
        cosigned.keep(lab.reader(), SignedNote(note.text, note.signatures[1:]), [witness(1)])
    assert refused.value.code == "note.unsigned"
    assert kept(lab, 2, 1) == []


def test_sizes_are_those_that_enough_witnesses_cosigned(lab: Lab) -> None:
    sequencer = lab.sequencer()
    lab.fill(2, sequencer)
    all_three = [witness(n) for n in (1, 2, 3)]
    cosigned.keep(lab.reader(), head_with(lab, 1, 2), all_three)
    sequencer.submit(lab.generation())
    cosigned.keep(lab.reader(), head_with(lab, 3), all_three)
    with read(lab.engine) as conn:
        assert cosigned.sizes(conn, all_three) == [3, 2]
        assert cosigned.sizes(conn, all_three, 2) == [2]
        assert cosigned.sizes(conn, all_three, 3) == []
        assert cosigned.sizes(conn, all_three[:1]) == [2]
        assert cosigned.sizes(conn, []) == []
        assert cosigned.newest_of(conn, witness(3)) == (3, 1_700_000_000)
        assert cosigned.newest_of(conn, witness(4)) is None
