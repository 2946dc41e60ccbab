"""A station for the contract of executors: importable, as workers on Ray and Dask need it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from registry.errors import GenopsError


class Counting:
    """Says where it is and how much it did; fails, sleeps or dies when it is told to."""

    def __init__(self, home: int) -> None:
        self._home = home
        self._done = 0
        self._busy = False

    def run(self, task: tuple[str, Any]) -> dict[str, Any]:
        assert not self._busy, "two tasks at once"
        self._busy = True
        try:
            return self._do(*task)
        finally:
            self._busy = False

    def _do(self, what: str, value: Any) -> dict[str, Any]:
        self._done += 1
        if what == "fail":
            raise GenopsError(f"no {value} today", code="test.failed")
        if what == "stumble":
            raise ZeroDivisionError(value)
        if what == "die":
            with Path(value).open("a") as tries:
                tries.write("x")
            if os.getpid() != self._home:
                os._exit(9)
            # A pool's station is in the caller's own process, which has to live.
            raise GenopsError("a worker died", code="audit.worker-died")
        if what == "variable":
            return {"value": os.environ.get(value, ""), "pid": os.getpid(), "done": self._done}
        time.sleep(value if what == "sleep" else 0)
        return {"value": value, "pid": os.getpid(), "done": self._done}

    def close(self) -> None:
        self._done = -1
