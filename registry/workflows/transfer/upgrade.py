"""Bring a home of an older release to this one, and restore guards that were dropped.

The database is copied first; the change itself is one transaction.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine

from registry.core.notes import VerifierKey
from registry.core.transfers import UpgradeReport
from registry.errors import InputError, IntegrityError
from registry.log.check import check_log
from registry.log.reader import LogReader
from registry.resources import schema_set
from registry.settings import Settings
from registry.store.engine import open_unchecked
from registry.store.guards import check_guards
from registry.store.migrate import HEAD_REVISION, check_not_newer, migrate_within, revision
from registry.store.transaction import read, refuse_read_only, write
from registry.workflows.fingerprinting import lacking_pictures
from registry.workflows.maintain import rebuild_within
from registry.workflows.services import clock_ms
from registry.workflows.transfer.exporting import Steps, no_steps


def upgrade(
    settings: Settings, vkey: VerifierKey, *, backup: bool = True, steps: Steps = no_steps
) -> UpgradeReport:
    """Bring the database to this version's schema, guards and catalog; idempotent.

    The copy is made beside the database before anything is changed, unless `backup` is off; a
    Postgres database has its own tools for that. Raises HomeError (`home.missing`, `home.newer`,
    `home.read-only`), RollbackError, InputError (`upgrade.no-backup`), IntegrityError
    (`upgrade.log`: the log does not hold, and did not before).
    """
    engine = open_unchecked(settings)
    try:
        refuse_read_only(engine)
        with read(engine) as conn:
            before = check_not_newer(revision(conn))
        guarded = _is_guarded(engine, before)
        if before == HEAD_REVISION and guarded:
            return _report(engine, settings, before, guarded=True, copy=None, records=0)
        reader = LogReader(engine, settings.origin, vkey)
        reader.refuse_rollback(settings.home.checkpoint)
        copy = _copy(settings, before) if backup and before != HEAD_REVISION else None
        records = _bring_up(engine, vkey, before, steps)
        _check(reader, copy, steps)
        return _report(engine, settings, before, guarded=guarded, copy=copy, records=records)
    finally:
        engine.dispose()


def _bring_up(engine: Engine, vkey: VerifierKey, before: str, steps: Steps) -> int:
    """Migrate, restore the guards and, where the schema changed, rebuild the catalog."""

    def progress(done: int, total: int) -> None:
        steps("records", done, total)

    with write(engine) as conn:
        migrate_within(conn)
        return rebuild_within(conn, vkey, progress) if before != HEAD_REVISION else 0


def _is_guarded(engine: Engine, before: str) -> bool:
    """Tell whether the triggers of this version are there; an older one has fewer."""
    if before != HEAD_REVISION:
        return True
    with read(engine) as conn:
        try:
            check_guards(conn)
        except IntegrityError:
            return False
    return True


def _copy(settings: Settings, before: str) -> Path:
    """Copy the database, consistent beside readers and writers; return where."""
    if settings.database_url is not None:
        raise InputError(
            "a Postgres database is not copied by this program",
            code="upgrade.no-backup",
            hint="copy it with pg_dump, then say --no-backup; the change is one transaction",
        )
    source = settings.home.database
    target = source.with_name(f"{source.stem}.schema-{before}.{clock_ms()}.db")
    target.touch(mode=0o600, exist_ok=False)
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
    return target


def _check(reader: LogReader, copy: Path | None, steps: Steps) -> None:
    found = check_log(
        reader, schema_set(), progress=lambda done, total: steps("records checked", done, total)
    )
    if found.problems:
        raise IntegrityError(
            f"the database was brought up to date, and its log does not hold: {found.problems[0]}",
            code="upgrade.log",
            hint="`genops log check` names it all"
            + (f"; the database as it was is {copy}" if copy else ""),
        )


def _report(
    engine: Engine,
    settings: Settings,
    before: str,
    *,
    guarded: bool,
    copy: Path | None,
    records: int,
) -> UpgradeReport:
    with read(engine) as conn:
        lacking = lacking_pictures(conn)
    return UpgradeReport(
        home=str(settings.home.root),
        before=before,
        after=HEAD_REVISION,
        guards_restored=not guarded,
        backup=None if copy is None else str(copy),
        records=records,
        unfingerprinted=lacking,
    )
