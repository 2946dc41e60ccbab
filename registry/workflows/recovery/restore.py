"""Make a working home from a vault's segments and the backup of its keys.

Of the vault only digests are believed, and of those only the ones that the log's signed checkpoint
leads to. A failure leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from registry.core import exports
from registry.core.generation import Blob
from registry.core.notes import VerifierKey
from registry.core.recovery_answers import RestoreReport
from registry.errors import HomeError, InputError, IntegrityError, MaterialError
from registry.log.replay import Record, Replay
from registry.settings import Home, Settings
from registry.threads import cores
from registry.vault.segments import FOLDER, Segment, copy_segment
from registry.vault.shelf import Pointer, Shelf, copy_blobs, indices_of, read_shelf
from registry.vault.store import Vault
from registry.workflows import setup
from registry.workflows.fresh import fresh_database
from registry.workflows.recovery.filling import (
    Beside,
    Written,
    add_fingerprints,
    write_records,
)
from registry.workflows.recovery.plan import Plan, Signed, first_trust, make_plan, signed_heads
from registry.workflows.transfer.checks import Counts, check_import
from registry.workflows.transfer.exporting import Steps, no_steps
from registry.workflows.transfer.home_files import write_home_files
from registry.workflows.transfer.importing import (
    Ask,
    AskOnce,
    Assemble,
    opened_home,
    settings_of,
)
from registry.workflows.transfer.sources import ExportReader, open_keys, other_key
from registry.workflows.transfer.staging import staged_folder


@dataclass(frozen=True, slots=True)
class _Source:
    """What a home is made from: the vault's segments, the tree in them, the backup of its keys."""

    vault: Vault
    shelf: Shelf
    plan: Plan
    vkey: VerifierKey
    held: ExportReader | None
    kept: list[tuple[Pointer, Segment]]


def restore_home(  # noqa: PLR0913  # all but two by keyword
    source: str | Path,
    path: str | Path,
    *,
    assemble: Assemble,
    keys: str | Path | None = None,
    log_key: str | None = None,
    database_url: str | None = None,
    lose_newest: bool = False,
    passphrase: Ask = lambda: None,
    steps: Steps = no_steps,
) -> RestoreReport:
    """Make a home at `path` from the vault at `source`, as `dvc pull` left it.

    `keys` is a file that `genops backup` made; without it the home answers and verifies, and
    neither signs nor opens texts. `log_key` is the verifier key that the log must have; without
    both, the vault vouches for the key in it. With `lose_newest` records that are nowhere are
    given up. Raises HomeError (`home.exists`), MaterialError (`restore.*`, `material.missing`),
    IntegrityError (`restore.other-log`, `segment.*`, `vault.altered`, `import.log`), RollbackError
    (`log.forked`), and what opening the backup does; nothing is left behind then.
    """
    root = Path(path).expanduser().absolute()
    if Home(root).config.exists():
        raise HomeError(
            f"{root} is a registry already",
            code="home.exists",
            hint="choose another folder; a home is never overwritten",
        )
    vault = _vault(Path(source).expanduser().absolute())
    ask = AskOnce(passphrase)
    with staged_folder(root) as stage, _keys(keys, stage, ask) as held:
        found = _read(vault, held, log_key, lose_newest, steps)
        _, statement = first_trust(found.shelf)
        kept = {"project": statement.predicate.get("genops_project", ""), "policy": "default"}
        settings = settings_of(stage, found.vkey.name, kept, held)
        settings = replace(settings, database_url=database_url, passphrase=ask.known())
        return _restore(root, settings, found, assemble, steps)


def _vault(root: Path) -> Vault:
    """Return the vault at a folder, or in the home at it."""
    for folder in (root, root / "vault"):
        if (folder / ".dvc").is_dir() and (folder / FOLDER).is_dir():
            return Vault(folder)
    raise InputError(
        f"there is no vault with segments at {root}",
        code="restore.no-vault",
        hint="give the folder that holds .dvc and segments/, after `dvc pull`; `genops mirror sync`"
        " writes them",
    )


@contextmanager
def _keys(source: str | Path | None, stage: Path, ask: Ask) -> Iterator[ExportReader | None]:
    if source is None:
        yield None
        return
    with open_keys(source, stage / "work", ask) as held:
        yield held


