"""Drafts: outputs that go when nobody keeps them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; no record before it was a draft."""
    op.create_table(
        "drafts",
        sa.Column("record_idx", _big(), primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("changed_by", _big(), nullable=True),
    )
    op.create_index("ix_drafts_sha256", "drafts", ["sha256"])
    op.create_index("ix_drafts_state", "drafts", ["state"])


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
