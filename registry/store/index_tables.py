"""What the indexes of fingerprints keep: derived from those rows, and made anew without loss."""

from __future__ import annotations

from sqlmodel import Field, SQLModel

from registry.store.types import BIG_INT


class FingerprintBlockRow(SQLModel, table=True):
    """The fingerprints of a name with row ids from `first` to `last`, packed: `size` rows of them.

    Dropped by a trigger with any of its rows; `registry.similarity.stored` makes it and reads it.
    """

    __tablename__ = "fingerprint_blocks"

    name: str = Field(primary_key=True)
    last: int = Field(
        primary_key=True,
        index=True,
        sa_column_kwargs={"autoincrement": False},
        sa_type=BIG_INT,
    )
    first: int = Field(sa_type=BIG_INT)
    size: int
    data: bytes


class FingerprintRemovalRow(SQLModel, table=True):
    """A fingerprint's row that was deleted, and the largest row id that was left; by a trigger."""

    __tablename__ = "fingerprint_removals"

    seq: int | None = Field(default=None, primary_key=True, sa_type=BIG_INT)
    id: int = Field(sa_type=BIG_INT)
    top: int = Field(sa_type=BIG_INT)
