"""The work folders of replays: one for each run, and none left behind.

A replay's folder is called after its record, so that an erasure finds what a killed replay of that
record left, and is locked while the replay runs, so that nobody takes a living one for a leftover.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.workflows.services import Services

_OURS = re.compile(r"replay-([0-9a-f]{16})-")
_EARLIER = re.compile(r"tmp[a-z0-9_]{8}")
"""What a folder was called, and not locked, before it had the record's name."""


@contextmanager
def replay_folder(services: Services, leaf_hash: bytes) -> Iterator[Path]:
    """Make a folder (0700) for a replay of a record, and remove it at the end."""
    work = services.settings.home.work
    work.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix=f"replay-{leaf_hash.hex()[:16]}-") as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # freed by the system when the process dies
            yield Path(name)
        finally:
            os.close(handle)


def sweep(services: Services, leaf_hashes: Iterable[bytes] = ()) -> int:
    """Remove the folders of replays of these records, and of all that run no more.

    Returns how many there were.
    """
    work = services.settings.home.work
    if not work.is_dir():
        return 0
    wanted = {leaf_hash.hex()[:16] for leaf_hash in leaf_hashes}
    oldest = time.time() - 2 * services.settings.limits.replay_s
    found = [path for path in work.iterdir() if path.is_dir() and _is_over(path, wanted, oldest)]
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return len(found)


def _is_over(path: Path, wanted: set[str], oldest: float) -> bool:
    try:
        if named := _OURS.match(path.name):
            return named[1] in wanted or not _runs(path)
        return bool(_EARLIER.fullmatch(path.name)) and path.stat().st_mtime < oldest
    except FileNotFoundError:  # its own replay was faster
        return False


def _runs(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
