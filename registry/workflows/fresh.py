"""A database that is made, filled and checked, or not made at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError

from registry.errors import InputError
from registry.settings import Settings
from registry.store.engine import open_unchecked
from registry.store.migrate import create_within, drop_within
from registry.store.transaction import write


@contextmanager
def fresh_database(
    settings: Settings, fill: Callable[[Connection], None] = lambda _: None
) -> Iterator[None]:
    """Do as `fresh_tables` does with the database that a home has."""
    engine = open_unchecked(settings, create=True)
    try:
        with fresh_tables(engine, fill):
            yield
    finally:
        engine.dispose()


@contextmanager
def fresh_tables(engine: Engine, fill: Callable[[Connection], None]) -> Iterator[None]:
    """Make a registry's tables and fill them in one transaction; drop them if the block fails.

    Raises HomeError (`home.exists`) for a database that holds a registry, and leaves it alone.
    """
    with write(engine) as conn:
        create_within(conn)
        fill(conn)
    try:
        yield
    except BaseException:
        with write(engine) as conn:
            drop_within(conn)
        raise


def without_password(url: str | None) -> str | None:
    """Return a database's URL as a home's settings may keep it: without its password."""
    if url is None:
        return None
    try:
        parsed = make_url(url)
    except ArgumentError:
        return url  # refused where it is opened
    return parsed.set(password=None).render_as_string() if parsed.password else url


def refuse_password(url: str | None) -> None:
    """Refuse a password where every user of the machine can read it (`database.password`)."""
    if url is not None and without_password(url) != url:
        raise InputError(
            "a database's password does not belong on a command line",
            code="database.password",
            hint="give the whole URL in GENOPS_DATABASE_URL, or the password in ~/.pgpass",
        )
