"""What goes into the log and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from registry.core.dsse import Envelope
from registry.core.fingerprint import FingerprintValue, Thumbnail
from registry.core.generation import Blob
from registry.core.statements import Statement


@dataclass(frozen=True, slots=True)
class Submission:
    """A signed envelope and what belongs to it, without any plaintext.

    `sealed` is the ciphertext of the JSON array of disclosures and `seal_key` the key of 32 bytes
    that opens it; both or neither are given. `blobs` are in the vault already.
    """

    envelope: bytes
    sealed: bytes | None = field(default=None, repr=False)
    seal_key: bytes | None = field(default=None, repr=False)
    blobs: tuple[Blob, ...] = ()
    fingerprints: tuple[FingerprintValue, ...] = ()
    thumbnails: tuple[Thumbnail, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class LogReceipt:
    """Where a submission lies in the log: index, hex leaf hash (the record's id), log time.

    `new` is False when it was there before.
    """

    index: int
    leaf_hash: str
    time_ms: int
    new: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """A record as the projector takes it; `keyid` is the signer that was authorised.

    `leaf_hash` and `payload_sha256`, that of the statement's bytes, have 32 bytes.
    """

    index: int
    time_ms: int
    entry: bytes
    leaf_hash: bytes
    payload_sha256: bytes
    statement: Statement
    envelope: Envelope
    keyid: str


Projector = Callable[[Connection, Sequence[Accepted]], None]
"""Writes the projection rows of a batch inside the transaction that commits it.

A pure function of the batch and of what is projected already. Whatever it raises refuses the
record that made it raise, and nothing of that record is kept.
"""
