"""Callers in several processes on one registry, each opening it for itself."""

from __future__ import annotations

import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from bench import inputs


def rate(home: Path, processes: int, callers: int, count: int) -> float:
    """Return submissions per second of all processes, from the first call to the last answer.

    Every process submits `count`, the first to warm up and the others from `callers` threads; the
    registry in `home` must be there.
    """
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in range(processes)]
    workers = [
        context.Process(target=_work, args=(home, callers, range(n * count, (n + 1) * count), pipe))
        for n, (_, pipe) in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    ours = [mine for mine, _ in pipes]
    for pipe in ours:
        pipe.recv()  # it is ready
    for pipe in ours:
        pipe.send(None)
    times: list[tuple[float, float]] = [pipe.recv() for pipe in ours]
    for worker in workers:
        worker.join()
    begin, end = min(start for start, _ in times), max(stop for _, stop in times)
    return processes * (count - 1) / (end - begin)


def _work(home: Path, callers: int, numbers: range, pipe: Connection) -> None:
    from bench.submit_many import rate_of
    from registry.factory import assemble
    from registry.settings import load_settings

    services = assemble(load_settings(home))
    prepared = [inputs.submission(services, number) for number in numbers]
    submit = services.sequencer.submit
    submit(prepared.pop())  # what is imported and compiled at the first is there
    pipe.send(None)
    pipe.recv()
    start = time.monotonic()  # one clock for all processes of a machine
    rate_of(submit, prepared, callers)
    pipe.send((start, time.monotonic()))
