"""Tests that take minutes to hours: more of what the suite samples, or all of it.

`make torture` runs them, `pytest` alone does not: the folder is left out by `norecursedirs`. Each
file says what it multiplies. How much is an option, so that a weekend can be filled:
`make torture TORTURE="--kills 100000 --cuts 100000"`. Every test prints its seed; `--seed` runs it
again. A file added here needs nothing but tests that end by themselves.
"""

from __future__ import annotations

import random

import pytest

from tests.faults.conftest import memory, traceable

__all__ = ["memory", "traceable"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("torture")
    group.addoption("--kills", type=int, default=1000, help="processes killed while they record")
    group.addoption("--cuts", type=int, default=3000, help="simulated power cuts")
    group.addoption("--cases", type=int, default=1_000_000, help="hostile inputs to parsers")
    group.addoption("--seed", type=int, default=None, help="the seed of all chances")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed that was asked for, or a new one; printed, so that a failure can be had again."""
    given: int | None = request.config.getoption("--seed")
    chosen = random.randrange(2**32) if given is None else given
    print(f"seed {chosen}")
    return chosen
