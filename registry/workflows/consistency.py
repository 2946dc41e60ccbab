"""Prove that the log goes on from what it was: from a size, or from a checkpoint that was kept."""

from __future__ import annotations

import base64

from registry.core import checkpoints, merkle
from registry.core.witness_answers import LogConsistency
from registry.workflows.services import Services


def consistency(services: Services, old: int, new: int | None = None) -> LogConsistency:
    """Return the proof that the log of `new` records (now) goes on from that of `old`.

    Raises InputError (`proof.range`) for 0 and for sizes that are swapped, NotFoundError
    (`log.no-index`) past the end.
    """
    reader = services.reader
    end = reader.verified_head().size if new is None else new
    proof = reader.consistency(old, end)
    before, after = reader.root(old), reader.root(end)
    merkle.verify_consistency(old, end, proof, before, after)
    return LogConsistency(
        origin=reader.origin,
        old=old,
        new=end,
        old_root=before.hex(),
        new_root=after.hex(),
        proof=tuple(base64.b64encode(item).decode("ascii") for item in proof),
    )


def consistency_since(services: Services, note: bytes) -> LogConsistency:
    """Return the proof that today's log goes on from a checkpoint that somebody kept.

    Raises FormatError, IntegrityError (`note.*`, `checkpoint.origin`) when this log's key did not
    sign it, and RollbackError when the log does not hold that tree any more (`log.rolled-back`,
    `log.forked`).
    """
    kept = checkpoints.verify(note, services.reader.vkey)
    services.reader.refuse_other(kept)
    return consistency(services, kept.size)
