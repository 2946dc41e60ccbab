"""Where a trace can be taken, and fast folders for homes that are written by the hundred."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import tracing

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def traceable() -> None:
    """Skip where no process can be traced."""
    if why := tracing.why_not():
        pytest.skip(why)


@pytest.fixture
def memory() -> Iterator[Path]:
    """An empty folder, in memory where there is such a place: what is tested is on no disk."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder)