def _read(
    vault: Vault,
    held: ExportReader | None,
    log_key: str | None,
    lose_newest: bool,
    steps: Steps,
) -> _Source:
    """Read the segments, and choose the tree; nothing is written."""
    shelf = read_shelf(vault, progress=lambda n, total: steps("segments", n, total))
    trust, _ = first_trust(shelf)
    vkey = _vkey(VerifierKey.parse(trust.log_vkey), held, log_key)
    others = [] if held is None else [("the keys' backup", held.read(exports.CHECKPOINT))]
    heads = signed_heads(shelf, vkey, others)
    plan = make_plan(
        shelf,
        heads,
        lose_newest=lose_newest,
        progress=lambda n, total: steps("entries", n, total),
    )
    return _Source(vault, shelf, plan, vkey, held, plan.kept(shelf, vkey))


def _vkey(found: VerifierKey, held: ExportReader | None, log_key: str | None) -> VerifierKey:
    """Return the log's key after comparing the vault's with every other word on it."""
    if other := other_key(found, held, log_key):
        raise IntegrityError(
            f"the log in the vault has the key {found}, and the one given is {other}",
            code="restore.other-log",
            hint="the vault and the keys are of two registries",
        )
    return found


def _restore(
    root: Path, settings: Settings, found: _Source, assemble: Assemble, steps: Steps
) -> RestoreReport:
    home = settings.home
    write_home_files(home, found.vkey, found.held)
    target = Vault(home.vault, max_bytes=settings.limits.blob_bytes)
    blobs = copy_blobs(
        _members(found), found.vault, target, jobs=cores(), progress=_named(steps, "blobs")
    )
    for pointer, _ in found.kept:
        copy_segment(found.vault, pointer.path, target)
    written: list[Written] = []
    with (
        fresh_database(settings, lambda conn: written.append(_fill(conn, settings, found, steps))),
        opened_home(assemble, settings) as services,
    ):
        pictures = written[0].pictures
        fingerprints = add_fingerprints(services, pictures, cores(), _named(steps, "pictures"))
        counts = check_import(services, steps)
        home.checkpoint.write_bytes(found.plan.chosen.note)
        setup.finish(settings)
        return _report(root, settings, found, blobs, fingerprints, counts)


def _members(found: _Source) -> Iterator[Blob]:
    """Yield the blobs that the restored records need, and those that its segments name."""
    for pointer, segment in found.shelf.segments:
        if pointer.first < found.plan.size:
            yield from segment.members.values()


def _fill(conn: Connection, settings: Settings, found: _Source, steps: Steps) -> Written:
    size, shelf = found.plan.size, found.shelf
    here = {index for _, segment in found.kept for index in indices_of(segment)}
    due = {"vault": set(range(size)) - here}
    if settings.mlflow_uri is None:  # MLflow's own database was in the home that is gone
        due["mlflow"] = set(range(size))
    done = 0

    def progress(more: int, _: int) -> None:
        nonlocal done
        done += more
        steps("records", done, size)

    return write_records(
        conn,
        Replay(found.vkey),
        _records(shelf, size),
        found.plan.chosen.note,
        found.vkey,
        Beside(shelf.sealed, shelf.blobs.values(), due),
        progress,
    )


def _records(shelf: Shelf, size: int) -> Iterator[Record]:
    for index in range(size):
        record = shelf.record(index)
        if record is None:  # it was there when the tree was chosen
            raise MaterialError(f"record {index} is gone from the vault", code="material.missing")
        yield record


def _named(steps: Steps, what: str) -> Callable[[int, int], None]:
    return lambda done, total: steps(what, done, total)


def _report(  # one caller, above
    root: Path, settings: Settings, found: _Source, blobs: int, fingerprints: int, counts: Counts
) -> RestoreReport:
    head: Signed = found.plan.chosen
    return RestoreReport(
        home=str(root),
        origin=settings.origin,
        log_key=str(found.vkey),
        database="postgres" if settings.database_url else "sqlite",
        size=head.checkpoint.size,
        root=head.checkpoint.root.hex(),
        lost=found.plan.lost,
        segments=len(found.kept),
        blobs=blobs,
        fingerprints=fingerprints,
        texts=counts.readable,
        locked=counts.locked,
        erased=counts.erased,
        erased_again=counts.erased_again,
        can_sign=(settings.home.keys / "admin.pem").is_file(),
    )
