"""Doing something again and again, so many times, through short failures."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from registry.cli.text import visible
from registry.errors import UnavailableError

T = TypeVar("T")


def rounds(
    act: Callable[[], T],
    times: int,
    every_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """Yield what `act` returns, `times` times, with `every_s` seconds between two.

    What cannot be reached in one round is told on stderr and tried in the next; in the last round,
    and for every other error, it is raised.
    """
    for number in range(1, times + 1):
        try:
            yield act()
        except UnavailableError as error:
            if number == times:
                raise
            print(f"error[{error.code}]: {visible(error.message)}", file=sys.stderr, flush=True)
        if number < times:
            sleep(every_s)
