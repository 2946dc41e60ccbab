"""The power cuts of `tests/faults/test_power.py`, thousands of them, and one at every call."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.faults.power import LIFE, losses, random_cuts
from tests.faults.traces import Life

pytestmark = pytest.mark.usefixtures("traceable")


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    return Life.traced(tmp_path_factory.mktemp("power"), *LIFE)


def test_cuts_at_random(
    life: Life, memory: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    cuts = request.config.getoption("--cuts")
    assert losses(life, islice(random_cuts(life, seed), cuts), memory) == []


@pytest.mark.parametrize("fate", ["nothing is left", "names without bytes", "most, torn"])
def test_a_cut_after_every_call(life: Life, memory: Path, seed: int, fate: str) -> None:
    cuts = ((at, fate, seed + at) for at in range(len(life.calls) + 1))
    assert losses(life, cuts, memory) == []
