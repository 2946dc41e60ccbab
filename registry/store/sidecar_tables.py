"""Sidecars: what the log does not hold and a rebuild does not restore."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from registry.store.types import BIG_INT


class BlobRow(SQLModel, table=True):
    """Where the vault keeps a blob: our SHA-256, DVC's MD5, size in bytes."""

    __tablename__ = "blobs"

    sha256: bytes = Field(primary_key=True)
    md5: bytes
    size: int = Field(sa_type=BIG_INT)


class SealedRow(SQLModel, table=True):
    """A record's disclosures, encrypted (AES-256-GCM) under the key that the keyring holds for it.

    `key_id` is the payload's hex SHA-256; nonce (12 bytes), then ciphertext and tag.
    """

    __tablename__ = "sealed"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    key_id: str
    ciphertext: bytes


class FingerprintRow(SQLModel, table=True):
    """A perceptual fingerprint of an asset; `name` carries every parameter that changes it."""

    __tablename__ = "fingerprints"
    __table_args__ = (Index("ix_fingerprints_asset", "sha256", "name", unique=True),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG_INT)
    sha256: bytes
    name: str
    value: bytes
    quality: int


class ThumbnailRow(SQLModel, table=True):
    """A small grey JPEG of an asset that is a picture, by which a look-up verifies candidates.

    `made` names the set of algorithms by which the asset's fingerprints were made with it.
    """

    __tablename__ = "thumbnails"

    sha256: bytes = Field(primary_key=True)
    data: bytes
    made: str


class OutboxRow(SQLModel, table=True):
    """A record that a mirror has yet to receive; deleted once it was delivered."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_due", "target", "next_ms"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG_INT)
    record_idx: int = Field(sa_type=BIG_INT)
    target: str
    attempts: int = 0
    next_ms: int = Field(default=0, sa_type=BIG_INT)
    error: str = ""


class MirrorStateRow(SQLModel, table=True):
    """What a mirror must remember between runs, for example MLflow's run id of a campaign."""

    __tablename__ = "mirror_state"

    key: str = Field(primary_key=True)
    value: str


class CosignatureRow(SQLModel, table=True):
    """A witness's verified cosignature of this log's checkpoint of `size` records.

    `note` is the checkpoint as the log signed it, `signature` what stands in the note's line after
    the key id (C2SP tlog-cosignature), `time_s` the witness's time in POSIX seconds.
    """

    __tablename__ = "cosignatures"

    size: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT)
    name: str = Field(primary_key=True)
    key_id: bytes = Field(primary_key=True)
    time_s: int = Field(sa_type=BIG_INT)
    signature: bytes
    note: bytes


class WitnessedLogRow(SQLModel, table=True):
    """Another log that this registry follows as a witness: the newest checkpoint it cosigned."""

    __tablename__ = "witnessed_logs"

    origin: str = Field(primary_key=True)
    size: int = Field(sa_type=BIG_INT)
    note: bytes


class SavedSearchRow(SQLModel, table=True):
    """A search that was given a name: its terms in their one spelling, and its order."""

    __tablename__ = "saved_searches"

    name: str = Field(primary_key=True)
    query: str
    sort: str
    saved_ms: int = Field(sa_type=BIG_INT)
