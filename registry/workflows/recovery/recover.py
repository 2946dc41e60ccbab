"""Repair a log that is behind: find what it lacks, compare it with what the log signed, add it.

Nothing is written before all of it fits the newest signed checkpoint. A fork is only explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select

from registry.core import checkpoints
from registry.core.generation import Blob
from registry.core.merkle import leaf_hash
from registry.core.modelsets import parse_modelset
from registry.core.recovery_answers import RecoverReport, Sourced, ranges
from registry.core.times import format_time
from registry.errors import (
    ConflictError,
    GenopsError,
    MissingExtraError,
    RollbackError,
    UnavailableError,
)
from registry.log.check_page import vaulted
from registry.log.head import StoredHead, read_head
from registry.log.locking import FairLock
from registry.log.outside import CheckpointFile
from registry.log.replay import Record, Replay
from registry.log.submission import Accepted
from registry.store.log_tables import LogEntryRow
from registry.store.transaction import read, write
from registry.store.types import table_of
from registry.threads import cores
from registry.vault.segments import FOLDER
from registry.vault.shelf import Shelf, read_shelf
from registry.vault.store import Vault
from registry.workflows.erase import finish_erasures
from registry.workflows.recovery.filling import Beside, add_fingerprints, write_records
from registry.workflows.recovery.freshness import Found, all_heads, refuse_older, stored_head
from registry.workflows.recovery.sources import (
    ExportSource,
    Source,
    VaultSource,
    agree,
    in_cache,
    mlflow_source,
)
from registry.workflows.services import Services
from registry.workflows.transfer.exporting import Steps, no_steps, signed_head
from registry.workflows.transfer.sources import open_export

_ENTRIES = table_of(LogEntryRow)
_PROBE = 16
"""How many records behind the last are looked for in MLflow, where no checkpoint tells."""


@dataclass(slots=True)
class _Case:
    """What is known of a log that may be behind."""

    services: Services
    head: StoredHead
    shelf: Shelf
    sources: list[Source]
    heads: list[Found]
    notes: list[str] = field(default_factory=list)

    @property
    def newest(self) -> Found | None:
        """The largest checkpoint that is known."""
        return max(self.heads, key=lambda found: found.checkpoint.size, default=None)

    def report(self) -> RecoverReport:
        """Return the report of a log that lacks nothing."""
        newest = self.newest
        return RecoverReport(
            ok=True,
            state="sound",
            dry_run=False,
            database=stored_head(self.head),
            newest=None if newest is None else newest.head(),
            missing=(),
            since=None,
            found=(),
            not_found=(),
            without_texts=0,
            recovered=0,
            forked_at=None,
            notes=tuple(self.notes),
        )


@dataclass(slots=True)
class _Gathered:
    """The missing records that were found: each with its source."""

    records: dict[int, Record] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)


def recover(
    services: Services,
    *,
    more: Sequence[str | Path] = (),
    dry_run: bool = False,
    passphrase: Callable[[], str | None] = lambda: None,
    steps: Steps = no_steps,
) -> RecoverReport:
    """Say what the database lacks of what the log signed, and put it back unless `dry_run`.

    `more` are exports, backups and vaults to look into, beside the home's own vault and MLflow.
    All of it is added in one transaction, or nothing is. Raises IntegrityError for a database
    whose own head does not hold, ConflictError (`log.moved`) when somebody wrote meanwhile.
    """
    with ExitStack() as opened:
        case = _look(services, more, opened, passphrase, steps)
        fork = _forked(case)
        if fork is not None:
            return fork
        newest = case.newest
        if newest is None or newest.checkpoint.size <= case.head.size:
            return _probed(case)
        return _repair(case, newest, dry_run=dry_run, steps=steps)


def _look(
    services: Services,
    more: Sequence[str | Path],
    opened: ExitStack,
    passphrase: Callable[[], str | None],
    steps: Steps,
) -> _Case:
    """Read everything that may hold a newer tree; what lies outside before the database."""
    heads, problems = all_heads(services)
    with read(services.engine) as conn:
        head, _ = signed_head(services, conn)
    shelf = read_shelf(
        services.vault, strict=False, progress=lambda n, total: steps("segments", n, total)
    )
    sources: list[Source] = [VaultSource(shelf, head.size, own=True)]
    for place in more:
        sources.append(_open(Path(place).expanduser(), head.size, opened, passphrase))
        heads += _heads_of(services, sources[-1])
    notes = [error.message for error in problems]
    return _Case(services, head, shelf, sources, heads, notes)


def _open(
    path: Path, first: int, opened: ExitStack, passphrase: Callable[[], str | None]
) -> Source:
    for folder in (path, path / "vault"):
        if (folder / ".dvc").is_dir() and (folder / FOLDER).is_dir():
            return VaultSource(read_shelf(Vault(folder), strict=False), first, own=False)
    scratch = Path(opened.enter_context(TemporaryDirectory())) / "source"
    export = opened.enter_context(open_export(path, scratch, passphrase))
    return ExportSource(export, str(path), first)


def _heads_of(services: Services, source: Source) -> Iterator[Found]:
    for where, note in source.notes():
        yield Found(where, note, checkpoints.verify(note, services.reader.vkey))


def _forked(case: _Case) -> RecoverReport | None:
    """Explain a fork, if a checkpoint within the database's size signs another tree than it."""
    within = [found for found in case.heads if found.checkpoint.size <= case.head.size]
    with read(case.services.engine) as conn:
        for found in within:
            try:
                refuse_older(conn, [found])
            except RollbackError as error:
                return _fork_report(case, error.message, found)
    return None


