"""What was acknowledged is in the log, once, at the index that was told."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text

from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, pae
from registry.core.entries import LogEntry
from registry.core.fingerprint import FingerprintValue
from registry.core.generation import Blob, Sealed
from registry.errors import (
    ConflictError,
    ErasedError,
    FormatError,
    GenopsError,
    HomeError,
    InputError,
    SchemaError,
    TrustError,
)
from registry.log.sequencer import OUTBOX_TARGETS, Sequencer
from registry.log.submission import Accepted, LogReceipt, Submission
from registry.settings import Limits
from registry.signing.sealing import decrypt, encrypt
from registry.store.sidecar_tables import BlobRow, FingerprintRow, OutboxRow, SealedRow
from registry.store.transaction import READ_ONLY, read
from registry.store.types import table_of
from tests.log.conftest import START_MS, Lab, generation_of, in_threads

pytestmark = pytest.mark.both_databases

KEY = bytes(range(32))


def rows(lab: Lab, model: type) -> list[tuple[object, ...]]:
    with read(lab.engine) as conn:
        return [tuple(row) for row in conn.execute(select(table_of(model)))]


def refused(lab: Lab, sequencer: Sequencer, submission: Submission) -> GenopsError:
    """Submit what must be refused; return the error, and see that nothing was written."""
    before = lab.size()
    with pytest.raises(GenopsError) as error:
        sequencer.submit(submission)
    assert lab.size() == before
    return error.value


def test_a_receipt_names_the_leaf_that_the_log_holds(lab: Lab, sequencer: Sequencer) -> None:
    submission = lab.generation()
    receipt = sequencer.submit(submission)
    entry = lab.reader().entry(receipt.index)
    assert receipt == LogReceipt(1, LogEntry.parse(entry).leaf_hash().hex(), START_MS, new=True)
    assert lab.reader().envelope_bytes(1) == submission.envelope
    assert LogEntry.parse(entry).envelope_sha256 == hashlib.sha256(submission.envelope).hexdigest()


def test_every_record_is_there_when_threads_submit_at_once(lab: Lab, sequencer: Sequencer) -> None:
    submissions = [lab.generation() for _ in range(400)]
    receipts = in_threads(sequencer.submit, submissions, 8)
    assert sorted(receipt.index for receipt in receipts) == list(range(1, 401))
    assert len({receipt.leaf_hash for receipt in receipts}) == 400
    reader = lab.reader()
    for submission, receipt in zip(submissions, receipts, strict=True):
        assert reader.envelope_bytes(receipt.index) == submission.envelope


def test_two_sequencers_in_one_process_share_the_log(lab: Lab, sequencer: Sequencer) -> None:
    other = lab.sequencer(engine=lab.open_engine())
    submissions = [lab.generation() for _ in range(120)]

    def submit(numbered: tuple[int, Submission]) -> LogReceipt:
        return (sequencer, other)[numbered[0] % 2].submit(numbered[1])

    receipts = in_threads(submit, list(enumerate(submissions)), 8)
    assert sorted(receipt.index for receipt in receipts) == list(range(1, 121))


def test_submitting_again_gives_the_same_receipt(lab: Lab, sequencer: Sequencer) -> None:
    submission = lab.generation()
    first = sequencer.submit(submission)
    lab.now_ms += 1000
    for chosen in (sequencer, lab.sequencer()):
        assert chosen.submit(submission) == replace(first, new=False)
    assert lab.size() == 2


def test_the_same_payload_signed_anew_is_the_same_record(lab: Lab, sequencer: Sequencer) -> None:
    sealed = generation_of()
    first = sequencer.submit(lab.submission(sealed, by="generator"))
    again = sequencer.submit(lab.submission(sealed, by="generator"))
    assert again == replace(first, new=False)


def test_the_same_submission_from_many_threads_is_one_record(
    lab: Lab, sequencer: Sequencer
) -> None:
    submission = lab.generation()
    receipts = in_threads(sequencer.submit, [submission] * 40, 10)
    assert {receipt.index for receipt in receipts} == {1}
    assert sum(receipt.new for receipt in receipts) == 1


def test_one_invocation_cannot_be_two_records(lab: Lab, sequencer: Sequencer) -> None:
    invocation = "01930000-0000-7000-8000-000000000001"
    first = lab.submission(generation_of(1, invocation), by="generator")
    second = lab.submission(generation_of(2, invocation), by="generator")
    sequencer.submit(first)
    error = refused(lab, sequencer, second)
    assert isinstance(error, ConflictError)
    assert error.code == "record.conflict"


def test_one_of_two_payloads_of_one_invocation_wins_a_race(lab: Lab, sequencer: Sequencer) -> None:
    invocation = "01930000-0000-7000-8000-000000000001"
    both = [lab.submission(generation_of(n, invocation), by="generator") for n in range(8)]
    answers = in_threads(sequencer.submit, both, 8, errors=True)
    assert sum(isinstance(answer, LogReceipt) for answer in answers) == 1
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 7


def test_one_batch_may_hold_an_invocation_several_times(lab: Lab) -> None:
    sizes: list[int] = []
    sequencer = lab.sequencer(projector=lambda _, batch: sizes.append(len(batch)))
    sequencer.submit(lab.trust())
    invocation = "01930000-0000-7000-8000-000000000001"
    one, other = (
        lab.submission(generation_of(number, invocation), by="generator") for number in range(2)
    )
    first, again, conflict, next_one = sequencer._submit_all([one, one, other, lab.generation()])
    assert isinstance(first, LogReceipt)
    assert again == replace(first, new=False)
    assert isinstance(conflict, ConflictError)
    assert isinstance(next_one, LogReceipt)
    assert (first.index, next_one.index, lab.size()) == (1, 2, 3)
    assert sizes == [1, 2], "the database refused what should have been judged"


def test_what_cannot_be_read_fails_alone_in_its_batch(lab: Lab, sequencer: Sequencer) -> None:
    broken = Submission(b"{}")
    outcomes = sequencer._submit_all([broken, lab.generation(), broken, lab.generation()])
    assert [type(outcome) for outcome in outcomes] == [FormatError, LogReceipt] * 2
    assert [type(outcome) for outcome in sequencer._submit_all([broken])] == [FormatError]
    assert lab.size() == 3


def test_a_read_only_home_refuses_before_it_touches_anything(lab: Lab) -> None:
    engine = lab.engine.execution_options(**{READ_ONLY: True})
    with pytest.raises(HomeError) as error:
        lab.sequencer(engine=engine).submit(Submission(b"not even an envelope"))
    assert error.value.code == "home.read-only"
    assert not lab.home.lock.exists()


def test_the_log_begins_with_its_trust_record(lab: Lab) -> None:
    sequencer = lab.sequencer()
    error = refused(lab, sequencer, lab.generation())
    assert (type(error), error.code) == (TrustError, "trust.no-genesis")
    assert sequencer.submit(lab.trust()).index == 0
    assert sequencer.submit(lab.generation()).index == 1


def test_log_time_never_decreases(lab: Lab, sequencer: Sequencer) -> None:
    lab.now_ms = START_MS + 5000
    sequencer.submit(lab.generation())
    lab.now_ms = START_MS + 1000
    assert sequencer.submit(lab.generation()).time_ms == START_MS + 5000
    assert lab.sequencer().submit(lab.generation()).time_ms == START_MS + 5000


def test_bad_submissions_are_refused_alone(lab: Lab, sequencer: Sequencer) -> None:
    good = [lab.generation() for _ in range(40)]
    bad = [lab.taint(by="generator") for _ in range(20)]
    mixed = [item for pair in zip(good, bad + bad, strict=True) for item in pair]
    answers = in_threads(sequencer.submit, mixed, 16, errors=True)
    assert [isinstance(answer, LogReceipt) for answer in answers] == [True, False] * 40
    assert all(isinstance(answer, TrustError) for answer in answers[1::2])
    assert lab.size() == 41


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda data: b"", FormatError),
        (lambda data: b"{}", FormatError),
        (lambda data: data + b" ", FormatError),
        (lambda data: data[:-1], FormatError),
        (lambda data: data.replace(b"in-toto+json", b"in-toto+xml"), FormatError),
    ],
)
def test_what_is_no_envelope_is_refused(
    lab: Lab, sequencer: Sequencer, damage: object, error: type
) -> None:
    data = damage(lab.generation().envelope)  # type: ignore[operator]
    assert isinstance(refused(lab, sequencer, Submission(data)), error)


def test_what_does_not_fit_its_schema_is_refused(lab: Lab, sequencer: Sequencer) -> None:
    payload = generation_of().payload.replace(b'"genops_project":"brand"', b'"genops_project":7')
    error = refused(lab, sequencer, Submission(lab.envelope(payload, by="generator")))
    assert isinstance(error, SchemaError)
    assert "genops_project" in error.message


def test_a_changed_payload_is_refused(lab: Lab, sequencer: Sequencer) -> None:
    envelope = Envelope.parse(lab.generation().envelope)
    forged = Envelope(envelope.payload.replace(b'"steps":20', b'"steps":21'), envelope.signatures)
    error = refused(lab, sequencer, Submission(forged.to_bytes()))
    assert (type(error), error.code) == (TrustError, "trust.bad-signature")


def test_a_stranger_is_refused_even_with_a_known_payload(lab: Lab, sequencer: Sequencer) -> None:
    sealed = generation_of()
    sequencer.submit(lab.submission(sealed, by="generator"))
    stranger = lab.log_signer()
    signature = Signature(stranger.keyid, stranger.sign(pae(PAYLOAD_TYPE, sealed.payload)))
    forged = Envelope(sealed.payload, (signature,)).to_bytes()
    error = refused(lab, sequencer, Submission(forged))
    assert (type(error), error.code) == (TrustError, "trust.unknown-key")


def test_sealed_texts_open_with_the_key_that_the_keyring_holds(
    lab: Lab, sequencer: Sequencer
) -> None:
    made = generation_of(prompt=Sealed("a red mug"))
    key_id = made.payload_sha256
    sealed = encrypt(KEY, b"disclosures", key_id)
    more = {"sealed": sealed, "seal_key": KEY}
    sequencer.submit(lab.submission(made, by="generator", **more))
    assert rows(lab, SealedRow) == [(1, key_id, sealed)]
    assert decrypt(lab.keyring.get(key_id), sealed, key_id) == b"disclosures"


def test_a_refused_submission_leaves_no_key(lab: Lab, sequencer: Sequencer) -> None:
    made = generation_of()
    submission = lab.submission(made, by="reviewer", sealed=b"ciphertext", seal_key=KEY)
    assert isinstance(refused(lab, sequencer, submission), TrustError)
    with pytest.raises(GenopsError) as error:
        lab.keyring.get(made.payload_sha256)
    assert error.value.code == "text.key-unknown"


def test_submitting_again_never_replaces_a_key_nor_revives_an_erased_one(
    lab: Lab, sequencer: Sequencer
) -> None:
    made = generation_of(prompt=Sealed("a red mug"))
    sequencer.submit(lab.submission(made, by="generator", sealed=b"one", seal_key=KEY))
    again = lab.submission(made, by="generator", sealed=b"two", seal_key=bytes(32))
    assert not sequencer.submit(again).new
    assert lab.keyring.get(made.payload_sha256) == KEY
    assert rows(lab, SealedRow)[0][2] == b"one"
    lab.keyring.destroy(made.payload_sha256)
    assert not sequencer.submit(again).new
    with pytest.raises(ErasedError):
        lab.keyring.get(made.payload_sha256)


@pytest.mark.parametrize(
    "more", [{"sealed": b"text"}, {"seal_key": KEY}, {"sealed": b"text", "seal_key": b"short"}]
)
def test_a_sealed_text_comes_with_its_key(
    lab: Lab, sequencer: Sequencer, more: dict[str, bytes]
) -> None:
    submission = lab.submission(generation_of(), by="generator", **more)
    assert isinstance(refused(lab, sequencer, submission), InputError)


def test_blobs_and_fingerprints_are_stored_once(lab: Lab, sequencer: Sequencer) -> None:
    blob = Blob("ab" * 32, "cd" * 16, 7)
    value = FingerprintValue("ab" * 32, "phash-v1", b"\x01\x02", 50)
    for _ in range(2):
        sequencer.submit(replace(lab.generation(), blobs=(blob, blob), fingerprints=(value, value)))
    assert rows(lab, BlobRow) == [(bytes.fromhex(blob.sha256), bytes.fromhex(blob.md5), 7)]
    assert [row[1:] for row in rows(lab, FingerprintRow)] == [
        (bytes.fromhex(blob.sha256), "phash-v1", b"\x01\x02", 50)
    ]


@pytest.mark.parametrize("blob", [Blob("ab", "cd" * 16, 7), Blob("zz" * 32, "cd" * 16, 7)])
def test_what_is_no_blob_is_refused(lab: Lab, sequencer: Sequencer, blob: Blob) -> None:
    error = refused(lab, sequencer, replace(lab.generation(), blobs=(blob,)))
    assert error.code == "record.blob"


def test_every_mirror_gets_every_record_once(lab: Lab, sequencer: Sequencer) -> None:
    submission = lab.generation()
    sequencer.submit(submission)
    sequencer.submit(submission)
    found = sorted((row[1], row[2]) for row in rows(lab, OutboxRow))
    assert found == sorted((index, target) for index in (0, 1) for target in OUTBOX_TARGETS)


def test_the_projector_sees_each_record_once_and_in_order(lab: Lab) -> None:
    seen: list[Accepted] = []

    def project(conn: Connection, batch: Sequence[Accepted]) -> None:
        seen.extend(batch)

    lab.fill(120, lab.sequencer(projector=project))
    assert [record.index for record in seen] == list(range(120))
    reader = lab.reader()
    for record in seen:
        assert record.entry == reader.entry(record.index)
        assert record.leaf_hash == LogEntry.parse(record.entry).leaf_hash()
        assert record.envelope == reader.envelope(record.index)
        assert record.payload_sha256.hex() == record.envelope.payload_sha256
        assert record.keyid == record.envelope.signatures[0].keyid


def test_what_the_projector_wrote_is_committed_with_the_record(lab: Lab) -> None:
    def project(conn: Connection, batch: Sequence[Accepted]) -> None:
        for record in batch:
            conn.execute(text("INSERT INTO mirror_state VALUES (:k, '')"), {"k": str(record.index)})

    lab.fill(3, lab.sequencer(projector=project))
    with read(lab.engine) as conn:
        assert list(conn.scalars(text("SELECT key FROM mirror_state ORDER BY key"))) == [*"012"]


def test_a_small_batch_limit_changes_nothing_but_speed(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(commit_batch=1))
    receipts = lab.fill(30)
    assert sorted(receipt.index for receipt in receipts) == list(range(30))
