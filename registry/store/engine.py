"""Opening the registry's database: SQLite in the home, or Postgres by URL, at the right version.

Imports neither Alembic nor a Postgres driver unless it must create, migrate or reach one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from registry.errors import HomeError, InputError, MissingExtraError
from registry.store.guards import check_guards
from registry.store.migrate import check_version, migrate
from registry.store.sqlite import sqlite_engine
from registry.store.transaction import READ_ONLY, read, refuse_read_only

POSTGRES_DRIVER = "postgresql+psycopg"


class _Home(Protocol):
    @property
    def database(self) -> Path: ...


class _Limits(Protocol):
    @property
    def lock_wait_s(self) -> float: ...


class DatabaseSettings(Protocol):
    """What this room needs of `registry.settings.Settings`, which is its sibling."""

    @property
    def home(self) -> _Home:
        """Where the embedded database lies."""

    @property
    def database_url(self) -> str | None:
        """A Postgres URL, or None for the embedded database."""

    @property
    def limits(self) -> _Limits:
        """How long a writer waits for another."""


def open_engine(settings: DatabaseSettings, *, create: bool = False) -> Engine:
    """Open the database and check its version and its guards.

    With `create`, a missing database is made, an older one migrated and dropped guards restored.
    A home that cannot be written is opened for reading. Raises HomeError (`home.missing`,
    `home.newer`, `home.outdated`, `home.read-only`), UnavailableError (`database.*`),
    IntegrityError (`log.unguarded`), MissingExtraError (Postgres without its driver).
    """
    engine = _engine(settings, create=create)
    try:
        if create:
            refuse_read_only(engine)
            migrate(engine)
        with read(engine) as conn:
            check_version(conn)
            check_guards(conn)
    except BaseException:
        engine.dispose()
        raise
    return engine


def open_unchecked(settings: DatabaseSettings, *, create: bool = False) -> Engine:
    """Open the database whatever its version and its guards are: to make one, or to mend it.

    Raises HomeError (`home.missing`, unless `create`), InputError (`database.url`),
    MissingExtraError.
    """
    return _engine(settings, create=create)


def is_read_only(engine: Engine) -> bool:
    """Tell whether the engine was opened on a home that cannot be written."""
    return bool(engine.get_execution_options().get(READ_ONLY))


def _engine(settings: DatabaseSettings, *, create: bool) -> Engine:
    wait_s = settings.limits.lock_wait_s
    if settings.database_url is not None:
        return _postgres_engine(settings.database_url, wait_s)
    path = settings.home.database
    if not create and not path.is_file():
        raise HomeError(
            f"no database at {path}",
            code="home.missing",
            hint="make a registry with `genops init`, or name another with --home",
        )
    return sqlite_engine(path, wait_s)


def _postgres_engine(url: str, wait_s: float) -> Engine:
    """Return an engine on a Postgres server; a writer waits at most `wait_s` for a lock."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _unfit_url() from None
    if parsed.drivername not in {"postgres", "postgresql", POSTGRES_DRIVER}:
        raise _unfit_url()
    try:
        return create_engine(
            parsed.set(drivername=POSTGRES_DRIVER),
            hide_parameters=True,
            pool_size=8,
            max_overflow=56,
            pool_pre_ping=True,
            connect_args={"options": f"-c lock_timeout={int(wait_s * 1000)}"},
        )
    except ModuleNotFoundError:
        raise MissingExtraError(
            "the database is on Postgres, and its driver is not installed",
            code="install.missing-extra",
            hint="install genops-registry[postgres]",
        ) from None


def _unfit_url() -> InputError:
    return InputError(
        "database_url is not a Postgres URL",
        code="database.url",
        hint=f"write {POSTGRES_DRIVER}://user:password@host/database, or leave it out for SQLite",
    )
