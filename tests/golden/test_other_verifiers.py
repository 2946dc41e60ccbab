"""Other people's DSSE code reads and verifies the envelopes of evidence, and we read theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from securesystemslib import exceptions
from securesystemslib.dsse import Envelope as SslibEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey
from sigstore import dsse as sigstore
from sigstore.errors import VerificationError

from registry.core.dsse import PAYLOAD_TYPE, Envelope, keyid, spki_from_pem, verify_p256
from registry.core.evidence import Evidence
from registry.core.statements import Statement
from registry.core.trust import TrustState

FOLDER = Path(__file__).parent
FILES = [
    FOLDER / "v1" / "evidence-open.json",
    FOLDER / "homes" / "plain.evidence.json",
    FOLDER / "homes" / "passphrase.evidence-sealed.json",
]
ENVELOPES = {
    f"{file.parent.name}/{file.name} {number}": (
        Evidence.parse(file.read_bytes()).trust[0].envelope,
        item.envelope,
    )
    for file in FILES
    for number, item in enumerate(
        (Evidence.parse(file.read_bytes()).record, *Evidence.parse(file.read_bytes()).trust)
    )
}


@pytest.fixture(params=ENVELOPES)
def signed(request: pytest.FixtureRequest) -> tuple[Envelope, ec.EllipticCurvePublicKey]:
    """An envelope, and the public key that its log's first trust record names for it."""
    first, envelope = ENVELOPES[request.param]
    trust = TrustState.genesis(Statement.parse(first.payload), first)
    key = load_der_public_key(trust.keys[envelope.signatures[0].keyid].spki_der)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return envelope, key


def test_securesystemslib_verifies_it(signed: tuple[Envelope, ec.EllipticCurvePublicKey]) -> None:
    envelope, key = signed
    theirs = SslibEnvelope.from_dict(json.loads(envelope.to_bytes()))
    public = SSlibKey.from_crypto(key, keyid=envelope.signatures[0].keyid)
    assert theirs.pae() == envelope.signed_bytes
    assert list(theirs.verify([public], threshold=1)) == [public.keyid]
    theirs.payload = theirs.payload[:-1] + b" "
    with pytest.raises(exceptions.VerificationError):
        theirs.verify([public], threshold=1)


def test_sigstore_verifies_it(signed: tuple[Envelope, ec.EllipticCurvePublicKey]) -> None:
    envelope, key = signed
    theirs = sigstore.Envelope._from_json(envelope.to_bytes())
    assert theirs.pae() == envelope.signed_bytes
    assert sigstore._verify(key, theirs) == envelope.payload
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(VerificationError):
        sigstore._verify(stranger, theirs)


def test_sigstore_reads_the_statement_in_it(
    signed: tuple[Envelope, ec.EllipticCurvePublicKey],
) -> None:
    envelope, _ = signed
    statement = sigstore.Statement(envelope.payload)
    digest = Statement.parse(envelope.payload).subjects[0].sha256
    assert statement._inner.subjects[0].digest.root == {"sha256": digest}


def test_we_verify_what_securesystemslib_signs() -> None:
    signer = CryptoSigner.generate_ecdsa()
    theirs = SslibEnvelope(b'{"a":1}', PAYLOAD_TYPE, {})
    theirs.sign(signer)
    spki = spki_from_pem(signer.public_key.keyval["public"])
    document = theirs.to_dict()
    document["signatures"][0]["keyid"] = keyid(spki)
    ours = Envelope.from_document(document)
    assert verify_p256(spki, ours.signed_bytes, ours.signatures[0].sig)


def test_we_verify_what_sigstore_signs() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    payload = Evidence.parse(FILES[0].read_bytes()).record.envelope.payload
    theirs = json.loads(sigstore._sign(private, sigstore.Statement(payload)).to_json())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = {"keyid": keyid(spki), "sig": theirs["signatures"][0]["sig"]}
    ours = Envelope.from_document({**theirs, "signatures": [signature]})
    assert ours.payload == payload
    assert verify_p256(spki, ours.signed_bytes, ours.signatures[0].sig)
