"""Evidence: one file that proves a record to somebody without access to the registry."""

from __future__ import annotations

from registry.core.evidence import EvidenceItem, build_evidence
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.services import Services
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView


def evidence(services: Services, text: str, *, texts: bool = True) -> bytes:
    """Return the evidence file of the record that `text` names.

    With `texts`, the disclosures that can still be read are in it. All proofs are against one
    checkpoint, the newest.
    """
    with read(services.engine) as conn:
        index = refs.output(conn, text)["record_idx"]
    view = RecordView(services, index)
    opened = open_statement(services, index, view.statement)
    size = services.reader.head().size
    trust = [
        _item(services, RecordView(services, number), size)
        for number in services.reader.trust_indices()
    ]
    disclosures = opened.disclosures if texts else ()
    return build_evidence(_item(services, view, size), trust, disclosures)


def _item(services: Services, view: RecordView, size: int) -> EvidenceItem:
    proof = services.reader.inclusion(view.index, size=size)
    return EvidenceItem(envelope=view.envelope, entry=view.entry, proof=proof)
