"""What can be judged of a submission before the log is locked for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from registry.core.dsse import Envelope
from registry.core.generation import Blob
from registry.core.schemas import SchemaSet
from registry.core.statements import Statement, invocation_id
from registry.core.trust import TrustKey, TrustState
from registry.errors import InputError, TrustError
from registry.log.submission import Submission
from registry.signing.sealing import KEY_BYTES
from registry.store.rows import Row, blob_row, fingerprint_row, thumbnail_row


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission that is well-formed, with its digests and its sidecar rows.

    `judged` is the trust state that was asked before the log time was known, and the key that it
    found; None when it found none, or there was no state yet.
    """

    data: bytes
    envelope: Envelope
    statement: Statement
    invocation_id: str
    payload_sha256: bytes
    envelope_sha256: bytes
    sealed: bytes | None
    seal_key: bytes | None
    blobs: tuple[Row, ...]
    fingerprints: tuple[Row, ...]
    thumbnails: tuple[Row, ...]
    judged: tuple[TrustState, TrustKey] | None

    def key_at(self, state: TrustState, time_ms: int) -> TrustKey:
        """Return the key that signed with authority at a log time; raises TrustError.

        The signature is not verified again where the same state found it good before.
        """
        if self.judged is not None:
            before, key = self.judged
            if before is state and state.counts(key, time_ms):
                return key
        return state.authorize(self.envelope, self.statement.predicate_type, time_ms)


def prepare(
    submission: Submission,
    schemas: SchemaSet,
    trust: TrustState | None,
    now_ms: int,
) -> Prepared:
    """Parse a submission, check it against its schema, and verify its signature.

    `now_ms` is about the log time that it will get, and `trust` the state that likely judges it.
    An unknown or unfit signer is not refused yet: another process may have added its key. Raises
    FormatError, SchemaError, InputError (`record.sealed`, `record.blob`).
    """
    envelope = Envelope.parse(submission.envelope)
    statement = Statement.parse(envelope.payload)
    schemas.check_statement(statement.document)
    _check_sealed(submission)
    return Prepared(
        data=submission.envelope,
        envelope=envelope,
        statement=statement,
        invocation_id=invocation_id(statement),
        payload_sha256=hashlib.sha256(envelope.payload).digest(),
        envelope_sha256=hashlib.sha256(submission.envelope).digest(),
        sealed=submission.sealed,
        seal_key=submission.seal_key,
        blobs=tuple(map(_checked_row, submission.blobs)),
        fingerprints=tuple(map(fingerprint_row, submission.fingerprints)),
        thumbnails=tuple(map(thumbnail_row, submission.thumbnails)),
        judged=_judge(trust, envelope, statement.predicate_type, now_ms) if trust else None,
    )


def _judge(
    trust: TrustState, envelope: Envelope, predicate_type: str, now_ms: int
) -> tuple[TrustState, TrustKey] | None:
    try:
        return trust, trust.authorize(envelope, predicate_type, now_ms)
    except TrustError:
        return None


def _check_sealed(submission: Submission) -> None:
    if (submission.sealed is None) != (submission.seal_key is None):
        raise InputError("sealed disclosures and their key go together", code="record.sealed")
    if submission.seal_key is not None and len(submission.seal_key) != KEY_BYTES:
        raise InputError(f"a sealing key has {KEY_BYTES} bytes", code="record.sealed")


def _checked_row(blob: Blob) -> Row:
    try:
        row = blob_row(blob)
    except ValueError:
        row = None
    if row is None or len(row["sha256"]) != 32 or len(row["md5"]) != 16 or blob.size < 0:
        raise InputError(f"not a blob: {blob}", code="record.blob")
    return row
