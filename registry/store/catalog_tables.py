"""The projection's tables: a pure function of the log, droppable and rebuildable.

Row ids are handed out in log order, never by a database sequence, so that a rebuild gives equal
rows. Digests are 32 raw bytes; times are epoch milliseconds.
"""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from registry.store.types import BIG_INT


class RecordRow(SQLModel, table=True):
    """One record as it is listed and filtered."""

    __tablename__ = "records"

    idx: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT)
    leaf_hash: bytes
    payload_sha256: bytes
    time_ms: int = Field(sa_type=BIG_INT)
    predicate_type: str = Field(index=True)
    build_type: str | None
    keyid: str = Field(index=True)
    project: str = Field(index=True)
    campaign: str | None = Field(index=True)
    actor: str = Field(index=True)
    invocation_id: str
    reproducible: bool | None


class SubjectRow(SQLModel, table=True):
    """Which digests a record speaks of: outputs, or the target of a taint, decision or review."""

    __tablename__ = "subjects"

    record_idx: int = Field(primary_key=True, sa_type=BIG_INT)
    position: int = Field(primary_key=True)
    sha256: bytes = Field(index=True)


class NodeRow(SQLModel, table=True):
    """A node of the lineage graph: an output (record, subject), or a material by its digest."""

    __tablename__ = "nodes"
    __table_args__ = (Index("ix_nodes_output", "record_idx", "position", unique=True),)

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT)
    kind: str
    sha256: bytes = Field(index=True)
    name: str
    uri: str
    storage: str
    record_idx: int | None = Field(sa_type=BIG_INT)
    position: int | None


class OutputRow(SQLModel, table=True):
    """What is known of one output beside its lineage; `seed` is a decimal string."""

    __tablename__ = "outputs"
    __table_args__ = (
        Index(
            "ix_outputs_pixels",
            "pixels",
            sqlite_where=text("pixels IS NOT NULL"),
            postgresql_where=text("pixels IS NOT NULL"),
        ),
    )

    node_id: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    record_idx: int = Field(index=True, sa_type=BIG_INT)
    sha256: bytes = Field(index=True)
    pixels: bytes | None
    media_type: str | None
    width: int | None
    height: int | None
    size: int | None = Field(sa_type=BIG_INT)
    seed: str | None


class EdgeRow(SQLModel, table=True):
    """`child` was made from `parent`; `name` is the material's name in the child's record."""

    __tablename__ = "edges"

    child: int = Field(primary_key=True, sa_type=BIG_INT)
    parent: int = Field(primary_key=True, index=True, sa_type=BIG_INT)
    name: str


class ClosureRow(SQLModel, table=True):
    """Every (ancestor, descendant) pair, kept at write time so that a blast radius is a look-up."""

    __tablename__ = "closure"
    __table_args__ = (
        Index("ix_closure_descendant", "descendant", "ancestor"),
        {"sqlite_with_rowid": False},
    )

    ancestor: int = Field(primary_key=True, sa_type=BIG_INT)
    descendant: int = Field(primary_key=True, sa_type=BIG_INT)


class TaintRow(SQLModel, table=True):
    """A taint on a digest; `cleared_by` is the record that cleared it, None while it stands."""

    __tablename__ = "taints"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    sha256: bytes = Field(index=True)
    severity: str
    cleared_by: int | None = Field(sa_type=BIG_INT)


class DecisionRow(SQLModel, table=True):
    """A gate's signed verdict on an asset: PASSED or FAILED."""

    __tablename__ = "decisions"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    sha256: bytes = Field(index=True)
    verdict: str
    policy: str


class ReproductionRow(SQLModel, table=True):
    """A signed reproduction verdict on a generation record."""

    __tablename__ = "reproductions"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    of_record: bytes = Field(index=True)
    verdict: str


