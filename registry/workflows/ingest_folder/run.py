"""Takes a library in: files are read by workers, known by their content, and logged here.

A file counts as registered when its record is in the log, and its bytes were in the vault before.
Running it again goes on where it was stopped, whatever stopped it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from filelock import FileLock, Timeout

from registry.core import predicates
from registry.core.digests import asset_id, sha256_hex
from registry.core.ids import uuid7
from registry.core.ingest_answers import FileOutcome, IngestReport
from registry.core.predicates import Head, Predicate, seal_statement
from registry.core.statements import Statement, Subject
from registry.errors import ConflictError, InputError
from registry.similarity.media import UNKNOWN
from registry.similarity.palette import PALETTE
from registry.threads import cores
from registry.workflows.ingest import INGEST, Taken, log_ingest
from registry.workflows.ingest_folder.pool import (
    BATCH,
    Batch,
    read_here,
    read_in_processes,
)
from registry.workflows.ingest_folder.reading import Read, Reader, Ready, Task, failed
from registry.workflows.ingest_folder.walking import (
    Found,
    Passed,
    Wanted,
    check_paths,
    shown,
    walk,
)
from registry.workflows.services import Services
from registry.workflows.submit import check_texts

Progress = Callable[[int, int], None]
"""Called with the files that are done and those there are in all."""
Told = Callable[[FileOutcome], None]
"""Hears what became of each file, in any order, from one thread."""

CALLERS = 32
"""Records that are submitted at once, and committed together."""
FEW = 100
"""With fewer files than this, starting processes takes longer than what they save."""


@dataclass(frozen=True, slots=True)
class Said:
    """What every record of the run says; `actor` is the person who runs it."""

    project: str
    campaign: str | None = None
    note: str = ""
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class How:
    """How a run is done: see `Registry.ingest_many`; None of `jobs` is one a core, or none."""

    all_files: bool = False
    again: bool = False
    dry_run: bool = False
    jobs: int | None = 1


def ingest_many(
    services: Services,
    wanted: Wanted,
    said: Said,
    how: How = How(),
    *,
    told: Told = lambda _: None,
    progress: Progress | None = None,
) -> IngestReport:
    """Register files and folders; what cannot be taken in is told and reported, never fatal.

    Raises InputError (`ingest.paths`, `input.text`), ConflictError (`ingest.running`), and what
    keeps anything from being recorded: HomeError, KeyFileError, TrustError, UnavailableError.
    What was registered before such an error stays.
    """
    check_paths(wanted)
    _check_said(services, said)
    begun = time.monotonic()
    run = _Run(services, said, how, told, progress, _count(wanted) if progress else 0)
    if not how.dry_run:
        services.head(said.project, said.actor)
        services.signer("generator")  # what keeps every file out is said before any is read
    with nullcontext() if how.dry_run else _alone(services, said.project):
        jobs = run.take(wanted)
    return run.report(jobs, time.monotonic() - begun)


def _check_said(services: Services, said: Said) -> None:
    """Refuse what no record could say: the schema judges the record of an imagined file."""
    actor = predicates.actor("0" * 32, "key", said.actor or services.settings.actor)
    head = Head(uuid7(services.now(), services.entropy(10)), said.project, actor)
    imagined = _predicate(said, head, "file", "image/png")
    check_texts(services, imagined)
    sealed = seal_statement([Subject("out/0", "0" * 64)], INGEST, imagined, services.salt)
    services.schemas.check_statement(Statement.parse(sealed.payload).document)


def _predicate(said: Said, head: Head, source: str, media_type: str) -> Predicate:
    return predicates.ingest(
        head,
        source=source,
        media_type=media_type,
        note=said.note or None,
        campaign=said.campaign,
    )


def _count(wanted: Wanted) -> int:
    return sum(isinstance(one, Found) for one in walk(wanted))


@contextmanager
def _alone(services: Services, project: str) -> Iterator[None]:
    """Keep two runs from registering the same file twice; freed when the process dies."""
    work = services.settings.home.work
    work.mkdir(mode=0o700, exist_ok=True)
    name = f"ingest-{sha256_hex(project.encode())[:16]}.lock"
    try:
        with FileLock(work / name, timeout=0, mode=0o600):
            yield
    except Timeout:
        raise ConflictError(
            "files are being taken into this project already",
            code="ingest.running",
            hint="wait until that is done; files that it registered are skipped then",
        ) from None


class _Run:
    """What is known of a run so far; only its own thread changes it."""

    def __init__(
        self,
        services: Services,
        said: Said,
        how: How,
        told: Told,
        progress: Progress | None,
        total: int,
    ) -> None:
        self._services = services
        self._said = said
        self._how = how
        self._told = told
        self._progress = progress
        self._total = total
        self._done = 0
        self._counts: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._failed: list[FileOutcome] = []
        self._duplicates: list[FileOutcome] = []
        self._first: dict[bytes, str] = {}
        self._size = 0

    def take(self, wanted: Wanted) -> int:
        """Read and log all files; return how many processes read them."""
        files = self._files(wanted)
        first = list(islice(files, FEW))
        jobs = self._how.jobs or (cores() if len(first) == FEW else 1)
        with (
            closing(self._readings(chain(first, files), jobs)) as readings,
            ThreadPoolExecutor(CALLERS, thread_name_prefix="ingest-log") as callers,
        ):
            running: set[Future[FileOutcome]] = set()
            for reading in chain.from_iterable(readings):
                if isinstance(reading, FileOutcome):
                    self._tell(self._of_this_run(reading))
                elif not self._is_duplicate(reading):
                    running.add(callers.submit(self._log, reading))
                full = len(running) >= 2 * CALLERS
                running = self._settled(running, wait_for_one=full)
            wait(running)
            self._settled(running, wait_for_one=False)
        return jobs

    def report(self, jobs: int, seconds: float) -> IngestReport:
        """Sum up."""
        return IngestReport(
            ok=not self._failed,
            dry_run=self._how.dry_run,
            project=self._said.project,
            campaign=self._said.campaign,
            files=self._done,
            new=self._counts["new"],
            known=self._counts["known"],
            size=self._size,
            exact_only=self._counts["exact"],
            left_out=dict(sorted(self._left_out.items())),
            duplicates=tuple(self._duplicates),
            failed=tuple(self._failed),
            jobs=jobs,
            seconds=round(seconds, 3),
        )

    def _files(self, wanted: Wanted) -> Iterator[Found]:
        """Yield the files, and note what is passed over."""
        for one in walk(wanted):
            if isinstance(one, Found):
                yield one
            else:
                self._pass_over(one)

    def _pass_over(self, one: Passed) -> None:
        if one.code is not None:
            outcome = failed(one.path, one.code, one.why)
        else:
            outcome = FileOutcome(shown(one.path), "left-out", reason=one.why)
        self._note(outcome)

    def _readings(self, files: Iterable[Found], jobs: int) -> Generator[list[Read], None, None]:
        settings = replace(self._services.settings, passphrase=None)  # readers sign nothing
        task = Task(
            settings=settings,
            project=self._said.project,
            all_files=self._how.all_files,
            again=self._how.again,
            keep=not self._how.dry_run,
        )
        if jobs > 1:
            return read_in_processes(task, jobs, _batches(files))
        reader = Reader(task, self._services.engine, self._services.vault)
        return read_here(reader, _batches(files))

    def _of_this_run(self, outcome: FileOutcome) -> FileOutcome:
        """Tell a file that was registered a moment ago from one that was known before."""
        digest = (outcome.asset or "").removeprefix("sha256:")
        first = self._first.get(bytes.fromhex(digest)) if outcome.state == "known" else None
        return outcome if first is None else replace(outcome, state="duplicate", same_as=first)

    def _is_duplicate(self, ready: Ready) -> bool:
        digest, path = bytes.fromhex(ready.taken.blob.sha256), shown(ready.found.path)
        first = self._first.setdefault(digest, path)
        if first is path:
            return False
        self._tell(replace(_new(ready, None), state="duplicate", same_as=first))
        return True

    def _log(self, ready: Ready) -> FileOutcome:
        """Append the record of one file; called in several threads, to share commits."""
        if self._how.dry_run:
            return _new(ready, None)
        services, said, taken = self._services, self._said, ready.taken
        head = services.head(said.project, said.actor)
        kind = taken.subject.media_type or UNKNOWN
        try:
            receipt = log_ingest(services, _predicate(said, head, ready.found.name, kind), taken)
            if not services.vault.path(taken.blob).exists():  # a draft of these bytes expired
                services.vault.put_file(Path(ready.found.path))
        except InputError as error:
            return failed(ready.found.path, error.code, error.message)
        return _new(ready, receipt.record)

    def _settled(
        self, running: set[Future[FileOutcome]], *, wait_for_one: bool
    ) -> set[Future[FileOutcome]]:
        """Tell of the records that are in the log; return those that are not yet."""
        if wait_for_one:
            wait(running, return_when=FIRST_COMPLETED)
        done = {future for future in running if future.done()}
        for future in done:
            self._tell(future.result())
        return running - done

    def _tell(self, outcome: FileOutcome) -> None:
        self._done += 1
        self._note(outcome)
        if self._progress is not None:
            self._progress(self._done, max(self._done, self._total))

    def _note(self, outcome: FileOutcome) -> None:
        self._counts[outcome.state] += 1
        if outcome.state == "new":
            self._size += outcome.size or 0
            self._counts["exact"] += not outcome.findable
        elif outcome.state == "left-out":
            self._left_out[outcome.reason or ""] += 1
        elif outcome.state == "failed":
            self._failed.append(outcome)
        elif outcome.state == "duplicate":
            self._duplicates.append(outcome)
        self._told(outcome)


def _batches(files: Iterable[Found]) -> Iterator[Batch]:
    source = iter(files)
    while batch := list(islice(source, BATCH)):
        yield batch


def _new(ready: Ready, record: str | None) -> FileOutcome:
    taken: Taken = ready.taken
    return FileOutcome(
        shown(ready.found.path),
        "new",
        asset_id(taken.blob.sha256),
        record,
        taken.subject.media_type,
        taken.blob.size,
        findable=any(value.name != PALETTE for value in taken.fingerprints),
    )
