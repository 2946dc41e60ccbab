"""Personal outputs: encrypted under their record's key before they are stored.

The subject is the ciphertext's digest, so that destroying the key makes the bytes unreadable for
good while every proof and every vault segment stays as it is.
"""

from __future__ import annotations

from registry.core.generation import Blob
from registry.core.statements import Statement, Subject
from registry.errors import MaterialError
from registry.signing.sealing import decrypt, encrypt
from registry.workflows.services import Services
from registry.workflows.view import RecordView

ENCRYPTED = "genops_encrypted"
"""The subject's annotation that names the scheme."""
SCHEME = "aes-256-gcm-v1"
"""Nonce (12 bytes), then ciphertext and tag; additional data `out/<n> aes-256-gcm-v1`."""


def store_encrypted(services: Services, data: bytes, key: bytes, position: int) -> Blob:
    """Encrypt an output under its record's key (32 bytes) and put it into the vault."""
    return services.vault.put(encrypt(key, data, aad=_bound_to(position)))


def is_personal(subject: Subject) -> bool:
    """Tell whether a subject's bytes are encrypted."""
    return ENCRYPTED in subject.annotations


def personal_outputs(statement: Statement) -> int:
    """Count the encrypted outputs of a record."""
    return sum(map(is_personal, statement.subjects))


def read_output(services: Services, view: RecordView, position: int) -> bytes:
    """Return the bytes of an output as they were made, decrypted where they are personal.

    Raises MaterialError (`material.missing`), IntegrityError (`vault.altered`, `text.altered`),
    ErasedError when the key was destroyed, NotFoundError or KeyFileError when it is not here.
    """
    subject = view.statement.subjects[position]
    blob = services.blobs.get(subject.sha256)
    if blob is None:
        raise MaterialError(
            f"the vault never held sha256:{subject.sha256}", code="material.missing"
        )
    data = services.vault.read(blob)
    if not is_personal(subject):
        return data
    return decrypt(services.keyring.get(view.envelope.payload_sha256), data, _bound_to(position))


def _bound_to(position: int) -> str:
    return f"out/{position} {SCHEME}"
