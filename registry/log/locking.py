"""One writer of the log at a time, among all processes of a home, and each in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import HomeError, UnavailableError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_POLL_S = 0.002


class FairLock:
    """An OS lock that a busy process cannot keep to itself; freed when its holder dies.

    There are two locks. Who waits for the second holds the first, so that a process that has just
    let go queues behind it.
    """

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s
        self._locks: tuple[BaseFileLock, BaseFileLock] | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock during the block.

        Raises UnavailableError (`log.locked`) when it is not to be had in time, HomeError
        (`home.read-only`) when the lock's file cannot be written.
        """
        turn = self._acquire()
        try:
            yield
        finally:
            turn.release()

    def _acquire(self) -> BaseFileLock:
        from filelock import FileLock, Timeout  # noqa: PLC0415  # 40 ms that only a writer pays

        if self._locks is None:
            beside = self._path.with_name(self._path.name + ".queue")
            self._locks = FileLock(beside, self._wait_s), FileLock(self._path, self._wait_s)
        queue, turn = self._locks
        try:
            with queue.acquire(poll_interval=_POLL_S):
                turn.acquire(poll_interval=_POLL_S)
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
        return turn
