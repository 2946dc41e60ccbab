"""Personal outputs: encrypted under their record's key before they are stored.

The subject is the ciphertext's digest, so that destroying the key makes the bytes unreadable for
good while every proof and every vault segment stays as it is.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from sqlalchemy import RowMapping

from registry.catalog import queries
from registry.catalog.drafts import expired
from registry.core.generation import Blob, Output
from registry.core.provenance import output_subject
from registry.core.statements import Statement, Subject
from registry.errors import InputError, MaterialError
from registry.signing.sealing import decrypt, encrypt
from registry.store.transaction import read
from registry.workflows.services import Services
from registry.workflows.view import RecordView

ENCRYPTED = "genops_encrypted"
"""The subject's annotation that names the scheme."""
SCHEME = "aes-256-gcm-v1"
"""Nonce (12 bytes), then ciphertext and tag; additional data `out/<n> aes-256-gcm-v1`."""


def store_output(
    services: Services, output: Output, number: int, key: bytes | None
) -> tuple[Blob, Subject]:
    """Put an output into the vault, encrypted where there is a key; return it as a subject too.

    Of an encrypted one, digest and size are the ciphertext's, and the digest of its pixels is left
    out: it would tell for ever which picture it was.
    """
    if key is None:
        blob = services.vault.put(output.data)
        return blob, output_subject(number, output, blob.sha256, blob.size)
    blob = services.vault.put(encrypt(key, output.data, aad=_bound_to(number)))
    subject = output_subject(number, replace(output, pixels=None), blob.sha256, blob.size)
    return blob, replace(subject, annotations={**subject.annotations, ENCRYPTED: SCHEME})


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
        raise lacking(services, subject.sha256)
    data = services.vault.read(blob)
    if not is_personal(subject):
        return data
    return decrypt(services.keyring.get(view.envelope.payload_sha256), data, _bound_to(position))


def read_row(services: Services, row: RowMapping) -> bytes:
    """Return the bytes of an output by its row; raises as `read_output` does."""
    return read_output(services, RecordView(services, row["record_idx"]), row["position"])


def lacking(services: Services, sha256: str) -> MaterialError:
    """Return the error for bytes that the vault's index does not know: expired, or never there."""
    with read(services.engine) as conn:
        gone = expired(conn, [bytes.fromhex(sha256)])
    if gone:
        return MaterialError(
            f"sha256:{sha256} was a draft, and expired",
            code="draft.expired",
            hint="`genops drafts keep ID` makes it again, if its record can be replayed",
        )
    return MaterialError(f"the vault never held sha256:{sha256}", code="material.missing")


def personal_material(services: Services, sha256: str) -> bytes | None:
    """Return the decrypted bytes of a material that is a personal output, None for another one."""
    with read(services.engine) as conn:
        rows = queries.outputs_of(conn, bytes.fromhex(sha256))
    for row in rows:
        view = RecordView(services, row["record_idx"])
        if is_personal(view.statement.subjects[row["position"]]):
            return read_output(services, view, row["position"])
    return None


def write_new(out: Path, data: bytes) -> None:
    """Write a file that only its owner may read; raises InputError (`file.exists`)."""
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(
            f"{out} exists already", code="file.exists", hint="name another file"
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _bound_to(position: int) -> str:
    return f"out/{position} {SCHEME}"
