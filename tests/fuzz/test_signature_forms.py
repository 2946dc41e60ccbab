"""One accepted form of a signature, or one record whatever the form.

ECDSA signatures have a twin: (r, n - s) verifies where (r, s) does. It cannot be refused, since
half of all honest signatures are of either kind; so a record is known by its payload, and a twin
gives the record that is there. Everything else about a signature has one form.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from registry.core import notes
from registry.core.checkpoints import verify as verify_checkpoint
from registry.core.dsse import Envelope, Signature, verify_p256
from registry.core.evidence import Evidence, verify_evidence
from registry.core.notes import NoteSignature, SignedNote, VerifierKey
from registry.errors import FormatError, IntegrityError, TrustError
from registry.log.submission import Submission
from tests.fuzz import samples
from tests.log.conftest import Lab, generation_of

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED_ORDER = 2**252 + 27742317777372353535851937790883648493
FIELD = 2**255 - 19
Form = Callable[[bytes], bytes]


def twin(sig: bytes) -> bytes:
    """Return (r, n - s) for (r, s)."""
    r, s = decode_dss_signature(sig)
    return encode_dss_signature(r, ORDER - s)


def _integer(value: int, padding: bytes = b"") -> bytes:
    body = padding + value.to_bytes((value.bit_length() + 8) // 8, "big")
    return b"\x02" + bytes([len(body)]) + body


def _sequence(body: bytes) -> bytes:
    return b"\x30" + bytes([len(body)]) + body


def _numbers(change: Callable[[int, int], tuple[int, int]]) -> Form:
    return lambda sig: encode_dss_signature(*change(*decode_dss_signature(sig)))


def _padded(sig: bytes) -> bytes:
    r, s = decode_dss_signature(sig)
    return _sequence(_integer(r, b"\0") + _integer(s))


def _negative(sig: bytes) -> bytes:
    r, s = decode_dss_signature(sig)
    short = (r % 2**256).to_bytes(32, "big")
    return _sequence(b"\x02\x20" + bytes([short[0] | 0x80]) + short[1:] + _integer(s))


OTHER_FORMS: dict[str, Form] = {
    "long-form length": lambda sig: b"\x30\x81" + sig[1:],
    "indefinite length": lambda sig: b"\x30\x80" + sig[2:] + b"\0\0",
    "leading zero": _padded,
    "negative r": _negative,
    "trailing byte": lambda sig: sig + b"\0",
    "trailing byte inside": lambda sig: _sequence(sig[2:] + b"\0"),
    "cut": lambda sig: sig[:-1],
    "raw r and s": lambda sig: b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(sig)),
    "s + n": _numbers(lambda r, s: (r, s + ORDER)),
    "r + n": _numbers(lambda r, s: (r + ORDER, s)),
    "zeros": _numbers(lambda r, s: (0, 0)),
    "s = n": _numbers(lambda r, s: (r, ORDER)),
    "constructed integer": lambda sig: sig[:2] + b"\x22" + sig[3:],
    "a set": lambda sig: b"\x31" + sig[1:],
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_an_ecdsa_signature_has_one_encoding(name: str) -> None:
    key, message = samples.ADMIN, b"a message"
    sig = key.signature(message).sig
    signed = Envelope(message, ()).signed_bytes
    assert verify_p256(key.spki, signed, sig)
    other = OTHER_FORMS[name](sig)
    assert other != sig
    assert not verify_p256(key.spki, signed, other)


def _resigned(envelope: bytes, change: Form) -> bytes:
    parsed = Envelope.parse(envelope)
    (signature,) = parsed.signatures
    return Envelope(parsed.payload, (Signature(signature.keyid, change(signature.sig)),)).to_bytes()


def test_the_twin_of_a_signature_gives_the_record_that_is_there(lab: Lab) -> None:
    sequencer = lab.sequencer()
    lab.fill(1, sequencer)
    genuine = lab.generation()
    first = sequencer.submit(genuine)
    other = Submission(_resigned(genuine.envelope, twin))
    assert other.envelope != genuine.envelope
    again = sequencer.submit(other)
    assert (again.index, again.leaf_hash, again.new) == (first.index, first.leaf_hash, False)
    assert lab.size() == 2
    assert lab.reader().envelope_bytes(first.index) == genuine.envelope


def test_twins_in_one_batch_are_one_record(lab: Lab) -> None:
    sequencer = lab.sequencer()
    lab.fill(1, sequencer)
    genuine = lab.generation()
    both = [genuine, Submission(_resigned(genuine.envelope, twin))]
    receipts = sequencer._submit_all(both)
    assert [(r.index, r.new) for r in receipts] == [(1, True), (1, False)]
    assert lab.size() == 2


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_a_known_payload_in_another_form_of_its_signature_is_refused(lab: Lab, name: str) -> None:
    sequencer = lab.sequencer()
    lab.fill(1, sequencer)
    genuine = lab.generation()
    for known in (False, True):
        if known:
            sequencer.submit(genuine)
        with pytest.raises(TrustError) as refused:
            sequencer.submit(Submission(_resigned(genuine.envelope, OTHER_FORMS[name])))
        assert refused.value.code == "trust.bad-signature"
    assert lab.size() == 2


def test_the_twin_is_no_evidence_of_the_record() -> None:
    data = samples.world().evidence[0]
    parsed = Evidence.parse(data)
    (signature,) = parsed.record.envelope.signatures
    twinned = Envelope(
        parsed.record.envelope.payload, (Signature(signature.keyid, twin(signature.sig)),)
    )
    other = data.replace(
        parsed.record.envelope.to_bytes().partition(b'"sig":')[2],
        twinned.to_bytes().partition(b'"sig":')[2],
    )
    assert other != data
    report = verify_evidence(other, log_vkey=samples.world().vkey)
    assert [check.name for check in report.failed] == ["envelope"]


def test_a_key_counts_once_however_it_signs() -> None:
    payload = samples.world().book.envelopes[3].payload
    one = samples.ADMIN.signature(payload)
    with pytest.raises(FormatError):
        Envelope(payload, (one, Signature(one.keyid, twin(one.sig)))).check()


def _note_signed(sig: bytes) -> bytes:
    note = SignedNote.parse(samples.world().book.checkpoint())
    (line,) = note.signatures
    return SignedNote(note.text, (NoteSignature(line.name, line.key_id, sig),)).to_bytes()


def _ed25519() -> tuple[int, bytes, bytes]:
    (line,) = SignedNote.parse(samples.world().book.checkpoint()).signatures
    return int.from_bytes(line.sig[32:], "little"), line.sig[:32], line.sig


def test_an_ed25519_signature_has_one_s() -> None:
    s, r, sig = _ed25519()
    verify_checkpoint(_note_signed(sig), samples.world().vkey)
    for other in (s + ED_ORDER, s | 1 << 255, s + 8 * ED_ORDER):
        with pytest.raises(IntegrityError) as refused:
            verify_checkpoint(_note_signed(r + other.to_bytes(32, "little")), samples.world().vkey)
        assert refused.value.code == "note.bad-signature"


def test_an_ed25519_signature_has_one_length() -> None:
    _, _, sig = _ed25519()
    for other in (sig + b"\0", sig[:-1], sig + sig, sig[:32]):
        with pytest.raises(IntegrityError):
            verify_checkpoint(_note_signed(other), samples.world().vkey)


Point = tuple[int, int]
CURVE_D = -121665 * pow(121666, -1, FIELD) % FIELD


def _plus(a: Point, b: Point) -> Point:
    """Add two points of edwards25519 (RFC 8032, 5.1)."""
    k = CURVE_D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + k, -1, FIELD)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, FIELD)
    return x % FIELD, y % FIELD


def _times(factor: int, point: Point) -> Point:
    result = (0, 1)
    while factor:
        if factor & 1:
            result = _plus(result, point)
        point = _plus(point, point)
        factor >>= 1
    return result


def _small_order() -> list[int]:
    """Return the y of the points of order 1, 2, 4 and 8: multiples of one such."""
    root = pow(2, (FIELD - 1) // 4, FIELD)
    for y in range(2, 100):
        square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, FIELD) % FIELD
        x = pow(square, (FIELD + 3) // 8, FIELD)
        x = x if x * x % FIELD == square else x * root % FIELD
        point = _times(ED_ORDER, (x, y))
        small = sorted({_times(factor, point)[1] for factor in range(8)})
        if x * x % FIELD == square and len(small) == 5:
            return small
    raise AssertionError("no point of order 8")


@pytest.mark.parametrize("y", [*_small_order(), FIELD, FIELD + 1], ids=lambda y: hex(y)[:12])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_under_which_anything_verifies_is_no_key(y: int, sign: int) -> None:
    public = (y | sign << 255).to_bytes(32, "little")
    with pytest.raises(FormatError) as refused:
        VerifierKey("log.example", public)
    assert refused.value.code == "vkey.invalid"
    raw = base64.b64encode(bytes([notes.ED25519]) + public).decode()
    with pytest.raises(FormatError):
        VerifierKey.parse(f"log.example+00000000+{raw}")


def test_a_public_key_has_one_spelling() -> None:
    for y in (FIELD + 2, FIELD + 18, 2**255 - 1):
        with pytest.raises(FormatError):
            VerifierKey("log.example", y.to_bytes(32, "little"))


def test_honest_keys_are_keys() -> None:
    for number in range(64):
        private = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
        VerifierKey("log.example", private.public_key().public_bytes_raw())


def test_a_signature_by_the_neutral_point_would_cover_any_text() -> None:
    """Show what the refusal of such keys is for: the library takes this signature."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    neutral = (1).to_bytes(32, "little")
    for text in (b"one", b"another"):
        Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), text)


def test_another_generation_under_the_same_invocation_is_refused(lab: Lab) -> None:
    from registry.errors import ConflictError

    sequencer = lab.sequencer()
    lab.fill(1, sequencer)
    invocation = "01890a5d-ac96-774b-bcce-b302099a8057"
    sequencer.submit(lab.submission(generation_of(1, invocation), by="generator"))
    with pytest.raises(ConflictError):
        sequencer.submit(lab.submission(generation_of(2, invocation), by="generator"))
