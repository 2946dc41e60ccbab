"""Open or make a registry: the one place where its parts are put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from registry.catalog.holds import refuse_held
from registry.catalog.projector import project
from registry.core.notes import VerifierKey
from registry.log.reader import LogReader
from registry.resources import schema_set
from registry.sdk import Registry
from registry.settings import (
    Settings,
    default_home,
    given_backup_passphrase,
    given_database_url,
    is_url,
    load_settings,
)
from registry.signing import rekey
from registry.signing.keys import open_signer
from registry.signing.sealing import Keyring
from registry.store.engine import open_engine
from registry.vault.blobs import BlobIndex
from registry.vault.store import Vault
from registry.workflows import setup
from registry.workflows.fresh import fresh_database
from registry.workflows.services import Services, clock_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from registry.client import RemoteRegistry
    from registry.core.recovery_answers import RecoverReport, RestoreReport
    from registry.core.transfers import ImportReport, UpgradeReport
    from registry.log.sequencer import Sequencer
    from registry.log.submission import Accepted

Steps = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def open_registry(
    home: str | Path | None = None, *, passphrase: str | None = None
) -> Registry | RemoteRegistry:
    """Open a registry: a home folder, or the http(s) URL of a served one.

    Without `home`, GENOPS_HOME or `.genops` is taken. Raises HomeError when the folder is no home,
    is from a newer version or cannot be read, RollbackError when its database is older than its
    newest checkpoint, UnavailableError when a service cannot be reached.
    """
    place = default_home() if home is None else home
    if is_url(place):
        from registry.client import RemoteRegistry

        return RemoteRegistry(str(place))
    return open_home(place, passphrase=passphrase)


def open_home(home: str | Path, *, passphrase: str | None = None) -> Registry:
    """Open a registry in a folder; see `open_registry`."""
    settings = load_settings(home)
    if passphrase is not None:
        settings = replace(settings, passphrase=passphrase)
    services = assemble(settings)
    services.reader.refuse_rollback(settings.home.checkpoint)
    return Registry(services)


def create_registry(
    path: str | Path,
    *,
    name: str = "genops",
    project: str = "default",
    passphrase: str | None = None,
    database_url: str | None = None,
) -> Registry:
    """Make a registry in a folder: keys, database, vault, and the trust record at index 0.

    `database_url` is an empty Postgres database for log and catalog; else GENOPS_DATABASE_URL,
    else SQLite in the folder. Raises InputError for a name that cannot stand in the log's origin,
    HomeError when the folder or the database is a registry already or cannot be written. A failure
    leaves nothing behind.
    """
    root = Path(path).expanduser().resolve()
    url = database_url or given_database_url()
    with setup.undone_on_failure(root):
        settings = setup.lay_out(
            root, name=name, project=project, passphrase=passphrase, database_url=url
        )
        with fresh_database(settings):
            services = assemble(settings, create=True)
            services.vault.init()
            setup.genesis(services)
            setup.finish(settings)
    return Registry(services)


def import_registry(
    source: str | Path,
    path: str | Path,
    *,
    database_url: str | None = None,
    keys: str | Path | None = None,
    log_key: str | None = None,
    passphrase: Callable[[], str | None] = given_backup_passphrase,
    steps: Steps | None = None,
) -> ImportReport:
    """Make a home from an export or a backup; see `registry.workflows.transfer.importing`.

    `database_url` is an empty Postgres database; else GENOPS_DATABASE_URL, else SQLite.
    """
    from registry.workflows.transfer.importing import import_home

    more = {} if steps is None else {"steps": steps}
    return import_home(
        source,
        path,
        assemble=assemble,
        database_url=database_url or given_database_url(),
        keys=keys,
        log_key=log_key,
        passphrase=passphrase,
        **more,
    )


def restore_registry(
    vault: str | Path,
    path: str | Path,
    *,
    keys: str | Path | None = None,
    log_key: str | None = None,
    database_url: str | None = None,
    lose_newest: bool = False,
    passphrase: Callable[[], str | None] = given_backup_passphrase,
    steps: Steps | None = None,
) -> RestoreReport:
    """Make a home from a pulled vault; see `registry.workflows.recovery.restore`.

    `database_url` is an empty Postgres database; else GENOPS_DATABASE_URL, else SQLite.
    """
    from registry.workflows.recovery.restore import restore_home

    more = {} if steps is None else {"steps": steps}
    return restore_home(
        vault,
        path,
        assemble=assemble,
        keys=keys,
        log_key=log_key,
        database_url=database_url or given_database_url(),
        lose_newest=lose_newest,
        passphrase=passphrase,
        **more,
    )


def recover_registry(
    home: str | Path,
    *,
    more: Sequence[str | Path] = (),
    dry_run: bool = False,
    passphrase: Callable[[], str | None] = given_backup_passphrase,
    steps: Steps | None = None,
) -> RecoverReport:
    """Repair a home whose database is behind; see `registry.workflows.recovery.recover`."""
    from registry.workflows.recovery.recover import recover
    from registry.workflows.transfer.importing import opened_home

    with opened_home(assemble, load_settings(home)) as services:
        given = {} if steps is None else {"steps": steps}
        return recover(services, more=more, dry_run=dry_run, passphrase=passphrase, **given)


def upgrade_registry(
    home: str | Path, *, backup: bool = True, steps: Steps | None = None
) -> UpgradeReport:
    """Bring a home of an older release to this one; see `registry.workflows.transfer.upgrade`."""
    from registry.workflows.transfer.upgrade import upgrade

    settings = load_settings(home)
    more = {} if steps is None else {"steps": steps}
    return upgrade(settings, setup.vkey_of(settings), backup=backup, **more)


def assemble(settings: Settings, *, create: bool = False) -> Services:
    """Put the parts of a registry together; with `create`, make its databases."""
    home = settings.home
    engine = open_engine(settings, create=create)
    rekey.finish(home.keys)
    keyring = Keyring.open(
        home.keyring,
        home.keys,
        create=create,
        wait_s=settings.limits.lock_wait_s,
        passphrase=settings.passphrase,
    )
    vkey = setup.vkey_of(settings)

    def open_sequencer() -> Sequencer:
        from registry.workflows.recovery.freshness import refuse_stale

        refuse_stale(services)  # a home that was put back whole is first seen from outside
        return _sequencer(settings, engine, keyring, vkey)

    services = Services(
        settings=settings,
        engine=engine,
        vault=Vault(home.vault, max_bytes=settings.limits.blob_bytes),
        blobs=BlobIndex(engine),
        keyring=keyring,
        reader=LogReader(engine, settings.origin, vkey),
        open_sequencer=open_sequencer,
    )
    return services


def _sequencer(
    settings: Settings, engine: Engine, keyring: Keyring, vkey: VerifierKey
) -> Sequencer:
    """Open the door to the log; readers never need it, so its parts load here."""
    from registry.log.sequencer import Sequencer

    home = settings.home
    return Sequencer(
        engine=engine,
        keyring=keyring,
        log_signer=lambda: open_signer(home.keys / setup.LOG_KEY, settings.passphrase),
        vkey=vkey,
        lock_path=home.lock,
        checkpoint_path=home.checkpoint,
        schemas=schema_set(),
        projector=_project,
        clock=clock_ms,
        limits=settings.limits,
    )


def _project(conn: Connection, batch: Sequence[Accepted]) -> None:
    """Write a batch's projection, and refuse to commit an erasure of what is held."""
    project(conn, batch)
    refuse_held(conn, batch)
