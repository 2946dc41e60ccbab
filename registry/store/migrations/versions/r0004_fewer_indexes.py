"""Fewer indexes with random keys; fingerprints packed for a restart, and which of them went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop what another index answers as well; add the tables of the indexes of fingerprints."""
    op.drop_index("ix_fingerprints_name", "fingerprints")
    _index_tables()


def _index_tables() -> None:
    op.create_table(
        "fingerprint_blocks",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("last", _big(), primary_key=True, autoincrement=False),
        sa.Column("first", _big(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "fingerprint_removals",
        sa.Column("seq", _big(), primary_key=True),
        sa.Column("id", _big(), nullable=False),
        sa.Column("top", _big(), nullable=False),
    )


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
