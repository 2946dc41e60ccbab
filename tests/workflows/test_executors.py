"""What every executor promises, on this machine's processes, on Ray and on Dask."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from registry.errors import GenopsError, InputError, MissingExtraError, UnavailableError
from registry.workflows.audit.executors import Done, Executor, work
from registry.workflows.audit.places import executor_for

HERE = str(Path(__file__).parent)
JOBS = 2
DEADLINE_S = 60
SECRET = "not for others"
SEEN: set[int] = set()
"""Processes that stations were in."""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: set[int]) -> bool:
    """Wait until processes have ended, for a while."""
    end = time.monotonic() + DEADLINE_S
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module", params=["processes", "ray", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """One of each, started once, on loopback."""
    pytest.importorskip(
        {"processes": "os", "dask": "distributed"}.get(request.param, request.param)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        patch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("GENOPS_PASSPHRASE", SECRET)
        for name in ("RAY_ADDRESS", "DASK_SCHEDULER_ADDRESS"):
            patch.delenv(name, raising=False)
        import stations

        with executor_for(request.param, partial(stations.Counting, os.getpid()), JOBS) as opened:
            yield opened
        assert gone(SEEN - {os.getpid()}), "a worker outlived its executor"


def values(done: list[Done[Any]]) -> list[Any]:
    SEEN.update(one.value["pid"] for one in done)
    return sorted(one.value["value"] for one in done)


def test_each_task_has_one_outcome_by_a_station_that_is_kept(executor: Executor) -> None:
    taken = 0

    def tasks() -> Iterator[tuple[str, int]]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield "say", number

    done = []
    for one in work(executor, tasks()):
        done.append(one)
        assert taken - len(done) < 2 * JOBS, "tasks are taken further ahead than they are done"
    assert values(done) == list(range(40))
    assert sorted(one.task for one in done) == [("say", number) for number in range(40)]
    assert max(one.value["done"] for one in done) >= 40 / JOBS


def test_a_task_that_fails_or_takes_its_worker_with_it_does_no_harm(
    executor: Executor, tmp_path: Path
) -> None:
    bad = [("fail", "bread"), ("stumble", 0), ("die", str(tmp_path / "tries"))]
    done = list(work(executor, [("say", 0), *bad, *[("say", number) for number in range(1, 6)]]))
    said = {one.task[0]: one.error for one in done if one.error is not None}
    assert said.keys() == {"fail", "stumble", "die"}
    assert "no bread today" in said["fail"].message
    assert isinstance(said["stumble"], GenopsError)
    assert said["die"].code == "audit.worker-died"
    assert (tmp_path / "tries").read_text() == "x", "it was tried again"
    assert values([one for one in done if one.error is None]) == list(range(6))


def test_workers_of_other_systems_get_no_secret_with_their_environment(executor: Executor) -> None:
    seen = values(list(work(executor, [("variable", "GENOPS_PASSPHRASE")])))
    assert seen == ([SECRET] if executor.name == "processes" else [""])
    assert os.environ["GENOPS_PASSPHRASE"] == SECRET


def test_whoever_stops_listening_ends_the_work(executor: Executor) -> None:
    done = work(executor, [("say", 0), *[("sleep", 0.2)] * 1000])
    assert next(done).error is None
    done.close()
    assert values(list(work(executor, [("say", 5)]))) == [5]


def test_an_unknown_executor_and_no_jobs_are_refused() -> None:
    with pytest.raises(InputError, match="no executor 'slurm'"):
        executor_for("slurm", lambda: None, 1)
    with pytest.raises(InputError) as caught:
        executor_for("processes", lambda: None, 0)
    assert caught.value.code == "audit.jobs"


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("dask", "distributed")])
def test_an_executor_that_is_not_installed_is_named(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        executor_for(name, lambda: None, 1)
    assert f"genops-registry[{name}]" in caught.value.hint


def test_a_cluster_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    monkeypatch.setattr("registry.workflows.audit.on_dask._START_S", 1)
    with pytest.raises(UnavailableError) as caught:
        executor_for("dask", lambda: None, 1)
    assert "DASK_SCHEDULER_ADDRESS" in caught.value.hint