class ModelRow(SQLModel, table=True):
    """What was declared about a model or LoRA; the newest record on a digest counts."""

    __tablename__ = "models"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    sha256: bytes = Field(index=True)
    name: str
    kind: str
    licence: str
    approved: bool


class ErasureRow(SQLModel, table=True):
    """Texts of a record were erased: its key is destroyed."""

    __tablename__ = "erasures"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    of_record: bytes = Field(index=True)


class HoldRow(SQLModel, table=True):
    """A legal hold on an asset (its digest) or a record (its leaf hash), as `kind` says.

    `lifted_by` is the record that lifted it, None while it stands.
    """

    __tablename__ = "holds"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    target: bytes = Field(index=True)
    kind: str
    lifted_by: int | None = Field(sa_type=BIG_INT)


class DraftRow(SQLModel, table=True):
    """An output that was recorded as a draft, and what became of it: draft, kept or expired.

    `changed_by` is the record that said so last, None while it is a draft.
    """

    __tablename__ = "drafts"

    record_idx: int = Field(primary_key=True, sa_type=BIG_INT)
    position: int = Field(primary_key=True)
    sha256: bytes = Field(index=True)
    state: str = Field(index=True)
    changed_by: int | None = Field(sa_type=BIG_INT)


class ReattestationRow(SQLModel, table=True):
    """A record was vouched for anew, after the key that signed it was compromised."""

    __tablename__ = "reattestations"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    of_record: bytes = Field(index=True)


class TrustedKeyRow(SQLModel, table=True):
    """A key of which the newest trust record says something.

    `listed` tells whether it may sign at all; since the log time `since_ms` its signatures are not
    believed, None while they all are.
    """

    __tablename__ = "trusted_keys"

    keyid: str = Field(primary_key=True)
    listed: bool
    since_ms: int | None = Field(sa_type=BIG_INT)


class BankRow(SQLModel, table=True):
    """What a record says of a bank of fingerprints: its kind and its owner.

    The first record that is believed decides the kind, the newest one the owner.
    """

    __tablename__ = "banks"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    name: str = Field(index=True)
    kind: str
    owner: str


class BankEntryRow(SQLModel, table=True):
    """An entry that a record put into a bank (`added`) or took out of it.

    Rows are never changed: the newest one that is believed counts, so that a removal by a stolen
    key can be disregarded. `sha256` is of the picture's bytes, or of its fingerprints if
    `hash_only`.
    """

    __tablename__ = "bank_entries"
    __table_args__ = (
        Index("ix_bank_entries_entry", "sha256", "bank"),
        Index("ix_bank_entries_pixels", "pixels", "bank"),
    )

    record_idx: int = Field(primary_key=True, sa_type=BIG_INT)
    position: int = Field(primary_key=True)
    bank: str = Field(index=True)
    sha256: bytes
    added: bool
    owner: str
    source: str
    expires_ms: int | None = Field(sa_type=BIG_INT)
    pixels: bytes | None
    hash_only: bool


class BankPrintRow(SQLModel, table=True):
    """A fingerprint of a bank's entry, as `FingerprintRow` is of an asset.

    Ids grow with the log: the record's index, then the place within the record.
    """

    __tablename__ = "bank_prints"
    __table_args__ = (Index("ix_bank_prints_scan", "bank", "name", "id"),)

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT)
    bank: str
    sha256: bytes = Field(index=True)
    name: str
    value: bytes
    quality: int


class MatchVerdictRow(SQLModel, table=True):
    """What a person said of a match: whether the `query` really is the `candidate` of the bank.

    `pixels` and `value`, the query's pixel digest and whole fingerprint, know it again.
    """

    __tablename__ = "match_verdicts"

    record_idx: int = Field(
        primary_key=True, sa_column_kwargs={"autoincrement": False}, sa_type=BIG_INT
    )
    query: bytes = Field(index=True)
    pixels: bytes | None = Field(index=True)
    value: bytes | None = Field(index=True)
    bank: str
    candidate: bytes
    kind: str
    confirmed: bool
