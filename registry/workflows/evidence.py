"""Evidence: files that prove records to somebody without access to the registry."""

from __future__ import annotations

from collections.abc import Sequence

from registry.core.evidence import EvidenceItem, build_evidence
from registry.core.evidence_zip import build_bundle
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
    (file,) = _files(services, [text], texts=texts)
    return file


def evidence_bundle(services: Services, named: Sequence[str], *, texts: bool = True) -> bytes:
    """Return a ZIP with the evidence of every record that is named, all against one checkpoint.

    Raises InputError (`evidence.bundle`) for no record, too many, or too much.
    """
    return build_bundle(_files(services, named, texts=texts))


def _files(services: Services, named: Sequence[str], *, texts: bool) -> list[bytes]:
    """Return one evidence file a record, in the order in which the records are named first."""
    with read(services.engine) as conn:
        indices = dict.fromkeys(refs.output(conn, text)["record_idx"] for text in named)
    size = services.reader.head().size
    trust = [
        _item(services, RecordView(services, number), size)
        for number in services.reader.trust_indices()
        if number < size
    ]
    return [_file(services, RecordView(services, i), trust, size, texts) for i in indices]


def _file(
    services: Services, view: RecordView, trust: Sequence[EvidenceItem], size: int, texts: bool
) -> bytes:
    opened = open_statement(services, view.index, view.statement)
    disclosures = opened.disclosures if texts else ()
    return build_evidence(_item(services, view, size), trust, disclosures)


def _item(services: Services, view: RecordView, size: int) -> EvidenceItem:
    proof = services.reader.inclusion(view.index, size=size)
    return EvidenceItem(envelope=view.envelope, entry=view.entry, proof=proof)
