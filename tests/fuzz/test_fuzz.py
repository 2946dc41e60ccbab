"""Hostile input: whatever is fed to a parser, it answers, or refuses with an error of ours.

Every target gets the same cases each time; `make torture` runs a million new ones. A failure shows
the bytes, and `attack(target, SEED, CASES)` makes them again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from registry.errors import FormatError, GenopsError
from tests.fuzz import harness
from tests.fuzz.harness import Target, attack
from tests.fuzz.mutate import mutate_bytes
from tests.fuzz.targets import TARGETS

SEED = 1
CASES = 1000
FEWEST = 20
BY_NAME = {target.name: target for target in TARGETS}


@pytest.mark.parametrize("name", BY_NAME)
def test_samples_are_accepted(name: str) -> None:
    target = BY_NAME[name]
    assert target.samples
    for data in target.samples:
        target.check(data)


@pytest.mark.parametrize("name", BY_NAME)
def test_nothing_but_our_errors_comes_out(name: str) -> None:
    target = BY_NAME[name]
    print(f"seed {SEED}")
    tally = attack(target, SEED, max(FEWEST, round(CASES * target.share)))
    assert not tally.findings, "\n".join(map(str, tally.findings))
    assert tally.refused, "no case was refused: they are not hostile"


def test_equal_seeds_give_equal_cases() -> None:
    seen: list[list[bytes]] = [[], [], []]
    for cases, seed in zip(seen, (7, 7, 8), strict=True):
        attack(_target(cases.append), seed, 100)
    assert seen[0] == seen[1] != seen[2]


def _raise(error: BaseException) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        raise error

    return check


@pytest.mark.parametrize(
    "error",
    [
        KeyError("a"),
        RecursionError(),
        MemoryError(),
        AssertionError("a promise is broken"),
        FormatError("no code", code=""),
        GenopsError(""),
    ],
    ids=repr,
)
def test_what_should_not_come_out_is_found(error: BaseException) -> None:
    tally = attack(_target(_raise(error)), SEED, 10_000)
    assert len(tally.findings) >= harness.ENOUGH
    assert tally.cases < 10_000


def test_what_does_not_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(data: bytes) -> None:
        while True:
            pass

    monkeypatch.setattr(harness, "HANG_S", 0.05)
    tally = attack(_target(forever), SEED, 1)
    assert [finding.what.split(":")[0] for finding in tally.findings] == ["does not end"]


def _target(check: Callable[[bytes], object]) -> Target:
    return Target("a test's own", (b'{"a":1}',), check, mutate_bytes)


def test_every_mutator_changes_most_of_what_it_is_given() -> None:
    for target in TARGETS:
        rng = Random(SEED)
        made = [target.mutate(target.samples[0], rng, target.samples) for _ in range(100)]
        assert len(set(made) - {target.samples[0]}) >= 40, target.name
