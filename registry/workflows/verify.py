"""Verify one output: every link of the chain from its bytes to the signed tree head."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import RowMapping

from registry.core.answers import Check, Verification
from registry.core.digests import asset_id, record_id, sha256_hex
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.generation import Blob
from registry.core.merkle import verify_inclusion
from registry.core.statements import Statement, predicate_name
from registry.errors import GenopsError, IntegrityError
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.services import Services


def verify(services: Services, text: str) -> Verification:
    """Check the record and the stored bytes of the output that `text` names.

    Each check stands alone and is named; nothing is raised for one that fails.
    """
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    checks = tuple(_run(services, row))
    return Verification(
        id=asset_id(row["sha256"].hex()),
        record=record_id(row["leaf_hash"].hex()),
        ok=all(check.ok for check in checks),
        checks=checks,
    )


def _run(services: Services, row: RowMapping) -> Iterator[Check]:
    """Run every check of one output, in the order from the blob to the tree head."""
    for name, check in (
        ("blob", _blob),
        ("envelope", _envelope),
        ("schema", _schema),
        ("signature", _signature),
        ("subject", _subject),
        ("entry", _entry),
        ("inclusion", _inclusion),
        ("checkpoint", _checkpoint),
    ):
        yield _checked(name, check, services, row)


def _checked(
    name: str,
    check: Callable[[Services, RowMapping], str],
    services: Services,
    row: RowMapping,
) -> Check:
    try:
        return Check(name, ok=True, detail=check(services, row))
    except GenopsError as error:
        return Check(name, ok=False, detail=f"{error.code}: {error.message}")


def _blob(services: Services, row: RowMapping) -> str:
    if row["md5"] is None:
        raise IntegrityError("the vault has no entry for it", code="vault.unknown")
    blob = Blob(row["sha256"].hex(), row["md5"].hex(), row["size"])
    services.vault.verify(blob)
    return f"{blob.size} bytes, sha256:{blob.sha256}"


def _envelope(services: Services, row: RowMapping) -> str:
    """Check that the stored envelope has the digest that the log entry names."""
    index = row["record_idx"]
    entry = LogEntry.parse(services.reader.entry(index))
    data = services.reader.envelope_bytes(index)
    if sha256_hex(data) != entry.envelope_sha256:
        raise IntegrityError(
            f"envelope of index {index} does not have the digest in its log entry",
            code="envelope.altered",
        )
    if Envelope.parse(data).payload_sha256 != entry.payload_sha256:
        raise IntegrityError(
            f"payload of index {index} does not have the digest in its log entry",
            code="payload.altered",
        )
    return f"sha256:{entry.envelope_sha256}"


def _schema(services: Services, row: RowMapping) -> str:
    statement = _statement(services, row)
    services.schemas.check_statement(dict(statement.document))
    return predicate_name(statement.predicate_type) or statement.predicate_type


def _signature(services: Services, row: RowMapping) -> str:
    """Check that the signer had the role, at the log time of the entry."""
    index = row["record_idx"]
    envelope = Envelope.parse(services.reader.envelope_bytes(index))
    statement = Statement.parse(envelope.payload)
    entry = LogEntry.parse(services.reader.entry(index))
    trust = services.reader.trust(before=index)
    key = trust.authorize(envelope, statement.predicate_type, entry.time_ms)
    return f"key {key.keyid[:16]} as {', '.join(sorted(key.roles))}"


def _subject(services: Services, row: RowMapping) -> str:
    """Check that the statement itself names the asset's digest."""
    statement = _statement(services, row)
    position: int = row["position"]
    subject = statement.subjects[position]
    if subject.sha256 != row["sha256"].hex():
        raise IntegrityError(
            f"{subject.name} of index {row['record_idx']} is sha256:{subject.sha256}",
            code="projection.altered",
            hint="`genops catalog rebuild` makes the projection anew from the log",
        )
    return subject.name


def _entry(services: Services, row: RowMapping) -> str:
    index = row["record_idx"]
    entry = LogEntry.parse(services.reader.entry(index))
    if entry.leaf_hash() != row["leaf_hash"]:
        raise IntegrityError(
            f"entry of index {index} does not hash to {record_id(row['leaf_hash'].hex())}",
            code="entry.altered",
        )
    return f"index {index}"


def _inclusion(services: Services, row: RowMapping) -> str:
    head = services.reader.head()
    index = row["record_idx"]
    leaf = LogEntry.parse(services.reader.entry(index)).leaf_hash()
    proof = services.reader.inclusion(index)
    verify_inclusion(leaf, index, head.size, proof.hashes, head.root)
    return f"{len(proof.hashes)} hashes to the root of {head.size}"


def _checkpoint(services: Services, _: RowMapping) -> str:
    """Check that the tree head carries the log's signature."""
    head = services.reader.verified_head()
    return f"{head.origin}, size {head.size}"


def _statement(services: Services, row: RowMapping) -> Statement:
    return Statement.parse(services.reader.envelope(row["record_idx"]).payload)
