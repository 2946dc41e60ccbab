"""Thumbnails, by which a look-up verifies its candidates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; what came before has no row, and gets one when its fingerprints are made anew.

    `genops catalog fingerprint` does that.
    """
    op.create_table(
        "thumbnails",
        sa.Column("sha256", sa.LargeBinary(), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("made", sa.String(), nullable=False),
    )
