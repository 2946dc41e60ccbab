"""The one door to the log: seal, sign, submit.

Every workflow that makes a record comes through here, so that a text is encrypted under a key of
its own record before anything is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from registry.core.answers import Receipt
from registry.core.digests import asset_id, record_id
from registry.core.disclosures import Disclosure
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, pae
from registry.core.fingerprint import FingerprintValue, Thumbnail
from registry.core.generation import Blob, Sealed
from registry.core.predicates import SealedPayload, seal_statement
from registry.core.statements import Subject
from registry.core.times import format_time
from registry.errors import InputError, TrustError
from registry.log.submission import LogReceipt, Submission
from registry.signing.keys import Signer
from registry.signing.sealing import KEY_BYTES, encrypt
from registry.workflows.services import Services

_ROTATED = {"trust.outside-window", "trust.compromised", "trust.unknown-key"}
"""Why a key that was opened earlier is refused after another process rotated it."""


def sign(signer: Signer, payload: bytes) -> bytes:
    """Return the DSSE envelope of a payload, signed by one key."""
    signature = Signature(signer.keyid, signer.sign(pae(PAYLOAD_TYPE, payload)))
    return Envelope(payload, (signature,)).to_bytes()


def submit(
    services: Services,
    sealed: SealedPayload,
    *,
    role: str,
    subjects: Sequence[Subject],
    blobs: Sequence[Blob] = (),
    fingerprints: Sequence[FingerprintValue] = (),
    thumbnails: Sequence[Thumbnail] = (),
    key: bytes | None = None,
) -> Receipt:
    """Sign a payload in a role and append it; durable on return.

    `key` (32 bytes) is the record's own, where something was encrypted under it before. Raises
    TrustError when the role's key may not sign this, ConflictError when its invocation id stands
    for another payload, HomeError when the home cannot be written.
    """
    ciphertext, seal_key = _encrypt(services, sealed, key)

    def append(signer: Signer) -> LogReceipt:
        submission = Submission(
            envelope=sign(signer, sealed.payload),
            sealed=ciphertext,
            seal_key=seal_key,
            blobs=tuple(blobs),
            fingerprints=tuple(fingerprints),
            thumbnails=tuple(thumbnails),
        )
        return services.sequencer.submit(submission)

    signer = services.signer(role)
    try:
        receipt = append(signer)
    except TrustError as error:
        if error.code not in _ROTATED:
            raise
        fresh = services.fresh_signer(role)
        if fresh.keyid == signer.keyid:
            raise
        receipt = append(fresh)
    return receipt_of(receipt, subjects)


def submit_signed(services: Services, envelope: Envelope, sealed: SealedPayload) -> Receipt:
    """Append what others signed; `sealed` holds the texts of its sealed fields.

    Raises as `submit` does.
    """
    ciphertext, key = _encrypt(services, sealed, None)
    submission = Submission(envelope=envelope.to_bytes(), sealed=ciphertext, seal_key=key)
    return receipt_of(services.sequencer.submit(submission), ())


def receipt_of(receipt: LogReceipt, subjects: Sequence[Subject]) -> Receipt:
    """Return the log's receipt as it is answered."""
    return Receipt(
        record=record_id(receipt.leaf_hash),
        index=receipt.index,
        time=format_time(receipt.time_ms),
        assets=tuple(asset_id(subject.sha256) for subject in subjects),
        new=receipt.new,
    )


def declare(  # noqa: PLR0913  # of all that may go with a record, most have little
    services: Services,
    subjects: Sequence[Subject],
    predicate_type: str,
    predicate: Mapping[str, Any],
    *,
    role: str,
    blobs: Sequence[Blob] = (),
    fingerprints: Sequence[FingerprintValue] = (),
    thumbnails: Sequence[Thumbnail] = (),
    key: bytes | None = None,
) -> Receipt:
    """Seal, sign and append a statement of one of our own predicates; `key` as in `submit`."""
    check_texts(services, predicate)
    sealed = seal_statement(subjects, predicate_type, predicate, services.salt)
    return submit(
        services,
        sealed,
        role=role,
        subjects=subjects,
        blobs=blobs,
        fingerprints=fingerprints,
        thumbnails=thumbnails,
        key=key,
    )


def check_texts(services: Services, document: Any) -> None:
    """Refuse texts that cannot be stored: lone surrogates, or longer than the limit.

    Raises InputError (`input.text`).
    """
    if isinstance(document, Sealed):
        document = document.value
    if isinstance(document, str):
        _check_text(document, services.settings.limits.text_bytes)
    elif isinstance(document, Mapping):
        for key, value in document.items():
            check_texts(services, key)
            check_texts(services, value)
    elif isinstance(document, (list, tuple)):
        for value in document:
            check_texts(services, value)


def _check_text(text: str, most: int) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text holds half of a surrogate pair at character {error.start}",
            code="input.text",
            hint="it is not valid Unicode; decode the source with its real encoding",
        ) from None
    if size > most:
        raise InputError(
            f"a text has {size} bytes; at most {most} are taken",
            code="input.text",
            hint="pass long texts as an input file, which is recorded by digest",
        )


def new_key(services: Services) -> bytes:
    """Return a fresh key for one record."""
    return services.entropy(KEY_BYTES)


def _encrypt(
    services: Services, sealed: SealedPayload, key: bytes | None
) -> tuple[bytes | None, bytes | None]:
    if key is None and not sealed.disclosures:
        return None, None
    chosen = key or new_key(services)
    return encrypt(chosen, _pack(sealed.disclosures), aad=sealed.payload_sha256), chosen


def _pack(disclosures: Sequence[Disclosure]) -> bytes:
    return json.dumps([d.encode() for d in disclosures], separators=(",", ":")).encode("ascii")