def _fork_report(case: _Case, why: str, newest: Found) -> RecoverReport:
    at = _first_difference(case)
    with_vault = "" if at is None else f"; database and vault differ from record {at} on"
    return replace(
        case.report(),
        ok=False,
        state="forked",
        newest=newest.head(),
        forked_at=at,
        notes=(*case.notes, f"{why}{with_vault}", "nothing was changed: keep both, and compare"),
    )


def _first_difference(case: _Case) -> int | None:
    """Return the first record that the vault holds otherwise than the database."""
    query = select(_ENTRIES.c.idx, _ENTRIES.c.leaf_hash).order_by(_ENTRIES.c.idx)
    with read(case.services.engine) as conn:
        for index, leaf in conn.execute(query.execution_options(yield_per=1000)):
            try:
                record = case.shelf.record(index)
            except GenopsError:
                continue
            if record is not None and leaf_hash(record[0]) != leaf:
                return int(index)
    return None


def _probed(case: _Case) -> RecoverReport:
    """Return the report of a log that no checkpoint says to be behind; MLflow may know more."""
    try:
        mirror = mlflow_source(case.services)
        ahead = [
            index
            for index in range(case.head.size, case.head.size + _PROBE)
            if mirror is not None and mirror.record(index) is not None
        ]
    except (UnavailableError, MissingExtraError) as error:
        case.notes.append(f"MLflow was not asked: {error.message}")
        return case.report()
    if mirror is None or not ahead:
        return case.report()
    case.notes.append(
        f"MLflow holds record {ahead[-1]}, and no checkpoint at hand covers it: give a newer vault,"
        " export or backup by --from"
    )
    missing = range(case.head.size, ahead[-1] + 1)
    return replace(
        case.report(),
        ok=False,
        state="behind",
        missing=ranges(missing),
        since=_since(case.head),
        found=(Sourced(mirror.name, ranges(ahead)),),
        not_found=ranges(index for index in missing if index not in ahead),
    )


def _repair(case: _Case, newest: Found, *, dry_run: bool, steps: Steps) -> RecoverReport:
    missing = range(case.head.size, newest.checkpoint.size)
    gathered = _gather(case, missing, steps)
    not_found = [index for index in missing if index not in gathered.records]
    report = replace(
        case.report(),
        ok=False,
        state="behind",
        dry_run=dry_run,
        missing=ranges(missing),
        since=_since(case.head),
        found=_by_source(gathered),
        not_found=ranges(not_found),
    )
    if not_found:
        return replace(report, notes=tuple(case.notes))
    frontier = case.head.frontier.extend(leaf_hash(gathered.records[i][0]) for i in missing)
    if frontier.root() != newest.checkpoint.root:
        why = f"the records that were found do not lead to what the log signed ({newest.where})"
        return _fork_report(case, why, newest)
    replay = Replay(case.services.reader.vkey, case.services.reader.trust_history())
    accepted = [replay.accept(gathered.records[index]) for index in missing]
    newest = replace(newest, time_ms=accepted[-1].time_ms)
    report = replace(report, ok=True, newest=newest.head(), notes=tuple(case.notes))
    if dry_run:
        return report
    without_texts = _write(case, newest, gathered, accepted, steps)
    return replace(report, recovered=len(missing), without_texts=without_texts)


