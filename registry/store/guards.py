"""Triggers that make the log's tables append-only, against mistakes and casual edits.

And those that note which fingerprints went, so that no index keeps what was removed.

An owner of the database can drop them; a rewritten log is detected by its checkpoint, not here.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from registry.errors import IntegrityError

_KEYS = {
    "log_entries": ("idx", "leaf_hash", "payload_sha256"),
    "envelopes": ("sha256", "rowid"),
    "invocations": ("invocation_id", "rowid"),
    "trust_records": ("idx",),
    "tile_hashes": ("level, idx", "rowid"),
    "cosignatures": ("size, name, key_id", "rowid"),
}
"""What names a row, by table: SQLite's own rowid too, where no column is its alias."""
_HEAD = "log_head"
_SHRINKS = "NEW.id <> OLD.id OR NEW.size < OLD.size OR NEW.time_ms < OLD.time_ms"
_REFUSE = "genops_append_only()"
_REFUSE_BODY = """
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END """


FINGERPRINTS_LOCK = 0x67656E6F7074
"""Postgres' advisory lock under which fingerprints come and go, so that row ids come in order."""
_PRINTS = "fingerprints"
_NOTE_REMOVAL = f"""
  INSERT INTO fingerprint_removals (id, top)
    VALUES (OLD.id, coalesce((SELECT max(id) FROM {_PRINTS}), 0));
  DELETE FROM fingerprint_blocks WHERE name = OLD.name AND first <= OLD.id AND last =
    (SELECT min(last) FROM fingerprint_blocks WHERE name = OLD.name AND last >= OLD.id);
  DELETE FROM fingerprint_blocks WHERE last > coalesce((SELECT max(id) FROM {_PRINTS}), 0);
"""  # noqa: S608  # names are ours
"""An index reads what went, and what had it packed goes with it.

So does what covers row ids that SQLite hands out again: a new row there would be passed over.
"""
_CHANGES_PRINT = f"UPDATE OF id, sha256, name, value ON {_PRINTS}"
_FUNCTIONS = {
    _REFUSE: _REFUSE_BODY,
    "genops_fingerprint_gone()": f"""
BEGIN{_NOTE_REMOVAL}  RETURN NULL;
END """,
    "genops_fingerprints_in_order()": f"""
BEGIN
  PERFORM pg_advisory_xact_lock({FINGERPRINTS_LOCK});
  RETURN NULL;
END """,
}
"""Postgres' functions behind the triggers, with their bodies."""


def install_guards(conn: Connection) -> None:
    """Make the triggers, or make them anew (a batch migration silently drops them)."""
    sqlite = conn.dialect.name == "sqlite"
    if not sqlite:
        for function, body in _FUNCTIONS.items():
            declared = f"CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql"
            conn.execute(text(f"{declared} AS $${body}$$"))
    for name, (table, statement) in _guards(sqlite=sqlite).items():
        conn.execute(text(f"DROP TRIGGER IF EXISTS {name}{'' if sqlite else f' ON {table}'}"))
        conn.execute(text(statement))


def drop_guards(conn: Connection) -> None:
    """Remove what the triggers of dropped tables leave behind."""
    if conn.dialect.name != "sqlite":
        for function in _FUNCTIONS:
            conn.execute(text(f"DROP FUNCTION IF EXISTS {function}"))


def check_guards(conn: Connection) -> None:
    """Raise IntegrityError (`log.unguarded`) when a trigger is missing or was weakened."""
    sqlite = conn.dialect.name == "sqlite"
    present = _sqlite_triggers(conn) if sqlite else _postgres_triggers(conn)
    wanted = _guards(sqlite=sqlite)
    unlike = [name for name, (_, statement) in wanted.items() if present.get(name) != statement]
    if unlike:
        raise IntegrityError(
            f"the database no longer guards its log: {', '.join(unlike)} gone or changed",
            code="log.unguarded",
            hint="find out who did it; `genops upgrade` restores the triggers",
        )


def _guards(*, sqlite: bool) -> dict[str, tuple[str, str]]:
    """Return, by trigger name, its table and its statement."""
    make, head = (_sqlite_guards, _sqlite_head) if sqlite else (_postgres_guards, _postgres_head)
    found = {
        name: (table, statement)
        for table, keys in _KEYS.items()
        for name, statement in make(table, keys).items()
    }
    prints = _sqlite_prints() if sqlite else _postgres_prints()
    found |= {name: (_HEAD, statement) for name, statement in head().items()}
    return found | {name: (_PRINTS, statement) for name, statement in prints.items()}


def _sqlite_guards(table: str, keys: tuple[str, ...]) -> dict[str, str]:
    return {
        f"{table}_no_update": _sqlite_trigger(f"{table}_no_update", "UPDATE", table),
        f"{table}_no_delete": _sqlite_trigger(f"{table}_no_delete", "DELETE", table),
        f"{table}_no_replace": _sqlite_no_replace(table, keys),
    }


