"""The database's schema version: checked at every open, raised by Alembic only on demand."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from registry.errors import HomeError
from registry.store.guards import install_guards
from registry.store.transaction import write

HEAD_REVISION = "0002"
"""The schema that this program reads and writes; revisions are four digits that count up."""

_ADVISORY_LOCK = 0x67656E6F7073  # "genops": one migration at a time on a shared server


def check_version(conn: Connection) -> None:
    """Raise HomeError (`home.missing`, `home.outdated`, `home.newer`) unless the schema is ours."""
    found = _revision(conn)
    if found is None:
        raise HomeError(
            "the database holds no registry",
            code="home.missing",
            hint="make one with `genops init`",
        )
    if found > HEAD_REVISION:
        raise _newer(found)
    if found < HEAD_REVISION:
        raise HomeError(
            f"the database has schema {found}, and this program needs {HEAD_REVISION}",
            code="home.outdated",
            hint="back the home up, then `open_engine(settings, create=True)` brings it up to date",
        )


def migrate(engine: Engine) -> None:
    """Bring the database to `HEAD_REVISION` in one transaction, and restore its guards.

    Idempotent. Raises HomeError (`home.newer`) and leaves a newer database alone.
    """
    with write(engine) as conn:
        if conn.dialect.name != "sqlite":
            conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        found = _revision(conn)
        if found is not None and found > HEAD_REVISION:
            raise _newer(found)
        if found != HEAD_REVISION:
            _upgrade(conn)
        install_guards(conn)


def _upgrade(conn: Connection) -> None:
    from alembic import command  # noqa: PLC0415  # half a second that only a migration pays
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    location = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", location.replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, HEAD_REVISION)


def _revision(conn: Connection) -> str | None:
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