def _since(head: StoredHead) -> str | None:
    return format_time(head.time_ms) if head.size else None


def _gather(case: _Case, missing: Sequence[int], steps: Steps) -> _Gathered:
    """Look every missing record up in each place, MLflow last; a bad copy counts as none."""
    gathered = _Gathered()
    for number, index in enumerate(missing, start=1):
        for source in case.sources:
            if _take(case, source, index, gathered):
                break
        steps("records looked up", number, len(missing))
    left = [index for index in missing if index not in gathered.records]
    try:
        mirror = mlflow_source(case.services) if left else None
        for number, index in enumerate(left if mirror else (), start=1):
            assert mirror is not None  # noqa: S101  # else nothing is left
            _take(case, mirror, index, gathered)
            steps("records asked of MLflow", number, len(left))
    except (UnavailableError, MissingExtraError) as error:
        case.notes.append(f"MLflow was not asked: {error.message}")
    return gathered


def _take(case: _Case, source: Source, index: int, gathered: _Gathered) -> bool:
    """Take a record from a source if it has a copy that fits together."""
    try:
        record = source.record(index)
    except UnavailableError:
        raise
    except GenopsError as error:
        case.notes.append(f"record {index} in {source.name}: {error.message}")
        return False
    if record is None:
        return False
    if not agree(*record):
        case.notes.append(f"record {index} in {source.name}: its entry is of another envelope")
        return False
    gathered.records[index], gathered.sources[index] = record, source
    return True


def _by_source(gathered: _Gathered) -> tuple[Sourced, ...]:
    found: dict[str, list[int]] = {}
    for index in sorted(gathered.sources):
        found.setdefault(gathered.sources[index].name, []).append(index)
    return tuple(Sourced(name, ranges(indices)) for name, indices in found.items())


def _write(
    case: _Case, newest: Found, gathered: _Gathered, accepted: Sequence[Accepted], steps: Steps
) -> int:
    """Add the records and what lies beside them; return how many came back without their texts."""
    services = case.services
    settings, vkey = services.settings, services.reader.vkey
    blobs = _blobs(case, gathered, accepted)
    history = services.reader.trust_history()
    in_vault = set(case.shelf.records)
    due = {"vault": {index for index in gathered.records if index not in in_vault}}
    records = (gathered.records[item.index] for item in accepted)
    beside = Beside(lambda index: _sealed(case, index), blobs, due)
    with (
        FairLock(settings.home.lock, settings.limits.lock_wait_s).hold(),
        write(services.engine) as conn,
    ):
        if read_head(conn).size != case.head.size:
            raise ConflictError(
                "somebody wrote to the log meanwhile", code="log.moved", hint="try again"
            )
        written = write_records(
            conn, Replay(vkey, history), records, newest.note, vkey, beside, lambda *_: None
        )
    CheckpointFile(settings.home.checkpoint, vkey).publish(newest.note)
    steps("records", len(accepted), len(accepted))
    if settings.home.keyring.is_file():
        finish_erasures(services)
    add_fingerprints(
        services, written.pictures, cores(), lambda n, total: steps("pictures", n, total)
    )
    return written.without_texts


def _sealed(case: _Case, index: int) -> bytes | None:
    """Return a record's encrypted texts from whichever place has them."""
    for source in case.sources:
        try:
            ciphertext = source.sealed(index)
        except (GenopsError, OSError):  # an altered copy, or one that was not fetched
            continue
        if ciphertext is not None:
            return ciphertext
    return None


def _blobs(case: _Case, gathered: _Gathered, accepted: Iterable[Accepted]) -> list[Blob]:
    """Return the blobs of the recovered records that the vault has, or can be given."""
    used = {id(source): source for source in gathered.sources.values()}
    found = {
        blob.sha256: blob
        for source in used.values()
        for blob in source.bring_blobs(case.services.vault)
    }
    wanted = {digest for item in accepted for digest in vaulted(item.statement)}
    while left := wanted - found.keys() - case.services.blobs.get_many(wanted).keys():
        new = list(in_cache(case.services.vault, left))
        found |= {blob.sha256: blob for blob in new}
        wanted = {digest for blob in new for digest in _folder_files(case, blob)}
    return list(found.values())


def _folder_files(case: _Case, blob: Blob) -> Iterator[str]:
    """Yield the digests that a blob lists, if it is the manifest of a model folder."""
    try:
        yield from (file.sha256 for file in parse_modelset(case.services.vault.read(blob)))
    except GenopsError:
        return
