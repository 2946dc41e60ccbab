"""Sidecar rows as they are inserted: one place for their columns."""

from __future__ import annotations

from typing import Any

from registry.core.fingerprint import FingerprintValue, Thumbnail
from registry.core.generation import Blob

Row = dict[str, Any]

UNTRIED: Row = {"attempts": 0, "next_ms": 0, "error": ""}
"""What the outbox says of a copy that was not sent yet."""


def outbox_row(index: int, target: str) -> Row:
    """Return the row of a record that a mirror has yet to receive."""
    return {"record_idx": index, "target": target, **UNTRIED}


def blob_row(blob: Blob) -> Row:
    """Return the row of a blob in the vault; raises ValueError for digests that are no hex."""
    return {
        "sha256": bytes.fromhex(blob.sha256),
        "md5": bytes.fromhex(blob.md5),
        "size": blob.size,
    }


def fingerprint_row(value: FingerprintValue) -> Row:
    """Return the row of an asset's fingerprint."""
    return {
        "sha256": bytes.fromhex(value.sha256),
        "name": value.name,
        "value": value.value,
        "quality": value.quality,
    }


def thumbnail_row(value: Thumbnail) -> Row:
    """Return the row of an asset's thumbnail."""
    return {"sha256": bytes.fromhex(value.sha256), "data": value.data, "made": value.made}
