"""Where bulk work is done: the port, what drives it, and a pool on this machine.

An executor knows nothing of replays: it opens *seats*, and a seat does one task after the other.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

from registry.errors import GenopsError

Name = Literal["processes", "ray", "dask"]
Task = TypeVar("Task")


class Station(Protocol):
    """What does the tasks, wherever it is put: keeps what is warm from one task to the next."""

    def run(self, task: Any) -> Any:
        """Do one task. Tasks and results can be pickled; an exception loses its own type."""

    def close(self) -> None:
        """Let go of everything that was kept."""


Factory = Callable[[], Station]
"""Makes a station; can be pickled, so that it is made where the work is done."""


class Seat(Protocol):
    """A place with one station; for one thread at a time."""

    def run(self, task: Any) -> Any:
        """Have the task done; GenopsError (`audit.worker-died`) when the place is lost."""

    def close(self) -> None:
        """Close the station and end the place; not twice."""


class Executor(ABC):
    """Opens seats for stations, and ends whatever it started when it is closed.

    Promised to whoever calls `work`: each task has exactly one outcome; those of one seat do not
    overlap; a station lives as long as its seat, so that what it keeps stays warm; a task that
    fails or takes its process with it does no harm to others. `close` may be called twice, while
    tasks run, and leaves no process behind.
    """

    name: Name

    def __init__(self, factory: Factory, jobs: int) -> None:
        self.factory = factory
        self.jobs = jobs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def seat(self) -> Seat:
        """Open a seat; `work` asks for `jobs` of them at most, and for another when one died."""

    def close(self) -> None:  # noqa: B027  # a pool has nothing beside its seats
        """End everything that was started."""


@dataclass(frozen=True, slots=True)
class Done(Generic[Task]):
    """The outcome of one task: a value, or why there is none."""

    task: Task
    value: Any = None
    error: GenopsError | None = None


def work(executor: Executor, tasks: Iterable[Task]) -> Generator[Done[Task], None, None]:
    """Have tasks done; yield the outcome of each as soon as it is there, in any order.

    Takes tasks in this thread, two ahead for each seat, so that making them may be costly. Ending
    early ends what runs.
    """
    seats = _Seats(executor)
    pool = ThreadPoolExecutor(executor.jobs, thread_name_prefix="audit")
    running: set[Future[Done[Task]]] = set()
    source = iter(tasks)
    try:
        while True:
            ahead = islice(source, 2 * executor.jobs - len(running))
            running |= {pool.submit(seats.outcome, task) for task in ahead}
            if not running:
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for one in ended:
                yield one.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        seats.close()
        pool.shutdown(wait=True)


class _Seats:
    """The seats of one run, one for each thread of the pool."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._mine = threading.local()
        self._open: set[Seat] = set()
        self._lock = threading.Lock()
        self._ending = False

    def outcome(self, task: Any) -> Done[Any]:
        """Have one task done in this thread's seat; a lost seat is opened anew for the next."""
        try:
            return Done(task, self._seat().run(task))
        except GenopsError as error:
            self._lose()
            return Done(task, error=error)
        except Exception as error:  # noqa: BLE001  # a library's own: it must not end the others
            self._lose()
            said = f"a worker failed: {type(error).__name__}: {error}"
            return Done(task, error=GenopsError(said, code="audit.worker-failed"))

    def close(self) -> None:
        """Close every seat, whatever it is doing, and open none any more."""
        with self._lock:
            self._ending = True
            left, self._open = self._open, set()
        for seat in left:
            _close(seat)

    def _seat(self) -> Seat:
        seat: Seat | None = getattr(self._mine, "seat", None)
        if seat is None:
            with self._lock:
                if self._ending:
                    raise GenopsError("the work was ended", code="audit.ended")
            seat = self._mine.seat = self._executor.seat()
            with self._lock:
                self._open.add(seat)
        return seat

    def _lose(self) -> None:
        seat: Seat | None = getattr(self._mine, "seat", None)
        self._mine.seat = None
        with self._lock:
            mine = seat in self._open
            self._open.discard(seat)
        if seat is not None and mine:
            _close(seat)


def _close(seat: Seat) -> None:
    with suppress(Exception):  # it is given up either way
        seat.close()


class ProcessPool(Executor):
    """Stations in threads of this process: a replay station has a process of its own."""

    name = "processes"

    def seat(self) -> Seat:
        """Make a station here."""
        return self.factory()
