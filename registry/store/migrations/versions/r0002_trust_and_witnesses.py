"""Legal holds, re-attestations and witnesses; look-up of records by signer and by actor."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and the indexes; drop one that no query uses."""
    op.drop_index("ix_records_payload_sha256", "records")
    op.create_index("ix_records_keyid", "records", ["keyid"])
    op.create_index("ix_records_actor", "records", ["actor"])
    op.create_table(
        "holds",
        sa.Column("record_idx", _big(), primary_key=True, autoincrement=False),
        sa.Column("target", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("lifted_by", _big(), nullable=True),
    )
    op.create_index("ix_holds_target", "holds", ["target"])
    op.create_table(
        "reattestations",
        sa.Column("record_idx", _big(), primary_key=True, autoincrement=False),
        sa.Column("of_record", sa.LargeBinary(), nullable=False),
    )
    op.create_index("ix_reattestations_of_record", "reattestations", ["of_record"])
    op.create_table(
        "cosignatures",
        sa.Column("size", _big(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("key_id", sa.LargeBinary(), primary_key=True),
        sa.Column("time_s", _big(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "witnessed_logs",
        sa.Column("origin", sa.String(), primary_key=True),
        sa.Column("size", _big(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
    )


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
