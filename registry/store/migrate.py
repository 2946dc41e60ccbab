"""The database's schema version: checked at every open, raised by Alembic only on demand."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.schema import DropTable
from sqlmodel import SQLModel

from registry.errors import HomeError
from registry.store.guards import drop_guards, install_guards
from registry.store.transaction import write

HEAD_REVISION = "0007"
"""The schema that this program reads and writes; revisions are four digits that count up."""

_ADVISORY_LOCK = 0x67656E6F7073  # "genops": one migration at a time on a shared server


def check_version(conn: Connection) -> None:
    """Raise HomeError (`home.missing`, `home.outdated`, `home.newer`) unless the schema is ours."""
    found = check_not_newer(revision(conn))
    if found < HEAD_REVISION:
        raise HomeError(
            f"the database has schema {found}, and this program needs {HEAD_REVISION}",
            code="home.outdated",
            hint="run `genops upgrade`: it copies the database first, then brings it up to date",
        )


def check_not_newer(found: str | None) -> str:
    """Return a revision; raise HomeError (`home.missing`, `home.newer`) unless it can be ours."""
    if found is None:
        raise HomeError(
            "the database holds no registry",
            code="home.missing",
            hint="make one with `genops init`",
        )
    if found > HEAD_REVISION:
        raise _newer(found)
    return found


def migrate(engine: Engine) -> None:
    """Bring the database to `HEAD_REVISION` in one transaction, and restore its guards.

    Idempotent. Raises HomeError (`home.newer`) and leaves a newer database alone.
    """
    with write(engine) as conn:
        migrate_within(conn)


def migrate_within(conn: Connection) -> None:
    """Do what `migrate` does inside the caller's transaction."""
    _take_turns(conn)
    found = revision(conn)
    if found is not None and found > HEAD_REVISION:
        raise _newer(found)
    if found != HEAD_REVISION:
        _upgrade(conn)
    install_guards(conn)


def create_within(conn: Connection) -> None:
    """Make every table in a database that holds none of ours, in the caller's transaction.

    Raises HomeError (`home.exists`) when a registry lives there.
    """
    _take_turns(conn)
    if revision(conn) is not None or _any_of_ours(conn):
        raise HomeError(
            "the database holds a registry already",
            code="home.exists",
            hint="name an empty database; a registry is never overwritten",
        )
    migrate_within(conn)


def drop_within(conn: Connection) -> None:
    """Undo `create_within`, whatever was put into its tables since."""
    for name in sorted(_our_tables()):
        conn.execute(DropTable(SQLModel.metadata.tables[name], if_exists=True))
    conn.execute(text("DROP TABLE IF EXISTS alembic_version"))
    drop_guards(conn)


def _any_of_ours(conn: Connection) -> bool:
    return bool(_our_tables().intersection(inspect(conn).get_table_names()))


def _our_tables() -> set[str]:
    """Return the names of our tables; the metadata may hold those of others too."""
    from registry.store import (  # noqa: PLC0415
        catalog_tables,
        index_tables,
        log_tables,
        sidecar_tables,
    )

    rows = (
        row
        for room in (log_tables, catalog_tables, sidecar_tables, index_tables)
        for row in vars(room).values()
    )
    tables = (row for row in rows if isinstance(row, type) and issubclass(row, SQLModel))
    return {str(table.__tablename__) for table in tables if table is not SQLModel}


def _take_turns(conn: Connection) -> None:
    if conn.dialect.name != "sqlite":
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def _upgrade(conn: Connection) -> None:
    from alembic import command  # noqa: PLC0415  # half a second that only a migration pays
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    location = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", location.replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, HEAD_REVISION)


def revision(conn: Connection) -> str | None:
    """Return the schema's revision, None when the database holds no registry."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    found = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _newer(found: str) -> HomeError:
    return HomeError(
        f"the database was made by a newer version (schema {found}, this program reads up to "
        f"{HEAD_REVISION})",
        code="home.newer",
        hint="upgrade genops-registry",
    )
