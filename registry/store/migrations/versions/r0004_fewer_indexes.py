"""Fewer indexes with random keys; fingerprints packed for a restart, and which of them went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BANDED = (
    "phash256-draft512-white-lanczos64-gap2-v2",
    "phash256-white-lanczos64-gap2-v1",
    "trimmed-phash256-draft512-white-side512-border16-lanczos64-gap2-v1",
    "black-phash256-draft512-lanczos64-gap2-v1",
)


def upgrade() -> None:
    """Drop what another index answers as well; add the tables of the indexes of fingerprints."""
    op.drop_index("ix_fingerprints_name", "fingerprints")
    op.drop_index("ix_records_leaf_hash", "records")  # `log_entries` has one
    op.drop_index("ix_outputs_pixels", "outputs")
    known = sa.text("pixels IS NOT NULL")
    op.create_index(
        "ix_outputs_pixels", "outputs", ["pixels"], sqlite_where=known, postgresql_where=known
    )
    _index_tables()
    if op.get_bind().dialect.name != "sqlite":
        _bands()


def _index_tables() -> None:
    op.create_table(
        "fingerprint_blocks",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("last", _big(), primary_key=True, autoincrement=False),
        sa.Column("first", _big(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_fingerprint_blocks_last", "fingerprint_blocks", ["last"])
    op.create_table(
        "fingerprint_removals",
        sa.Column("seq", _big(), primary_key=True),
        sa.Column("id", _big(), nullable=False),
        sa.Column("top", _big(), nullable=False),
    )


def _bands() -> None:
    """Index each 16 bits of the hashes of whole pictures, with all that a search reads."""
    names = ", ".join(f"'{name}'" for name in _BANDED)
    for band in range(16):
        key = f"get_byte(value, {2 * band}) * 256 + get_byte(value, {2 * band + 1})"
        op.execute(
            f"CREATE INDEX ix_fingerprints_band{band} ON fingerprints (({key}))"
            f" INCLUDE (id, value) WHERE name IN ({names}) AND octet_length(value) = 32"
        )


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
