"""Writing accepted records: one bulk insert per table, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from registry.core.trust import is_trust
from registry.log.prepare import Prepared
from registry.log.submission import Accepted
from registry.log.tree import add_tiles
from registry.store.bulk import insert_missing, insert_rows
from registry.store.log_tables import EnvelopeRow, InvocationRow, LogEntryRow, TrustRecordRow
from registry.store.rows import outbox_row
from registry.store.sidecar_tables import (
    BlobRow,
    FingerprintRow,
    OutboxRow,
    SealedRow,
    ThumbnailRow,
)
from registry.store.types import table_of

_BLOBS = table_of(BlobRow)
_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)
_FINGERPRINTS = table_of(FingerprintRow)
_INVOCATIONS = table_of(InvocationRow)
_OUTBOX = table_of(OutboxRow)
_SEALED = table_of(SealedRow)
_THUMBNAILS = table_of(ThumbnailRow)
_TRUST = table_of(TrustRecordRow)

Batch = Sequence[tuple[Accepted, Prepared]]


def append_log(conn: Connection, batch: Batch) -> None:
    """Insert entries, envelopes, invocations, the index of trust records and full tiles' roots."""
    insert_rows(
        conn,
        _ENTRIES,
        [
            {
                "idx": record.index,
                "entry": record.entry,
                "leaf_hash": record.leaf_hash,
                "payload_sha256": item.payload_sha256,
                "envelope_sha256": item.envelope_sha256,
            }
            for record, item in batch
        ],
    )
    insert_rows(conn, _ENVELOPES, [{"sha256": i.envelope_sha256, "data": i.data} for _, i in batch])
    insert_rows(
        conn,
        _INVOCATIONS,
        [{"invocation_id": i.invocation_id, "idx": record.index} for record, i in batch],
    )
    trust = [r.index for r, _ in batch if is_trust(r.statement.predicate_type)]
    insert_rows(conn, _TRUST, [{"idx": index} for index in trust])
    add_tiles(conn, batch[0][0].index, batch[-1][0].index + 1)


def append_sidecars(conn: Connection, batch: Batch, targets: Sequence[str]) -> None:
    """Insert sealed texts, blobs, fingerprints, thumbnails, and an outbox row per mirror."""
    insert_rows(
        conn,
        _SEALED,
        [
            {
                "record_idx": record.index,
                "key_id": item.payload_sha256.hex(),
                "ciphertext": item.sealed,
            }
            for record, item in batch
            if item.sealed is not None
        ],
    )
    insert_missing(conn, _BLOBS, [row for _, item in batch for row in item.blobs])
    insert_missing(conn, _FINGERPRINTS, [row for _, item in batch for row in item.fingerprints])
    insert_missing(conn, _THUMBNAILS, [row for _, item in batch for row in item.thumbnails])
    insert_rows(
        conn,
        _OUTBOX,
        [outbox_row(record.index, target) for record, _ in batch for target in targets],
    )
