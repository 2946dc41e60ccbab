"""Power cuts, simulated: a home as it may lie on the disk, and what must be true of it then."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry.errors import GenopsError
from registry.factory import open_home
from tests.faults.disk import FATES, Disk
from tests.faults.soundness import assert_sound, record
from tests.faults.traces import Life, Told

LIFE = (
    *("create", "open", "tight", "record:a", "record:b", "erase", "record:c", "record:d", "close"),
    *("open:again", "tight:again", "record:e", "record:f", "record:g", "close:last"),
)
Cut = tuple[int, str, int]
"""After how many calls the power goes, a fate by name, and the seed of its chances."""


def losses(life: Life, cuts: Iterable[Cut], memory: Path) -> list[str]:
    """Lose the power at each of the cuts; return what was lost, or did not work after."""
    found, disk, done = [], Disk(), 0
    for at, fate, seed in sorted(cuts):
        for call in life.calls[done:at]:
            disk.apply(call)
        done = at
        place = memory / "disk"
        place.mkdir()
        disk.cut(place, FATES[fate], random.Random(seed))
        try:
            _recover(place / "home", life.told(at))
        except (AssertionError, GenopsError) as error:
            found.append(f"cut at {at}, {fate}, seed {seed}: {type(error).__name__}: {error}")
        shutil.rmtree(place)
    return found


def _recover(home: Path, told: Told) -> None:
    """Open a home with ordinary code after the power came back, check it, and go on with it."""
    if not told.made and not _opens(home):
        return
    before = assert_sound(home, told.records, erased=told.erased, unsure=told.unsure)
    with open_home(home) as registry:
        after = record(registry, "after the cut")
        assert after.index == len(before), "the log does not go on where it ended"
        assert registry.check_log().problems == ()


def _opens(home: Path) -> bool:
    """Tell whether a home whose making was cut short is one after all; else it says so."""
    try:
        open_home(home).close()
    except GenopsError:
        return False
    return True


def random_cuts(life: Life, seed: int) -> Iterator[Cut]:
    """Yield cuts without end, most of them after the home was made."""
    dice = random.Random(seed)
    ready = next(at for at in range(len(life.calls)) if life.told(at).made)
    while True:
        first = 0 if dice.random() < 0.2 else ready
        at = dice.randrange(first, len(life.calls) + 1)
        yield at, dice.choice(list(FATES)), dice.randrange(2**32)
