"""What every benchmark shares: sizes, results, medians, the disk's own pace, the machine's name.

Knows no subject. Durations are seconds unless a name says otherwise.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VERSIONS_OF = (
    "mlflow",
    "dvc",
    "eventsourcing",
    "faiss-cpu",
    "sqlalchemy",
    "cryptography",
    "jsonschema-rs",
    "numpy",
    "pillow",
)
SYNC_BYTES = 4096
SYNC_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; `QUICK` only shows that everything runs.

    `large_sides` is the share of their sides that large pictures have, `pictures_from` a folder of
    photographs for clustered fingerprints.
    """

    pictures: int
    picture_side: int
    large_sides: float
    callers: int
    submissions: int
    rounds: int
    warm_ups: int
    starts: int
    replays: int
    replay_steps: int
    fingerprints: int
    fingerprints_large: int
    searches: int
    assets: int
    descendants: int
    gated: int
    calls: int
    weights_gb: float
    looked_up: int
    generated: int
    bank: int
    bank_large: int
    bank_large_every: int
    pictures_from: Path | None = None


FULL = Size(
    pictures=30,
    picture_side=1024,
    large_sides=1.0,
    callers=64,
    submissions=4096,
    rounds=5,
    warm_ups=1,
    starts=9,
    replays=15,
    replay_steps=30,
    fingerprints=1_000_000,
    fingerprints_large=10_000_000,
    searches=51,
    assets=300_000,
    descendants=100_000,
    gated=1000,
    calls=30,
    weights_gb=0.75,
    looked_up=36,
    generated=4,
    bank=10_000,
    bank_large=1_000_000,
    bank_large_every=4,
)
QUICK = Size(
    pictures=2,
    picture_side=64,
    large_sides=0.1,
    callers=4,
    submissions=16,
    rounds=1,
    warm_ups=0,
    starts=1,
    replays=1,
    replay_steps=2,
    fingerprints=1000,
    fingerprints_large=3000,
    searches=3,
    assets=60,
    descendants=20,
    gated=2,
    calls=2,
    weights_gb=0.01,
    looked_up=1,
    generated=0,
    bank=9,
    bank_large=100,
    bank_large_every=1,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure: its median, its unit, and what exactly was done."""

    name: str
    value: float
    unit: str
    what: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One claim: what was wanted, and what was found."""

    claim: str
    wanted: str
    found: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """The outcome of one benchmark."""

    title: str
    setting: str
    rows: tuple[Row, ...]
    bars: tuple[Bar, ...]


Benchmark = Callable[[Path, Size], Subject]
"""Measures one subject in an empty folder."""


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Append the seconds that the block took."""
    start = time.perf_counter()
    yield
    into.append(time.perf_counter() - start)


def median_ms(seconds: Sequence[float]) -> float:
    """Return the median of durations, in milliseconds."""
    return statistics.median(seconds) * 1000


def sync_ms(place: Path) -> float:
    """Return the median time of one small durable write on this disk, in milliseconds."""
    taken: list[float] = []
    with (place / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNC_ROUNDS):
            with timed(taken):
                file.write(bytes(SYNC_BYTES))
                os.fsync(file.fileno())
    return median_ms(taken)


def machine() -> str:
    """Return processor, cores, memory, system and Python as one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter here, where they are installed."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