def _sqlite_head() -> dict[str, str]:
    return {
        f"{_HEAD}_no_shrink": _sqlite_trigger(f"{_HEAD}_no_shrink", "UPDATE", _HEAD, _SHRINKS),
        f"{_HEAD}_no_delete": _sqlite_trigger(f"{_HEAD}_no_delete", "DELETE", _HEAD),
        f"{_HEAD}_no_replace": _sqlite_no_replace(_HEAD, ("id",)),
    }


def _sqlite_prints() -> dict[str, str]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_PRINTS} is append-only'); END"
    return {
        f"{_PRINTS}_gone": f"CREATE TRIGGER {_PRINTS}_gone AFTER DELETE ON {_PRINTS} "
        f"BEGIN{_NOTE_REMOVAL}END",
        f"{_PRINTS}_no_update": f"CREATE TRIGGER {_PRINTS}_no_update BEFORE {_CHANGES_PRINT} "
        + refuse,
    }


def _sqlite_no_replace(table: str, keys: tuple[str, ...]) -> str:
    """Return a trigger that refuses an INSERT OR REPLACE before it replaces a row.

    It deletes without a DELETE trigger unless recursive_triggers is on, which each connection
    chooses for itself.
    """
    clash = " OR ".join(f"({key}) = ({_new(key)})" for key in keys)
    found = f"EXISTS (SELECT 1 FROM {table} WHERE {clash})"  # noqa: S608  # names are ours
    return _sqlite_trigger(f"{table}_no_replace", "INSERT", table, found)


def _new(key: str) -> str:
    return ", ".join(f"NEW.{column}" for column in key.split(", "))


def _sqlite_trigger(name: str, event: str, table: str, when: str = "") -> str:
    condition = f"WHEN {when} " if when else ""
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    return f"CREATE TRIGGER {name} BEFORE {event} ON {table} {condition}{refuse}"


def _postgres_guards(table: str, _keys: tuple[str, ...]) -> dict[str, str]:
    return {
        f"{table}_no_change": _postgres_trigger(f"{table}_no_change", "DELETE OR UPDATE", table),
        f"{table}_no_truncate": _postgres_trigger(f"{table}_no_truncate", "TRUNCATE", table),
    }


def _postgres_head() -> dict[str, str]:
    return {
        f"{_HEAD}_no_shrink": _postgres_trigger(f"{_HEAD}_no_shrink", "UPDATE", _HEAD, _SHRINKS),
        f"{_HEAD}_no_delete": _postgres_trigger(f"{_HEAD}_no_delete", "DELETE", _HEAD),
        f"{_HEAD}_no_truncate": _postgres_trigger(f"{_HEAD}_no_truncate", "TRUNCATE", _HEAD),
    }


def _postgres_prints() -> dict[str, str]:
    gone, in_order = (function for function in _FUNCTIONS if function != _REFUSE)
    return {
        f"{_PRINTS}_gone": f"CREATE TRIGGER {_PRINTS}_gone AFTER DELETE ON {_PRINTS} "
        f"FOR EACH ROW EXECUTE FUNCTION {gone}",
        f"{_PRINTS}_in_order": f"CREATE TRIGGER {_PRINTS}_in_order BEFORE INSERT OR DELETE "
        f"ON {_PRINTS} FOR EACH STATEMENT EXECUTE FUNCTION {in_order}",
        f"{_PRINTS}_no_update": f"CREATE TRIGGER {_PRINTS}_no_update BEFORE {_CHANGES_PRINT} "
        f"FOR EACH ROW EXECUTE FUNCTION {_REFUSE}",
    }


def _postgres_trigger(name: str, event: str, table: str, when: str = "") -> str:
    """Return a trigger in the words in which Postgres gives it back (`pg_get_triggerdef`)."""
    per = "STATEMENT" if event == "TRUNCATE" else "ROW"
    condition = f"WHEN ({when.replace('NEW', 'new').replace('OLD', 'old')}) " if when else ""
    return (
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH {per} {condition}"
        f"EXECUTE FUNCTION {_REFUSE}"
    )


def _sqlite_triggers(conn: Connection) -> dict[str, str]:
    rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {row[0]: row[1] for row in rows}


def _postgres_triggers(conn: Connection) -> dict[str, str]:
    """Return every trigger that is enabled and whose function is whole."""
    rows = conn.execute(
        text(
            "SELECT tgname, pg_get_triggerdef(pg_trigger.oid, true) FROM pg_trigger"
            " JOIN pg_proc ON pg_proc.oid = tgfoid"
            " WHERE NOT tgisinternal AND tgenabled = 'O' AND prosrc = ANY(:bodies)"
        ),
        {"bodies": list(_FUNCTIONS.values())},
    )
    return {row[0]: row[1] for row in rows}
