"""Erase the sealed texts of a record: its key is destroyed, every proof stays valid."""

from __future__ import annotations

from sqlalchemy import delete

from registry.core import predicates
from registry.core.answers import Receipt
from registry.core.digests import record_id
from registry.core.disclosures import sealed_pointers
from registry.core.statements import Subject, predicate_uri
from registry.errors import InputError, NotFoundError
from registry.store.transaction import read, write
from registry.workflows import refs
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.texts import SEALED
from registry.workflows.view import RecordView


def erase(services: Services, text: str, *, reason: str, actor: str | None = None) -> Receipt:
    """Destroy the key of the record that `text` names, and say so on the log.

    The erasure is recorded first, so that a key is never gone without a record; calling it again
    finishes what was interrupted. Raises InputError without a reason, NotFoundError when the
    record holds no sealed text.
    """
    if not reason.strip():
        raise InputError("an erasure needs a reason", code="erase.reason", hint='--reason "…"')
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    index = row["record_idx"]
    view = RecordView(services, index)
    pointers = sealed_pointers(dict(view.statement.document))
    if not pointers:
        raise NotFoundError("the record holds no sealed text", code="erase.nothing")
    payload = view.envelope.payload_sha256
    predicate = predicates.erasure(
        services.head(row["project"], actor),
        record=record_id(row["leaf_hash"].hex()),
        payload_sha256=payload,
        pointers=sorted(pointers),
        reason=reason,
    )
    receipt = declare(
        services,
        [Subject("out/0", payload)],
        predicate_uri("erasure"),
        predicate,
        role="admin",
    )
    services.keyring.destroy(payload)
    with write(services.engine) as conn:
        conn.execute(delete(SEALED).where(SEALED.c.record_idx == index))
    return receipt
