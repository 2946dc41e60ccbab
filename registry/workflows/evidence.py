"""Evidence: one file that proves a record to somebody without access to the registry."""

from __future__ import annotations

from registry.core.entries import LogEntry
from registry.core.evidence import EvidenceItem, build_evidence
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.inspect import statement_of
from registry.workflows.services import Services
from registry.workflows.texts import open_statement


def evidence(services: Services, text: str, *, texts: bool = True) -> bytes:
    """Return the evidence file of the record that `text` names.

    With `texts`, the disclosures that can still be read are in it. All proofs are against one
    checkpoint, the newest.
    """
    with read(services.engine) as conn:
        index = refs.output(conn, text)["record_idx"]
    opened = open_statement(services, index, statement_of(services, index))
    size = services.reader.head().size
    trust = [_item(services, number, size) for number in services.reader.trust_indices()]
    disclosures = opened.disclosures if texts else ()
    return build_evidence(_item(services, index, size), trust, disclosures)


def _item(services: Services, index: int, size: int) -> EvidenceItem:
    return EvidenceItem(
        envelope=services.reader.envelope(index),
        entry=LogEntry.parse(services.reader.entry(index)),
        proof=services.reader.inclusion(index, size=size),
    )
