"""A line on the terminal that shows how far long work has come.

Speaks to stderr only, so that what a verb prints stays what it is; silent where that is no
terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


@contextmanager
def progress() -> Iterator[Callable[[str], Report | None]]:
    """Yield a function that opens a line for one kind of work, such as `records`.

    A line shows the part that is done, the rate and the time that is left. The function returns
    None where nobody looks.
    """
    if not sys.stderr.isatty():
        yield lambda _what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeLeft(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield lambda what: _line(shown, what)


def _line(shown: object, what: str) -> Report:
    from rich.progress import Progress

    assert isinstance(shown, Progress)  # noqa: S101  # its library loads late
    line = shown.add_task(what, total=None, rate="")

    def report(done: int, total: int) -> None:
        if shown.tasks[line].total is None:  # what was done before does not count into the rate
            shown.reset(line, total=total, completed=done)
        speed = shown.tasks[line].speed
        rate = "" if speed is None else f"{speed:,.0f}/s"
        shown.update(line, completed=done, total=total, rate=rate)

    return report
