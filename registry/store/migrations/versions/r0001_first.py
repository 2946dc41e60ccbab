"""The first schema: log, projection and sidecars."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table; the guards are made by `registry.store.guards`."""
    _log()
    _projection()
    _verdicts()
    _sidecars()


def _log() -> None:
    _table(
        "log_entries",
        _row_id("idx"),
        _bytes("entry"),
        _bytes("leaf_hash"),
        _bytes("payload_sha256"),
        _bytes("envelope_sha256"),
        sa.UniqueConstraint("leaf_hash"),
        sa.UniqueConstraint("payload_sha256"),
    )
    _table("envelopes", _bytes("sha256", key=True), _bytes("data"))
    _table("tile_hashes", _int("level", key=True), _big("idx", key=True), _bytes("hash"))
    _table(
        "log_head",
        _int("id", key=True),
        _big("size"),
        _bytes("frontier"),
        _bytes("checkpoint"),
        _big("time_ms"),
    )
    _table("invocations", _text("invocation_id", key=True), _big("idx"))
    _table("trust_records", _row_id("idx"))


def _projection() -> None:
    _table(
        "records",
        _row_id("idx"),
        _bytes("leaf_hash"),
        _bytes("payload_sha256"),
        _big("time_ms"),
        _text("predicate_type"),
        _text("build_type", null=True),
        _text("keyid"),
        _text("project"),
        _text("campaign", null=True),
        _text("actor"),
        _text("invocation_id"),
        sa.Column("reproducible", sa.Boolean(), nullable=True),
    )
    _index("records", "leaf_hash", "payload_sha256", "predicate_type", "project", "campaign")
    _table("subjects", _big("record_idx", key=True), _int("position", key=True), _bytes("sha256"))
    _index("subjects", "sha256")
    _table(
        "nodes",
        _row_id("id"),
        _text("kind"),
        _bytes("sha256"),
        _text("name"),
        _text("uri"),
        _text("storage"),
        _big("record_idx", null=True),
        _int("position", null=True),
    )
    _index("nodes", "sha256")
    op.create_index("ix_nodes_output", "nodes", ["record_idx", "position"], unique=True)
    _outputs()
    _table("edges", _big("child", key=True), _big("parent", key=True), _text("name"))
    _index("edges", "parent")
    _table(
        "closure", _big("ancestor", key=True), _big("descendant", key=True), sqlite_with_rowid=False
    )
    op.create_index("ix_closure_descendant", "closure", ["descendant", "ancestor"])


def _outputs() -> None:
    _table(
        "outputs",
        _row_id("node_id"),
        _big("record_idx"),
        _bytes("sha256"),
        _bytes("pixels", null=True),
        _text("media_type", null=True),
        _int("width", null=True),
        _int("height", null=True),
        _big("size", null=True),
        _text("seed", null=True),
    )
    _index("outputs", "record_idx", "sha256", "pixels")


def _verdicts() -> None:
    _table(
        "taints",
        _row_id("record_idx"),
        _bytes("sha256"),
        _text("severity"),
        _big("cleared_by", null=True),
    )
    _index("taints", "sha256")
    _table("decisions", _row_id("record_idx"), _bytes("sha256"), _text("verdict"), _text("policy"))
    _index("decisions", "sha256")
    _table("reproductions", _row_id("record_idx"), _bytes("of_record"), _text("verdict"))
    _index("reproductions", "of_record")
    _table(
        "models",
        _row_id("record_idx"),
        _bytes("sha256"),
        _text("name"),
        _text("kind"),
        _text("licence"),
        sa.Column("approved", sa.Boolean(), nullable=False),
    )
    _index("models", "sha256")
    _table("erasures", _row_id("record_idx"), _bytes("of_record"))
    _index("erasures", "of_record")


def _sidecars() -> None:
    _table("blobs", _bytes("sha256", key=True), _bytes("md5"), _big("size"))
    _table("sealed", _row_id("record_idx"), _text("key_id"), _bytes("ciphertext"))
    _table(
        "fingerprints",
        _big("id", key=True),
        _bytes("sha256"),
        _text("name"),
        _bytes("value"),
        _int("quality"),
    )
    _index("fingerprints", "name")
    op.create_index("ix_fingerprints_asset", "fingerprints", ["sha256", "name"], unique=True)
    _table(
        "outbox",
        _big("id", key=True),
        _big("record_idx"),
        _text("target"),
        _int("attempts"),
        _big("next_ms"),
        _text("error"),
    )
    op.create_index("ix_outbox_due", "outbox", ["target", "next_ms"])
    _table("mirror_state", _text("key", key=True), _text("value"))


def _table(name: str, *items: sa.schema.SchemaItem, sqlite_with_rowid: bool = True) -> None:
    op.create_table(name, *items, sqlite_with_rowid=sqlite_with_rowid)


def _index(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _big(name: str, *, key: bool = False, null: bool = False) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, primary_key=key, nullable=null)


def _row_id(name: str) -> sa.Column[int]:
    """Return a key that is handed out in log order, never by the database."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _int(name: str, *, key: bool = False, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), primary_key=key, nullable=null)


def _text(name: str, *, key: bool = False, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), primary_key=key, nullable=null)


def _bytes(name: str, *, key: bool = False, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), primary_key=key, nullable=null)
