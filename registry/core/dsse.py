"""DSSE envelopes: the signed container of every record.

Signs and verifies bytes, and knows nothing of what they say. An envelope has one form on the wire,
so that its digest names it.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry.core import jsonio
from registry.core.digests import is_sha256, sha256_hex
from registry.errors import FormatError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_PAYLOAD_BYTES = 1024 * 1024
"""Largest payload."""
MAX_ENVELOPE_BYTES = 1536 * 1024
"""Largest envelope: the payload in base64 and every signature."""
MAX_SIGNATURES = 16
MAX_SIGNATURE_BYTES = 512

_ECDSA_SHA256 = ec.ECDSA(hashes.SHA256())
_SIGNATURE_WIRE = rb'\{"keyid":"([0-9a-f]{64})","sig":"([^"]*)"\}'
_WIRE = re.compile(
    rb'\{"payload":"([^"]*)","payloadType":"%b","signatures":\[(%b(?:,%b)*)\]\}'
    % (re.escape(PAYLOAD_TYPE.encode("ascii")), _SIGNATURE_WIRE, _SIGNATURE_WIRE)
)
_SIGNATURES = re.compile(_SIGNATURE_WIRE)
_ENVELOPE_FIELDS = {"payload", "payloadType", "signatures"}
_SIGNATURE_FIELDS = {"keyid", "sig"}


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature: hex SHA-256 of the key's SPKI DER, and the ECDSA signature in DER."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and 1 to 16 signatures by different keys (DSSE v1)."""

    payload: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Read an envelope; raises FormatError (`dsse.invalid`) unless it is in its one form.

        That form is what `to_bytes` writes: compact JSON, keys sorted, standard padded base64, the
        in-toto payload type, no other fields.
        """
        envelope = _normal(data)
        if envelope is None:
            cls.from_document(jsonio.loads(data, max_bytes=MAX_ENVELOPE_BYTES))  # may say more
            raise FormatError(
                "envelope is not in normal form",
                code="dsse.invalid",
                hint="write compact JSON with the keys payload, payloadType, signatures in order",
            )
        return envelope

    @classmethod
    def from_document(cls, document: Any) -> Envelope:
        """Build an envelope from parsed JSON; raises FormatError (`dsse.invalid`)."""
        fields = _closed(document, _ENVELOPE_FIELDS, "envelope")
        if fields["payloadType"] != PAYLOAD_TYPE:
            raise FormatError(f"payload type is not {PAYLOAD_TYPE}", code="dsse.invalid")
        listed = fields["signatures"]
        if not isinstance(listed, list):
            raise FormatError("signatures are not a list", code="dsse.invalid")
        signatures = tuple(_signature(item) for item in listed)
        envelope = cls(_unbase64(fields["payload"], "payload"), signatures)
        envelope.check()
        return envelope

    def check(self) -> None:
        """Raise FormatError (`dsse.invalid`) when a limit is passed or a key signs twice."""
        if not 1 <= len(self.payload) <= MAX_PAYLOAD_BYTES:
            raise FormatError(
                f"payload of {len(self.payload)} bytes is not within 1..{MAX_PAYLOAD_BYTES}",
                code="dsse.invalid",
                hint="put large lists and texts into a blob named by digest",
            )
        keyids = {signature.keyid for signature in self.signatures}
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES or len(keyids) < len(self.signatures):
            raise FormatError(
                f"an envelope takes 1..{MAX_SIGNATURES} signatures by different keys",
                code="dsse.invalid",
            )
        for signature in self.signatures:
            if not is_sha256(signature.keyid):
                raise FormatError("keyid is not a hex SHA-256", code="dsse.invalid")
            if not 1 <= len(signature.sig) <= MAX_SIGNATURE_BYTES:
                raise FormatError("signature has an impossible length", code="dsse.invalid")

    def to_document(self) -> dict[str, Any]:
        """Return the envelope as a JSON-ready object."""
        return {
            "payload": _base64(self.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": s.keyid, "sig": _base64(s.sig)} for s in self.signatures],
        }

    def to_bytes(self) -> bytes:
        """Return the envelope's one form on the wire."""
        signatures = ",".join(
            f'{{"keyid":"{s.keyid}","sig":"{_base64(s.sig)}"}}' for s in self.signatures
        )
        return (
            f'{{"payload":"{_base64(self.payload)}","payloadType":"{PAYLOAD_TYPE}",'
            f'"signatures":[{signatures}]}}'
        ).encode("ascii")

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that every signature of this envelope covers."""
        return pae(PAYLOAD_TYPE, self.payload)

    @property
    def payload_sha256(self) -> str:
        """Hex SHA-256 of the payload."""
        return sha256_hex(self.payload)

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the envelope's bytes, as the log entry names it."""
        return sha256_hex(self.to_bytes())


