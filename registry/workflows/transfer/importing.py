"""Make a working home from an export or a backup: everything is verified before it is one.

The log is taken over as it is; catalog, tree and indexes are derived anew. Nothing of a source is
believed that the log's key or the list of digests does not vouch for, and a failure leaves nothing
behind: no folder, no tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from registry.core import exports
from registry.core.notes import VerifierKey
from registry.core.transfers import ImportReport
from registry.errors import HomeError, InputError, IntegrityError
from registry.settings import (
    Home,
    Settings,
    default_actor,
    given_limits,
    given_passphrase,
    load_settings,
)
from registry.workflows import setup
from registry.workflows.fresh import fresh_database
from registry.workflows.services import Services
from registry.workflows.transfer.checks import Counts, check_import
from registry.workflows.transfer.exporting import Steps, no_steps
from registry.workflows.transfer.filling import Filler
from registry.workflows.transfer.home_files import write_home_files
from registry.workflows.transfer.sources import ExportReader, open_export, open_keys, other_key
from registry.workflows.transfer.staging import staged_folder

Assemble = Callable[[Settings], Services]
Ask = Callable[[], str | None]


def import_home(
    source: str | Path,
    path: str | Path,
    *,
    assemble: Assemble,
    database_url: str | None = None,
    keys: str | Path | None = None,
    log_key: str | None = None,
    passphrase: Ask = lambda: None,
    steps: Steps = no_steps,
) -> ImportReport:
    """Make a home at `path` from an export or backup; with `keys`, from a backup's keys.

    `database_url` puts log and catalog into an empty Postgres database. `log_key` is the verifier
    key that the log must have; without it, and without keys, whoever made the export vouches for
    the key in it. A home without keys verifies and answers, and cannot sign or open texts. Raises
    HomeError (`home.exists`), InputError (`import.*`, `transfer.*`), FormatError and
    IntegrityError (`export.*`, `backup.*`, `log.altered`, `import.log`), KeyFileError
    (`backup.passphrase`).
    """
    root = Path(path).expanduser().absolute()
    if Home(root).config.exists():
        raise HomeError(
            f"{root} is a registry already",
            code="home.exists",
            hint="choose another folder; a home is never overwritten",
        )
    ask = AskOnce(passphrase)
    with staged_folder(root) as stage, _opened(source, keys, stage, ask) as (export, held):
        vkey = _vkey(export, held, log_key)
        settings = _settings(stage, export, held)
        settings = replace(settings, database_url=database_url, passphrase=ask.known())
        return _import(root, settings, vkey, export, held, assemble, steps)


class AskOnce:
    """Asks for a passphrase when it is first needed, and remembers it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._secret: str | None = None

    def __call__(self) -> str | None:
        """Return the passphrase, asking at the first call."""
        self._secret = self._secret or self._ask()
        return self._secret

    def known(self) -> str | None:
        """Return what opens the home's keys: from the environment, else what opened the backup."""
        return given_passphrase() or self._secret


def _import(  # one caller, just above
    root: Path,
    settings: Settings,
    vkey: VerifierKey,
    export: ExportReader,
    held: ExportReader | None,
    assemble: Assemble,
    steps: Steps,
) -> ImportReport:
    home = settings.home
    write_home_files(home, vkey, held)
    filler = Filler(settings, vkey, export, steps)
    filler.blobs()
    with fresh_database(settings, filler.fill), opened_home(assemble, settings) as services:
        counts = check_import(services, steps)
        home.checkpoint.write_bytes(export.read(exports.CHECKPOINT))
        setup.finish(settings)
        return _report(root, settings, vkey, export, filler, counts)


@contextmanager
def _opened(
    source: str | Path, keys: str | Path | None, stage: Path, passphrase: Ask
) -> Iterator[tuple[ExportReader, ExportReader | None]]:
    """Open the source, and whatever holds the home's keys: another backup, the source, nothing."""
    scratch = stage / "work"
    with ExitStack() as opened:
        opened.callback(lambda: scratch.rmdir() if scratch.exists() else None)
        export = opened.enter_context(open_export(Path(source), scratch / "source", passphrase))
        if not export.manifest.has("log"):
            raise InputError(
                f"{source} holds keys alone",
                code="import.no-log",
                hint="give an export or a whole backup, and this one by --keys",
            )
        if keys is None:
            yield export, export if export.manifest.has("home") else None
            return
        held = opened.enter_context(open_keys(keys, scratch / "keys", passphrase))
        yield export, held


def _vkey(export: ExportReader, held: ExportReader | None, log_key: str | None) -> VerifierKey:
    """Return the log's key, after comparing it with every other word on it."""
    vkey = export.vkey()
    if other := other_key(vkey, held, log_key):
        raise IntegrityError(
            f"the log was signed by {vkey}, and the keys given are of {other}",
            code="import.other-log",
            hint="the export and the keys are of two registries",
        )
    if vkey.name != export.manifest.origin:
        raise exports.invalid("its manifest names another log than its key")
    return vkey


def _settings(stage: Path, export: ExportReader, held: ExportReader | None) -> Settings:
    """Return the new home's settings: the old ones, where keys come with them.

    The old database is never among them: a copy must not write where the original does.
    """
    manifest = export.manifest
    kept = {"project": manifest.project, "policy": manifest.policy}
    return settings_of(stage, manifest.origin, kept, held)


def settings_of(
    stage: Path, origin: str, kept: Mapping[str, str], held: ExportReader | None
) -> Settings:
    """Return a new home's settings: those in a backup, else `kept` (project and policy)."""
    name, _, uuid = origin.rpartition("/")
    setup.check_names(name, kept["project"])
    settings = Settings(Home(stage), name, uuid, kept["project"], policy=kept["policy"])
    if held is not None:
        held.check(exports.CONFIG)
        settings = load_settings(held.path(exports.CONFIG).parent, environ={})
    return replace(
        settings,
        home=Home(stage),
        name=name,
        uuid=uuid,
        database_url=None,
        actor=default_actor(),
        limits=given_limits(),
    )


@contextmanager
def opened_home(assemble: Assemble, settings: Settings) -> Iterator[Services]:
    """Give the parts of a home that is being made, and close them at the end."""
    services = assemble(settings)
    try:
        yield services
    finally:
        services.keyring.close()
        services.engine.dispose()


def _report(  # one caller, just above
    root: Path,
    settings: Settings,
    vkey: VerifierKey,
    export: ExportReader,
    filler: Filler,
    counts: Counts,
) -> ImportReport:
    manifest = export.manifest
    return ImportReport(
        home=str(root),
        origin=manifest.origin,
        log_key=str(vkey),
        database="postgres" if settings.database_url else "sqlite",
        size=manifest.size,
        root=manifest.root,
        blobs=filler.stored,
        missing_blobs=filler.listed - filler.stored,
        fingerprints=filler.fingerprints,
        texts=counts.readable,
        locked=counts.locked,
        erased=counts.erased,
        erased_again=counts.erased_again,
        can_sign=(settings.home.keys / setup.LOG_KEY).is_file(),
    )
