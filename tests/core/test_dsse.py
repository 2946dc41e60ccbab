"""DSSE: what is signed, the one form of an envelope, and what other tools make of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from registry.core import dsse
from registry.core.dsse import MAX_PAYLOAD_BYTES, Envelope, Signature
from registry.errors import FormatError

KEYID = "ab" * 32
GOOD = Envelope(b'{"a":1}', (Signature(KEYID, b"\x30\x01x"),))


def test_pae_is_that_of_the_specification() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(
    st.binary(min_size=1, max_size=300),
    st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=16),
)
def test_an_envelope_reads_back_equal(payload: bytes, sigs: list[bytes]) -> None:
    signatures = tuple(Signature(f"{n:064x}", sig) for n, sig in enumerate(sigs))
    envelope = Envelope(payload, signatures)
    assert Envelope.parse(envelope.to_bytes()) == envelope
    assert Envelope.from_document(envelope.to_document()) == envelope
    assert json.loads(envelope.to_bytes()) == envelope.to_document()


@given(st.data())
def test_no_other_bytes_mean_the_same_envelope(data: st.DataObject) -> None:
    raw = bytearray(GOOD.to_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        envelope = Envelope.parse(bytes(raw))
    except FormatError:
        return
    assert envelope.to_bytes() == bytes(raw)
    assert (envelope == GOOD) == (bytes(raw) == GOOD.to_bytes())


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d | {"extra": 1},
        lambda d: {k: v for k, v in d.items() if k != "payloadType"},
        lambda d: d | {"payloadType": "application/json"},
        lambda d: d | {"payload": ""},
        lambda d: d | {"payload": d["payload"].rstrip("=")},
        lambda d: d | {"payload": d["payload"] + "\n"},
        lambda d: d | {"payload": "eyJhIjoxfR=="},
        lambda d: d | {"payload": "-_-_"},
        lambda d: d | {"payload": 1},
        lambda d: d | {"payload": "é"},
        lambda d: d | {"signatures": []},
        lambda d: d | {"signatures": {}},
        lambda d: d | {"signatures": d["signatures"] * 2},
        lambda d: d | {"signatures": [{"sig": "eHg="}]},
        lambda d: d | {"signatures": [{"keyid": KEYID.upper(), "sig": "eHg="}]},
        lambda d: d | {"signatures": [{"keyid": KEYID, "sig": ""}]},
        lambda d: d | {"signatures": [{"keyid": KEYID, "sig": "eHg=", "cert": ""}]},
        lambda d: d | {"signatures": [{"keyid": f"{n:064x}", "sig": "eHg="} for n in range(17)]},
        lambda d: [d],
    ],
)
def test_a_loose_envelope_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    document = change(json.loads(GOOD.to_bytes()))
    data = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(FormatError):
        Envelope.parse(data)


def test_spaces_other_orders_and_other_escapes_are_refused() -> None:
    document = GOOD.to_document()
    for text in (
        json.dumps(document),
        json.dumps(dict(reversed(document.items())), separators=(",", ":")),
        GOOD.to_bytes().decode().replace("payloadType", "payload\\u0054ype"),
        GOOD.to_bytes().decode() + "\n",
    ):
        with pytest.raises(FormatError, match="normal form"):
            Envelope.parse(text.encode())


def test_the_payload_may_be_a_mebibyte_and_no_more() -> None:
    full = Envelope(bytes(MAX_PAYLOAD_BYTES), GOOD.signatures)
    assert Envelope.parse(full.to_bytes()) == full
    with pytest.raises(FormatError) as refused:
        Envelope.parse(Envelope(bytes(MAX_PAYLOAD_BYTES + 1), GOOD.signatures).to_bytes())
    assert "blob" in refused.value.hint


def test_a_signature_covers_payload_and_key(keys: Callable[[int], Any]) -> None:
    key, other = keys(7), keys(8)
    envelope = key.envelope(b"payload")
    sig = envelope.signatures[0].sig
    assert dsse.verify_p256(key.spki, envelope.signed_bytes, sig)
    assert not dsse.verify_p256(key.spki, dsse.pae(dsse.PAYLOAD_TYPE, b"Payload"), sig)
    assert not dsse.verify_p256(key.spki, b"payload", sig)
    assert not dsse.verify_p256(other.spki, envelope.signed_bytes, sig)
    assert not dsse.verify_p256(key.spki, envelope.signed_bytes, sig[:-1])
    assert not dsse.verify_p256(key.spki, envelope.signed_bytes, b"")


def test_only_p256_keys_are_keys(keys: Callable[[int], Any]) -> None:
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
    der = p384.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = p384.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    unknown_curve = keys(7).spki.replace(b"\x3d\x03\x01\x07", b"\x3d\x03\x01\x08")
    unknown_kind = keys(7).spki.replace(b"\x3d\x02\x01", b"\x3d\x02\x09")
    for bad in (der, b"", keys(7).spki[:-1], unknown_curve, unknown_kind):
        with pytest.raises(FormatError):
            dsse.verify_p256(bad, b"m", b"s")
    for bad_pem in (pem.decode(), "", "é"):
        with pytest.raises(FormatError):
            dsse.spki_from_pem(bad_pem)
    assert dsse.spki_from_pem(dsse.spki_to_pem(keys(7).spki)) == keys(7).spki


def test_securesystemslib_reads_and_verifies_our_envelope(keys: Callable[[int], Any]) -> None:
    from securesystemslib.dsse import Envelope as Theirs
    from securesystemslib.signer import SSlibKey

    key = keys(9)
    ours = key.envelope(b'{"a":1}')
    theirs = Theirs.from_dict(json.loads(ours.to_bytes()))
    public = SSlibKey.from_crypto(key.private.public_key(), keyid=key.keyid)
    assert theirs.payload == ours.payload
    assert theirs.pae() == ours.signed_bytes
    assert list(theirs.verify([public], threshold=1)) == [key.keyid]


def test_base64_is_standard_and_padded() -> None:
    payload = json.loads(GOOD.to_bytes())["payload"]
    assert base64.b64decode(payload, validate=True) == GOOD.payload
