"""The log's tables: what was acknowledged, append-only but for the head row."""

from __future__ import annotations

from sqlmodel import Field, SQLModel

from registry.store.types import BIG_INT


class LogEntryRow(SQLModel, table=True):
    """One leaf: the entry's bytes as hashed, and the digests that it commits to (32 bytes each)."""

    __tablename__ = "log_entries"

    idx: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT)
    entry: bytes
    leaf_hash: bytes = Field(unique=True)
    payload_sha256: bytes = Field(unique=True)
    envelope_sha256: bytes


class EnvelopeRow(SQLModel, table=True):
    """A DSSE envelope, byte for byte as it was submitted, by its SHA-256."""

    __tablename__ = "envelopes"

    sha256: bytes = Field(primary_key=True)
    data: bytes


class TileHashRow(SQLModel, table=True):
    """The root of a full tile: level 1 covers 256 leaves, level 2 covers 65,536, and so on."""

    __tablename__ = "tile_hashes"

    level: int = Field(primary_key=True)
    idx: int = Field(primary_key=True, sa_type=BIG_INT)
    hash: bytes


class LogHeadRow(SQLModel, table=True):
    """The one head row: size, right edge of the tree, signed checkpoint, time of the last entry."""

    __tablename__ = "log_head"

    id: int = Field(default=1, primary_key=True)
    size: int = Field(sa_type=BIG_INT)
    frontier: bytes
    checkpoint: bytes
    time_ms: int = Field(sa_type=BIG_INT)


class InvocationRow(SQLModel, table=True):
    """Which record an invocation id became: the same id with another payload is a conflict."""

    __tablename__ = "invocations"

    invocation_id: str = Field(primary_key=True)
    idx: int = Field(sa_type=BIG_INT)


class TrustRecordRow(SQLModel, table=True):
    """Which records are trust records, so that the keys are known without reading every envelope.

    An index into the log, not a truth of its own: `check_log` derives it again.
    """

    __tablename__ = "trust_records"

    idx: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT)
