"""Where files are read: in this process, or in several that may die of a file without harm.

Knows nothing of records; hands batches out and readings back, in any order.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Self

from registry.errors import UnavailableError
from registry.log.check_pool import follow_parent
from registry.store.engine import open_engine
from registry.vault.store import Vault
from registry.workflows.ingest_folder.reading import Read, Reader, Task, failed
from registry.workflows.ingest_folder.walking import Found

BATCH = 16
"""Files that a process is handed at once."""
AHEAD = 2
"""Batches that wait for each process."""
_MOST_DEATHS = 3
"""Files in a row that may end their process; after that it is not the files."""

Batch = Sequence[Found]


def read_here(reader: Reader, batches: Iterable[Batch]) -> Generator[list[Read], None, None]:
    """Read batches in this process, one after the other."""
    try:
        for batch in batches:
            yield reader.read(batch)
    finally:
        reader.close()


def read_in_processes(
    task: Task, jobs: int, batches: Iterable[Batch]
) -> Generator[list[Read], None, None]:
    """Read batches in spawned processes, as many as `jobs`; ending early ends them.

    A file that takes its process with it is `failed`, and the others are read again. Raises
    UnavailableError (`ingest.process`) when processes die of one file after the other.
    """
    with _Processes(task, jobs) as processes:
        yield from processes.read(batches)


class _Processes:
    """A pool of processes that is made anew when one of them dies."""

    def __init__(self, task: Task, jobs: int) -> None:
        self._task = task
        self._jobs = jobs
        self._deaths = 0
        self._pool = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, batches: Iterable[Batch]) -> Generator[list[Read], None, None]:
        """Yield the readings of each batch, as soon as they are there."""
        source = iter(batches)
        running: dict[Future[list[Read]], Batch] = {}
        while True:
            for batch in islice(source, AHEAD * self._jobs - len(running)):
                running[self._submit(batch)] = batch
            if not running:
                return
            lost: list[Batch] = []
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(done)
                if isinstance(done.exception(), BrokenProcessPool):
                    lost.append(batch)
                else:
                    yield done.result()
            if lost:
                yield from self._again([*lost, *running.values()])
                running.clear()

    def _again(self, lost: Iterable[Batch]) -> Generator[list[Read], None, None]:
        """Read what was lost with a process file by file, so that the one at fault is found.

        A batch of which the answer came in time is among them: to store it again does nothing.
        """
        self._restart()
        for batch in lost:
            for found in batch:
                done = self._submit([found])
                if isinstance(done.exception(), BrokenProcessPool):
                    yield [self._died(found)]
                else:
                    self._deaths = 0
                    yield done.result()

    def _died(self, found: Found) -> Read:
        self._deaths += 1
        self._restart()
        if self._deaths >= _MOST_DEATHS:
            raise UnavailableError(
                "processes that read files die one after the other",
                code="ingest.process",
                hint="check free memory, or say --jobs 1; a script of your own must guard its"
                ' start with `if __name__ == "__main__"`',
            )
        return failed(found.path, "image.crashed", "the process that decoded it died of it")

    def _submit(self, batch: Batch) -> Future[list[Read]]:
        try:
            return self._pool.submit(_read, batch)
        except BrokenProcessPool as error:
            broken: Future[list[Read]] = Future()
            broken.set_exception(error)
            return broken

    def _restart(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        """Spawned, not forked: a fork would inherit locks of threads that do not exist in it."""
        from multiprocessing import get_context  # noqa: PLC0415  # one process needs none

        return ProcessPoolExecutor(
            self._jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(self._task,)
        )


_reader_of_process: list[Reader] = []


def _begin(task: Task) -> None:
    import warnings  # noqa: PLC0415  # in a spawned process only

    follow_parent()
    warnings.simplefilter("ignore")  # of damaged metadata; what matters is in the outcome
    settings = task.settings
    vault = Vault(settings.home.vault, max_bytes=settings.limits.blob_bytes)
    _reader_of_process[:] = [Reader(task, open_engine(settings), vault)]


def _read(batch: Batch) -> list[Read]:
    return _reader_of_process[0].read(batch)
