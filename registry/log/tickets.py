"""A queue among processes, first come first served, without a server.

Who comes takes the next number and locks the byte of that number in a file; whose turn it is when
no lower byte is locked any more. The kernel unlocks the bytes of a process that dies, so that it
holds up nobody. Knows nothing of what the turn is for.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ORDERED = hasattr(fcntl, "F_OFD_SETLK")
"""Whether this system has locks that belong to an open file and not to a process (Linux 3.15)."""

_FLOCK = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid of `struct flock`
_COUNTER = struct.Struct("<q")
_BELOW = 4096
"""Numbers are greater than this; the bytes up to it belong to the counter and its own lock."""
_NEAR_S = 0.0002
_FAR_S = 0.01


class TicketQueue:
    """Gives turns in the order of arrival, to threads and processes alike."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def turn(self, wait_s: float) -> Iterator[None]:
        """Wait for a turn, and have it during the block.

        Raises TimeoutError after `wait_s` seconds, OSError when the file cannot be written.
        """
        deadline = time.monotonic() + wait_s
        with opened(self._path) as ticket:
            number = _take_number(ticket, deadline)
            while (ahead := _number_ahead(ticket, number)) is not None:
                pause(deadline, number - ahead)
            yield


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a lock's file: locks belong to the descriptor, and end with it or with the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _open.add(descriptor)
    try:
        yield descriptor
    finally:
        _open.discard(descriptor)
        os.close(descriptor)


def pause(deadline: float, distance: int = 1) -> None:
    """Sleep before the next look: the first in line looks often, who is far behind seldom.

    Raises TimeoutError after the deadline (`time.monotonic`).
    """
    if time.monotonic() > deadline:
        raise TimeoutError
    time.sleep(min(_FAR_S, _NEAR_S * distance))


def _take_number(ticket: int, deadline: float) -> int:
    """Lock the byte of the next number; the counter is locked for these few microseconds."""
    while not _lock(ticket, fcntl.F_WRLCK, 0):
        pause(deadline)
    stored = os.pread(ticket, _COUNTER.size, 0)
    last = _COUNTER.unpack(stored)[0] if len(stored) == _COUNTER.size else 0
    number = max(_BELOW, last) + 1
    while not _lock(ticket, fcntl.F_WRLCK, number):  # held: the counter was set back
        number += 1
    os.pwrite(ticket, _COUNTER.pack(number), 0)
    _lock(ticket, fcntl.F_UNLCK, 0)
    return number


def _lock(ticket: int, kind: int, byte: int) -> bool:
    """Lock or unlock one byte; tells whether it was to be had."""
    try:
        fcntl.fcntl(ticket, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _number_ahead(ticket: int, number: int) -> int | None:
    """Return a number below this one that is still held, None when it is this one's turn."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _BELOW, number - _BELOW, 0)
    kind, _, held, _, _ = _FLOCK.unpack(fcntl.fcntl(ticket, fcntl.F_OFD_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(held)


_open: set[int] = set()


def _close_inherited() -> None:
    """Let go, in a forked child, of what its parent holds: the parent's end must free it."""
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()


os.register_at_fork(after_in_child=_close_inherited)
