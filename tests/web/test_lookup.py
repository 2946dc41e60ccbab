"""Large pictures are decoded a few at a time, however many arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace

import anyio
from anyio import CapacityLimiter

from registry.web.lookup import AT_ONCE, look_up

REQUESTS = 8


class Counting:
    """A façade that notes how many look-ups run side by side; each waits for a second one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pair = threading.Barrier(AT_ONCE, timeout=10)
        self._running = 0
        self.most = 0

    def find(self, data: bytes, *, radius: int, banks: Sequence[str]) -> bytes:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        self._pair.wait()
        time.sleep(0.05)  # long enough for the others to arrive, if nothing held them back
        with self._lock:
            self._running -= 1
        return data


def test_no_more_look_ups_run_at_once_than_allowed():
    registry = Counting()

    async def main() -> None:
        services = SimpleNamespace(registry=registry, lookups=CapacityLimiter(AT_ONCE))
        async with anyio.create_task_group() as group:
            for _ in range(REQUESTS):
                group.start_soon(look_up, services, b"picture")

    anyio.run(main)
    assert registry.most == AT_ONCE
