"""Runs a parser on mutated samples, and says what should never have come out of it.

The same seed gives the same cases. A finding carries the bytes that made it.
"""

from __future__ import annotations

import re
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import FrameType

from registry.errors import GenopsError
from tests.fuzz.mutate import Mutator

HANG_S = 120.0
"""A batch takes well below a second; one that takes this long hangs, on the busiest machine too."""
BATCH = 200
ENOUGH = 5
"""Findings of one target after which it is left alone."""

_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Target:
    """A parser under attack.

    `check` takes bytes; it returns when they are accepted and hold what is promised of accepted
    ones, raises GenopsError when they are refused, and AssertionError when a promise is broken.
    `share` is how many cases it gets beside the others: less where one takes long.
    """

    name: str
    samples: Sequence[bytes]
    check: Callable[[bytes], object]
    mutate: Mutator
    share: float = 1.0


@dataclass(frozen=True)
class Finding:
    """What came out of a target that should not have, and the bytes that did it."""

    target: str
    what: str
    data: bytes

    def __str__(self) -> str:
        shown = repr(self.data) if len(self.data) < 3000 else f"{self.data[:1500]!r}…"
        return f"{self.target}: {self.what}\n  data = {shown}"


@dataclass
class Tally:
    """What became of a target's cases: `refused` counts them by error code."""

    cases: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in what another run of the target gave."""
        self.cases += other.cases
        self.accepted += other.accepted
        self.refused += other.refused
        self.findings += other.findings

    def __str__(self) -> str:
        codes = ", ".join(f"{code} {count}" for code, count in self.refused.most_common(4))
        return f"{self.cases:>8} cases, {self.accepted:>7} accepted; {codes}"


class Hang(BaseException):
    """A batch does not end."""


def attack(target: Target, seed: object, cases: int) -> Tally:
    """Run a target on mutations of its samples; equal seeds give equal cases."""
    rng = Random(f"{target.name}/{seed}")
    tally = Tally()
    while tally.cases < cases and len(tally.findings) < ENOUGH:
        last = [b""]
        try:
            with _watchdog():
                for _ in range(min(BATCH, cases - tally.cases)):
                    last[0] = _mutated(target, rng)
                    _run(target, last[0], tally)
        except Hang as hang:
            tally.findings.append(Finding(target.name, f"does not end: {hang}", last[0]))
    return tally


def _mutated(target: Target, rng: Random) -> bytes:
    data = rng.choice(target.samples)
    for _ in range(rng.choice((1, 1, 1, 1, 2))):
        data = target.mutate(data, rng, target.samples)
    return data


def _run(target: Target, data: bytes, tally: Tally) -> None:
    tally.cases += 1
    try:
        target.check(data)
    except GenopsError as error:
        tally.refused[error.code] += 1
        if _CODE.fullmatch(error.code) is None or not error.message:
            tally.findings.append(Finding(target.name, f"an error without a word: {error!r}", data))
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        *_, where = traceback.extract_tb(error.__traceback__)
        what = f"{type(error).__name__}: {str(error)[:300]} ({where.filename}:{where.lineno})"
        tally.findings.append(Finding(target.name, what, data))
    else:
        tally.accepted += 1


@contextmanager
def _watchdog() -> Iterator[None]:
    """Raise Hang in a block that does not end."""

    def bite(number: int, frame: FrameType | None) -> None:
        stack = traceback.extract_stack(frame)
        raise Hang(f"{stack[-1].filename}:{stack[-1].lineno}")

    before = signal.signal(signal.SIGALRM, bite)
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
