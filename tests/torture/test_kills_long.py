"""The kills of `tests/faults/test_crash.py`, ten times as many and more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.test_crash import kill_at_random


def test_no_kill_loses_what_was_acknowledged(
    tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    kills = request.config.getoption("--kills")
    told = kill_at_random(tmp_path / "home", tmp_path / "diaries", kills, seed)
    print(f"{told} records were acknowledged between {kills} kills")
    assert told > 0