def pae(payload_type: str, body: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: what is signed."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def verify_p256(spki_der: bytes, message: bytes, sig: bytes) -> bool:
    """Tell whether `sig` (ECDSA P-256 over SHA-256, DER) by this key covers `message`.

    Raises FormatError (`key.invalid`) when the bytes are not a P-256 public key.
    """
    try:
        _public_key(spki_der).verify(sig, message, _ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True


def keyid(spki_der: bytes) -> str:
    """Return a key's id: hex SHA-256 of its SubjectPublicKeyInfo in DER."""
    return sha256_hex(spki_der)


@functools.lru_cache(maxsize=1024)
def spki_from_pem(pem: str) -> bytes:
    """Return the SPKI DER of a P-256 public key in PEM; raises FormatError (`key.invalid`)."""
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(f"not a public key in PEM: {error}", code="key.invalid") from None
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _public_key(der)
    return der


def spki_to_pem(spki_der: bytes) -> str:
    """Return a P-256 public key as PEM; raises FormatError (`key.invalid`)."""
    pem = _public_key(spki_der).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode("ascii")


@functools.lru_cache(maxsize=1024)
def _public_key(spki_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_der_public_key(spki_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(f"not a public key: {error}", code="key.invalid") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("public key is not on P-256", code="key.invalid")
    return key


def _normal(data: bytes) -> Envelope | None:
    """Read an envelope in its one form without parsing JSON; None for any other.

    The pattern fixes all but the base64, and that must come back to the byte.
    """
    match = _WIRE.fullmatch(data) if len(data) <= MAX_ENVELOPE_BYTES else None
    if match is None:
        return None
    try:
        payload = _exact(match[1])
        listed = _SIGNATURES.findall(match[2])
        signatures = tuple(Signature(keyid.decode("ascii"), _exact(sig)) for keyid, sig in listed)
    except ValueError:
        return None
    envelope = Envelope(payload, signatures)
    envelope.check()
    return envelope


def _exact(text: bytes) -> bytes:
    """Decode base64; raises ValueError unless it is standard, padded and without a spare bit."""
    data = binascii.a2b_base64(text)
    if binascii.b2a_base64(data, newline=False) != text:
        raise ValueError("not the one spelling")
    return data


def _closed(document: Any, fields: set[str], what: str) -> Mapping[str, Any]:
    if not isinstance(document, dict) or document.keys() != fields:
        raise FormatError(
            f"{what} does not have exactly the fields {', '.join(sorted(fields))}",
            code="dsse.invalid",
        )
    return document


def _signature(document: Any) -> Signature:
    fields = _closed(document, _SIGNATURE_FIELDS, "signature")
    if not isinstance(fields["keyid"], str):
        raise FormatError("keyid is not text", code="dsse.invalid")
    return Signature(fields["keyid"], _unbase64(fields["sig"], "signature"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64(text: Any, what: str) -> bytes:
    """Decode standard padded base64; `Envelope.parse` refuses its other spellings by comparing."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{what} is not base64: {error}", code="dsse.invalid") from None
