"""Banks of fingerprints, what people said of matches, and the keys that the log trusts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; the catalog is rebuilt after, and fills them from the log."""
    op.create_table(
        "trusted_keys",
        sa.Column("keyid", sa.String(), primary_key=True),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("since_ms", _big(), nullable=True),
    )
    op.create_table(
        "banks",
        sa.Column("record_idx", _big(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
    )
    op.create_index("ix_banks_name", "banks", ["name"])
    _entries()
    op.create_table(
        "match_verdicts",
        sa.Column("record_idx", _big(), primary_key=True, autoincrement=False),
        sa.Column("query", sa.LargeBinary(), nullable=False),
        sa.Column("pixels", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("candidate", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
    )
    for column in ("query", "pixels", "value"):
        op.create_index(f"ix_match_verdicts_{column}", "match_verdicts", [column])


def _entries() -> None:
    op.create_table(
        "bank_entries",
        sa.Column("record_idx", _big(), primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("added", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("expires_ms", _big(), nullable=True),
        sa.Column("pixels", sa.LargeBinary(), nullable=True),
        sa.Column("hash_only", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_bank_entries_entry", "bank_entries", ["sha256", "bank"])
    op.create_index("ix_bank_entries_bank", "bank_entries", ["bank"])
    op.create_index("ix_bank_entries_pixels", "bank_entries", ["pixels", "bank"])
    op.create_table(
        "bank_prints",
        sa.Column("id", _big(), primary_key=True, autoincrement=False),
        sa.Column("bank", sa.String(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("quality", sa.Integer(), nullable=False),
    )
    op.create_index("ix_bank_prints_scan", "bank_prints", ["bank", "name", "id"])
    op.create_index("ix_bank_prints_sha256", "bank_prints", ["sha256"])


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
