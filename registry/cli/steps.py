"""Progress of work that has several steps: one line on the terminal for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry.cli.progress import Report, progress


@contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that takes what is being done, how much is done, and how much there is."""
    with progress() as line:
        lines: dict[str, Report | None] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in lines:
                lines[what] = line(what)
            shown = lines[what]
            if shown is not None:
                shown(done, total)

        yield report
