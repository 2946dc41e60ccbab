"""The hostile input of `tests/fuzz`, a million new cases of it (`--cases`), on every core."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

import pytest

from tests.fuzz.harness import Tally, attack
from tests.fuzz.targets import TARGETS

CHUNK = 5000
"""Most cases of one job."""


def test_a_million_hostile_inputs(request: pytest.FixtureRequest, seed: int) -> None:
    wanted: int = request.config.getoption("--cases")
    jobs = _jobs(wanted)
    tallies = {target.name: Tally() for target in TARGETS}
    began = time.monotonic()
    context = multiprocessing.get_context("fork")
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        running = [pool.submit(_job, *job, f"{seed}/{n}") for n, job in enumerate(jobs)]
        for done in as_completed(running):
            name, tally = done.result()
            tallies[name].add(tally)
    for name, tally in tallies.items():
        print(f"{name:24} {tally}")
    total = sum(tally.cases for tally in tallies.values())
    print(f"{total} cases in {time.monotonic() - began:.0f} s on {cores} cores")
    findings = [finding for tally in tallies.values() for finding in tally.findings]
    assert not findings, "\n".join(map(str, findings))
    assert total >= wanted


def _jobs(wanted: int) -> list[tuple[int, int]]:
    """Return (number of a target, cases), cheap targets with more cases, none with few."""
    shares = sum(target.share for target in TARGETS)
    jobs = []
    for number, target in enumerate(TARGETS):
        left = math.ceil(wanted * target.share / shares)
        while left > 0:
            jobs.append((number, min(CHUNK, left)))
            left -= CHUNK
    return jobs


def _job(number: int, cases: int, seed: str) -> tuple[str, Tally]:
    return TARGETS[number].name, attack(TARGETS[number], seed, cases)
