"""Certificates whose records are logged and proved, and say nothing that they should."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from registry.core import certificates, jsonio, predicates
from registry.core.certificates import Certificate, verify_certificate
from registry.core.evidence import TrustRecords
from registry.core.privacy import CertificateView, Certified
from registry.core.times import format_time
from registry.core.trust import TrustState
from registry.errors import FormatError
from tests.core.conftest import NOW, Book
from tests.fuzz import samples

ERASURE: dict[str, Any] = json.loads(samples.world().book.envelopes[2].payload)


def problems(document: dict[str, Any]) -> tuple[str, ...]:
    data = samples.certificate_of(jsonio.dumps(document))
    return verify_certificate(data, log_vkey=samples.world().vkey).problems


def certified(
    book: Book, lines: tuple[Certified, ...], *, proved: tuple[int, ...], trust: tuple[int, ...]
) -> CertificateView:
    """Verify a certificate of these lines that an admin of a log signed, with these records."""
    made = Certificate(book.origin, NOW + 60_000, "u-1", b"salt", "name", len(book.entries), lines)
    items = (tuple(map(book.item, indices)) for indices in (proved, trust))
    data = certificates.to_bytes(book.admin.envelope(made.payload()), lines, *items)
    return verify_certificate(data, log_vkey=str(book.vkey))


def erase(book: Book, at: int) -> None:
    """Log an erasure of the record at an index."""
    record = book.entries[at]
    predicate = predicates.erasure(
        book.head(),
        record=record.record_id,
        payload_sha256=record.payload_sha256,
        pointers=["/predicate/reason"],
        reason="asked for",
    )
    book.add(book.seal("erasure", predicate))


def erased(book: Book, at: int) -> Certified:
    """Return the line of the record at an index, which the one after it erased."""
    record, erasure = book.entries[at : at + 2]
    return Certified(record.record_id, format_time(erasure.time_ms), erasure.record_id)


def test_a_certificate_of_a_proved_erasure_holds() -> None:
    assert problems(ERASURE) == ()


@pytest.mark.parametrize("other", [{}, {"record": "rec:" + "0" * 64}, {"record": ["a"]}], ids=str)
def test_an_erasure_that_names_no_such_record_proves_nothing(other: dict[str, Any]) -> None:
    predicate = {k: v for k, v in ERASURE["predicate"].items() if k != "record"} | other
    (told,) = problems(ERASURE | {"predicate": predicate})
    assert "is not its erasure" in told


def test_another_persons_name_and_another_line_do_not_hold() -> None:
    made = samples.world()
    assert verify_certificate(made.certificate, log_vkey=made.vkey, name=samples.PERSON).ok
    assert not verify_certificate(made.certificate, log_vkey=made.vkey, name="John Doe").ok


def test_a_certificate_has_one_spelling() -> None:
    made = samples.world()
    assert verify_certificate(made.certificate + b"\n", log_vkey=made.vkey).ok
    document = json.loads(made.certificate)
    for other in (
        json.dumps(document),
        f" {made.certificate.decode()}",
        json.dumps(document, indent=1),
    ):
        with pytest.raises(FormatError) as refused:
            verify_certificate(other.encode(), log_vkey=made.vkey)
        assert refused.value.code == "certificate.invalid"


def test_trust_is_folded_once_however_many_records_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folded: list[TrustState] = []
    genesis = TrustState.genesis
    count = lambda *said: folded.append(genesis(*said)) or folded[-1]  # noqa: E731
    monkeypatch.setattr(TrustState, "genesis", count)
    book = samples.world().book
    view = certified(book, (erased(book, 1),), proved=(2, 0, 1, 4), trust=(0, 3))
    assert (view.problems, len(folded)) == ((), 1)


def test_a_trust_record_left_out_is_told_of_every_record_and_of_the_signature(book: Book) -> None:
    book.add(book.taint(), book.maker)
    erase(book, 1)
    keys = (book.admin.trusted("admin"), book.maker.trusted("reviewer"))
    first = book.entries[0].record_id
    second = book.add(book.trust(*keys, supersedes=first))
    book.add(book.trust(*keys, supersedes=second))
    lines = (erased(book, 1),)
    assert certified(book, lines, proved=(1, 2), trust=(0, 3, 4)).problems == ()
    one, other, signature, line, none = certified(book, lines, proved=(1, 2), trust=(0, 4)).problems
    told = "the trust record before that at index 4 is missing"
    assert one == f"{book.entries[1].record_id}: trust-chain: trust.gap: {told}"
    assert other == f"{book.entries[2].record_id}: trust-chain: trust.gap: {told}"
    assert signature == f"the certificate's signature: {told}"
    assert "is not proved" in line
    assert none == "it proves no record"


@pytest.mark.parametrize(
    ("action", "on", "told"),
    [
        ("place", "it", None),
        ("place", "an asset", None),
        ("place", "another record", "is no hold on it"),
        ("place", "nothing", "is no hold on it"),
        ("lift", "it", "places no hold"),
    ],
)
def test_only_a_hold_that_was_placed_on_a_record_keeps_it(
    book: Book, action: Literal["place", "lift"], on: str, told: str | None
) -> None:
    mine, other = (book.add(book.taint(text), book.maker) for text in ("one", "another"))
    targets = {"it": mine, "an asset": "sha256:" + "ab" * 32, "another record": other}
    predicate = predicates.hold(
        book.head(), action=action, target=targets.get(on, ""), reason="case 17"
    )
    hold = book.add(book.seal("hold", predicate), book.maker)
    line = Certified(mine, format_time(book.entries[1].time_ms), None, (hold,), ("case 17",))
    view = certified(book, (line,), proved=(3,), trust=(0,))
    assert view.problems == (() if told is None else (f"{mine}: {hold} {told}",))


def test_proofs_against_another_checkpoint_are_told_of_their_record_alone(book: Book) -> None:
    book.add(book.taint(), book.maker)
    early = book.item(1)
    erase(book, 1)
    trust = TrustRecords((book.item(0),), book.vkey)
    (failed,) = trust.verify(early).failed
    assert (failed.name, failed.detail) == (
        "checkpoint", "evidence.mismatch: the proofs are against different checkpoints",
    )  # fmt: skip
    assert trust.verify(book.item(1)).ok


def test_a_malformed_log_key_is_the_callers_error() -> None:
    with pytest.raises(FormatError) as refused:
        verify_certificate(samples.world().certificate, log_vkey="nonsense")
    assert refused.value.code == "vkey.invalid"
