"""Triggers that make the log's tables append-only, against mistakes and casual edits.

An owner of the database can drop them; a rewritten log is detected by its checkpoint, not here.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from registry.errors import IntegrityError

_KEYS = {
    "log_entries": ("idx", "leaf_hash", "payload_sha256"),
    "envelopes": ("sha256",),
}
_POSTGRES_FUNCTION = """\
CREATE OR REPLACE FUNCTION genops_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$"""


def install_guards(conn: Connection) -> None:
    """Make the triggers, or make them anew (a batch migration silently drops them)."""
    guards = _guards(conn.dialect.name)
    if conn.dialect.name != "sqlite":
        conn.execute(text(_POSTGRES_FUNCTION))
    for name, (table, body) in guards.items():
        on_table = "" if conn.dialect.name == "sqlite" else f" ON {table}"
        conn.execute(text(f"DROP TRIGGER IF EXISTS {name}{on_table}"))
        conn.execute(text(body))


def check_guards(conn: Connection) -> None:
    """Raise IntegrityError (`log.unguarded`) when a trigger is missing or was weakened."""
    guards = _guards(conn.dialect.name)
    present = _sqlite_triggers(conn) if conn.dialect.name == "sqlite" else _postgres_triggers(conn)
    wanted = {
        name: body if conn.dialect.name == "sqlite" else "O" for name, (_, body) in guards.items()
    }
    missing = sorted(name for name, body in wanted.items() if present.get(name) != body)
    if missing:
        raise IntegrityError(
            f"the database no longer guards its log: trigger {', '.join(missing)} is gone",
            code="log.unguarded",
            hint="find out who did it; `open_engine(settings, create=True)` restores the triggers",
        )


def _guards(dialect: str) -> dict[str, tuple[str, str]]:
    """Return, by trigger name, its table and its statement."""
    make = _sqlite_guards if dialect == "sqlite" else _postgres_guards
    return {
        name: (table, body)
        for table, keys in _KEYS.items()
        for name, body in make(table, keys).items()
    }


def _sqlite_guards(table: str, keys: tuple[str, ...]) -> dict[str, str]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    # INSERT OR REPLACE deletes without a DELETE trigger unless recursive_triggers is on, which
    # each connection chooses for itself: so a row that would be replaced is refused up front.
    clash = " OR ".join(f"{key} = NEW.{key}" for key in keys)
    found = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {clash})"  # noqa: S608  # names are ours
    return {
        f"{table}_{verb}": f"CREATE TRIGGER {table}_{verb} BEFORE {event} ON {table} {when}{refuse}"
        for verb, event, when in (
            ("no_update", "UPDATE", ""),
            ("no_delete", "DELETE", ""),
            ("no_replace", "INSERT", f"{found} "),
        )
    }


def _postgres_guards(table: str, _keys: tuple[str, ...]) -> dict[str, str]:
    call = "EXECUTE FUNCTION genops_append_only()"
    return {
        f"{table}_no_change": f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE"
        f" ON {table} FOR EACH ROW {call}",
        f"{table}_no_truncate": f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE"
        f" ON {table} FOR EACH STATEMENT {call}",
    }


def _sqlite_triggers(conn: Connection) -> dict[str, str]:
    rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {row[0]: row[1] for row in rows}


def _postgres_triggers(conn: Connection) -> dict[str, str]:
    """Return each trigger's state: `O` is enabled, `D` disabled."""
    rows = conn.exec_driver_sql(
        "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal"
    )
    return {row[0]: row[1] for row in rows}
