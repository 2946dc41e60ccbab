"""One writer of the log at a time, among all processes of a home, and each in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from registry.errors import HomeError, UnavailableError

_POLL_S = 0.002


class FairLock:
    """An OS lock that a busy process cannot keep to itself; freed when its holder dies.

    There are two locks. Who waits for the second holds the first, so that a process that has just
    let go queues behind it.
    """

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        self._queue = FileLock(path.with_name(path.name + ".queue"), timeout=wait_s)
        self._turn = FileLock(path, timeout=wait_s)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock during the block.

        Raises UnavailableError (`log.locked`) when it is not to be had in time, HomeError
        (`home.read-only`) when the lock's file cannot be written.
        """
        self._acquire()
        try:
            yield
        finally:
            self._turn.release()

    def _acquire(self) -> None:
        try:
            with self._queue.acquire(poll_interval=_POLL_S):
                self._turn.acquire(poll_interval=_POLL_S)
        except Timeout:
            raise UnavailableError(
                f"another process keeps writing to the log (lock {self._path})",
                code="log.locked",
                hint="try again; a lock is freed when its process ends",
            ) from None
        except OSError as error:
            raise HomeError(
                f"cannot lock {self._path}: {error.strerror}", code="home.read-only"
            ) from error
