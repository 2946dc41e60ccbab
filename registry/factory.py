"""Open or make a registry: the one place where its parts are put together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from registry.catalog.projector import project
from registry.core.notes import VerifierKey
from registry.log.reader import LogReader
from registry.resources import schema_set
from registry.sdk import Registry
from registry.settings import Settings, default_home, is_url, load_settings
from registry.signing.keys import open_signer
from registry.signing.sealing import Keyring
from registry.store.engine import open_engine
from registry.vault.blobs import BlobIndex
from registry.vault.store import Vault
from registry.workflows import setup
from registry.workflows.services import Services, clock_ms

if TYPE_CHECKING:
    from registry.client import RemoteRegistry
    from registry.log.sequencer import Sequencer


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
) -> Registry:
    """Make a registry in a folder: keys, database, vault, and the trust record at index 0.

    Raises InputError for a name that cannot stand in the log's origin, HomeError when the folder
    is a registry already or cannot be written.
    """
    settings = setup.lay_out(Path(path), name=name, project=project, passphrase=passphrase)
    services = assemble(settings, create=True)
    services.vault.init()
    setup.genesis(services)
    setup.finish(settings)
    return Registry(services)


def assemble(settings: Settings, *, create: bool = False) -> Services:
    """Put the parts of a registry together; with `create`, make its databases."""
    home = settings.home
    engine = open_engine(settings, create=create)
    keyring = Keyring.open(home.keyring, home.keys, create=create)
    vkey = setup.vkey_of(settings)
    return Services(
        settings=settings,
        engine=engine,
        vault=Vault(home.vault, max_bytes=settings.limits.blob_bytes),
        blobs=BlobIndex(engine),
        keyring=keyring,
        reader=LogReader(engine, settings.origin, vkey),
        open_sequencer=lambda: _sequencer(settings, engine, keyring, vkey),
    )


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
        projector=project,
        clock=clock_ms,
        limits=settings.limits,
    )
