"""Processes killed at random instants: nothing acknowledged is lost, nothing is there by half."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from registry.factory import create_registry, open_home
from tests.faults.killing import WORKERS, told
from tests.faults.soundness import assert_sound, record

KILLS = 100
LONGEST_S = 1800
ROOT = Path(__file__).parents[2]


def kill_at_random(home: Path, folder: Path, kills: int, seed: int) -> int:
    """Kill recording processes that often, check what is left; return how much was told."""
    with create_registry(home, name="test", project="brand"):
        pass
    folder.mkdir()
    places = map(str, (home, folder, kills, seed))
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killing", *places],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
    )
    errors = [path.read_text() for path in folder.glob("*.error")]
    assert not errors, errors[0]
    assert done.returncode == 0, done.stderr
    acknowledged, found, tried = told(folder)
    log = assert_sound(home, acknowledged)
    assert len({one.index for one in acknowledged}) == len(acknowledged)
    assert found <= log.keys()
    assert len(log.keys() - tried) == 1, "only the trust record was never tried"
    return len(acknowledged)


def test_a_hundred_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown when the test fails
    home = tmp_path / "home"
    assert kill_at_random(home, tmp_path / "diaries", KILLS, seed) >= WORKERS

    with open_home(home) as registry:
        after = record(registry, "after all of it")
    assert after.index == assert_sound(home, [after])[after.invocation]
