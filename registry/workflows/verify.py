"""Verify one output: every link of the chain from its bytes to the signed tree head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import RowMapping

from registry.core.answers import Check, Verification
from registry.core.digests import asset_id, record_id, sha256_hex
from registry.core.generation import Blob
from registry.core.merkle import verify_inclusion
from registry.core.statements import predicate_name
from registry.errors import GenopsError, IntegrityError
from registry.log.reader import Head
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.personal import lacking
from registry.workflows.services import Services
from registry.workflows.standing import check_standing
from registry.workflows.view import RecordView


def verify(services: Services, text: str) -> Verification:
    """Check the record and the stored bytes of the output that `text` names.

    Each check stands alone and is named; nothing is raised for one that fails.
    """
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    return examine(services, row, RecordView(services, row["record_idx"]))


def examine(
    services: Services, row: RowMapping, view: RecordView, head: Head | None = None
) -> Verification:
    """Run every check of one output, in the order from its blob to the tree head.

    `head` is one that was verified in this snapshot; else the newest is verified.
    """
    case = _Case(services, row, view, head)
    checks = tuple(_checked(name, check, case) for name, check in _CHECKS.items())
    return Verification(
        id=asset_id(row["sha256"].hex()),
        record=record_id(row["leaf_hash"].hex()),
        ok=all(check.ok for check in checks),
        checks=checks,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """What every check is given: the projection's row, and the record as stored."""

    services: Services
    row: RowMapping
    view: RecordView
    head: Head | None


def _checked(name: str, check: Callable[[_Case], str], case: _Case) -> Check:
    try:
        return Check(name, ok=True, detail=check(case))
    except GenopsError as error:
        return Check(name, ok=False, detail=f"{error.code}: {error.message}")


def _blob(case: _Case) -> str:
    row = case.row
    if row["md5"] is None:
        raise lacking(case.services, row["sha256"].hex())
    blob = Blob(row["sha256"].hex(), row["md5"].hex(), row["size"])
    case.services.vault.verify(blob)
    return f"{blob.size} bytes, sha256:{blob.sha256}"


def _envelope(case: _Case) -> str:
    """Check that the stored envelope has the digest that the log entry names."""
    view = case.view
    if sha256_hex(view.envelope_bytes) != view.entry.envelope_sha256:
        raise IntegrityError(
            f"envelope of index {view.index} does not have the digest in its log entry",
            code="envelope.altered",
        )
    if view.envelope.payload_sha256 != view.entry.payload_sha256:
        raise IntegrityError(
            f"payload of index {view.index} does not have the digest in its log entry",
            code="payload.altered",
        )
    return f"sha256:{view.entry.envelope_sha256}"


def _schema(case: _Case) -> str:
    statement = case.view.statement
    case.services.schemas.check_statement(dict(statement.document))
    return predicate_name(statement.predicate_type) or statement.predicate_type


def _signature(case: _Case) -> str:
    """Check that the signer had the role, at the log time of the entry."""
    view = case.view
    trust = case.services.reader.trust(before=view.index)
    key = trust.authorize(view.envelope, view.statement.predicate_type, view.entry.time_ms)
    return f"key {key.keyid[:16]} as {', '.join(sorted(key.roles))}"


def _signer(case: _Case) -> str:
    """Check that the signer's key was not stolen by then, or that the record was re-attested."""
    return check_standing(case.services, case.view)


def _subject(case: _Case) -> str:
    """Check that the statement itself names the asset's digest."""
    position: int = case.row["position"]
    subject = case.view.statement.subjects[position]
    if subject.sha256 != case.row["sha256"].hex():
        raise IntegrityError(
            f"{subject.name} of index {case.view.index} is sha256:{subject.sha256}",
            code="projection.altered",
            hint="`genops catalog rebuild` makes the projection anew from the log",
        )
    return subject.name


def _entry(case: _Case) -> str:
    leaf = case.row["leaf_hash"]
    if case.view.entry.leaf_hash() != leaf:
        raise IntegrityError(
            f"entry of index {case.view.index} does not hash to {record_id(leaf.hex())}",
            code="entry.altered",
        )
    return f"index {case.view.index}"


def _inclusion(case: _Case) -> str:
    reader, view = case.services.reader, case.view
    head = case.head or reader.head()
    proof = reader.inclusion(view.index, head.size)
    verify_inclusion(view.entry.leaf_hash(), view.index, head.size, proof.hashes, head.root)
    return f"{len(proof.hashes)} hashes to the root of {head.size}"


def _checkpoint(case: _Case) -> str:
    """Check that the tree head carries the log's signature, and is not rolled back."""
    head = case.head or case.services.reader.verified_head()
    return f"{head.origin}, size {head.size}"


_CHECKS: dict[str, Callable[[_Case], str]] = {
    "blob": _blob,
    "envelope": _envelope,
    "schema": _schema,
    "signature": _signature,
    "signer": _signer,
    "subject": _subject,
    "entry": _entry,
    "inclusion": _inclusion,
    "checkpoint": _checkpoint,
}
