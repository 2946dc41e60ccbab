"""One writer of the log at a time, among all processes of a home, and each in its turn."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from registry.errors import HomeError, UnavailableError
from registry.log.tickets import ORDERED, TicketQueue, opened, pause


class FairLock:
    """An OS lock that is had in the order of arrival, and freed when its holder dies.

    A queue gives the order, and the lock itself (`flock`) keeps out whoever did not queue: a
    backup script, or a system without such a queue, where turns are had as they come.
    """

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s
        self._queue = TicketQueue(path.with_name(path.name + ".queue"))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock during the block.

        Raises UnavailableError (`log.locked`) when it is not to be had in time, HomeError
        (`home.read-only`) when the lock's file cannot be written.
        """
        with ExitStack() as held:
            self._acquire(held)
            yield

    def _acquire(self, held: ExitStack) -> None:
        try:
            if ORDERED:
                held.enter_context(self._queue.turn(self._wait_s))
            descriptor = held.enter_context(opened(self._path))
            self._lock(descriptor)
        except TimeoutError:
            raise UnavailableError(
                f"another process keeps writing to the log (lock {self._path})",
                code="log.locked",
                hint="try again; a lock is freed when its process ends",
            ) from None
        except OSError as error:
            raise HomeError(
                f"cannot lock {self._path}: {error.strerror}", code="home.read-only"
            ) from error

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pause(deadline)
            else:
                return
