"""Simulated power cuts: what was acknowledged is there, and ordinary code goes on from it.

The calls that a home's life made are replayed up to some instant, on a disk that keeps what was
synced, and of the rest whatever chance leaves. Each cut is opened, checked and written to.
"""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.disk import FATES
from tests.faults.power import LIFE, losses, random_cuts
from tests.faults.scenario import WITHOUT
from tests.faults.traces import Life

pytestmark = pytest.mark.usefixtures("traceable")

CUTS = 30


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A home from its making on: records, an erasure, write-ahead logs that are emptied."""
    return Life.traced(tmp_path_factory.mktemp("power"), *LIFE)


def test_no_power_cut_loses_what_was_acknowledged(life: Life, memory: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown when the test fails
    assert losses(life, islice(random_cuts(life, seed), CUTS), memory) == []


@pytest.mark.parametrize("fate", FATES)
def test_a_home_whose_making_was_answered_is_a_home(life: Life, memory: Path, fate: str) -> None:
    made = next(at for at in range(len(life.calls)) if life.told(at).made)
    assert losses(life, [(made, fate, 1)], memory) == []


@pytest.mark.parametrize("fate", FATES)
def test_a_checkpoint_file_that_was_not_synced_raises_no_alarm(
    life: Life, memory: Path, fate: str
) -> None:
    """The power goes right after the file of a record was put in its place, and a call later."""
    at = [
        place + 1
        for place, call in enumerate(life.calls)
        if call.kind == "rename" and call.to == "home/checkpoint" and life.told(place).made
    ]
    assert losses(life, [(cut, fate, cut) for cut in (at[0], at[-1])], memory) == []


def test_the_life_that_is_cut_moves_pages_from_both_write_ahead_logs(life: Life) -> None:
    """Else the cuts would never fall into that."""
    inside = life.calls[: len(life.calls) - len(life.step("close:last"))]
    ready = next(at for at in range(len(life.calls)) if life.told(at).made)
    for name in ("home/registry.db", "home/keyring.db"):
        assert any(call.kind == "write" and call.path == name for call in inside[ready:])


@pytest.mark.parametrize("what", WITHOUT)
def test_a_sync_that_is_left_out_loses_something(tmp_path: Path, memory: Path, what: str) -> None:
    life = Life.traced(tmp_path, "create", "open", f"careless:{what}")
    cut = next(at for at in range(len(life.calls)) if life.told(at).records)
    (lost,) = losses(life, [(cut, "nothing is left", 0)], memory)
    assert "HomeError" not in lost
