"""Work that is spread over the cores of a machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

T = TypeVar("T")


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Task(Generic[T]):
    """Work for a pool of threads; who needs its result does it, if no thread has begun yet."""

    def __init__(self, threads: Executor, work: Callable[[], T]) -> None:
        """Hand the work to a pool."""
        self._work = work
        self._future = threads.submit(work)

    def result(self) -> T:
        """Return what the work gave, or raise what it raised."""
        return self._work() if self._future.cancel() else self._future.result()


def results(threads: Executor, works: Sequence[Callable[[], T]]) -> list[T]:
    """Return what each gave, in order; the caller takes part, from the other end."""
    tasks = [Task(threads, work) for work in works]
    return [task.result() for task in reversed(tasks)][::-1]
