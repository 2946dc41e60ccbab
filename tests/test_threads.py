"""Work that is handed to a pool is done once, by a thread or by whoever waits for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.threads import Task, cores, results


def test_a_caller_does_what_no_thread_has_begun() -> None:
    hold, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        hold.wait(10)

    with ThreadPoolExecutor(1) as threads:
        try:
            threads.submit(wait)
            assert begun.wait(10)
            tasks = [Task(threads, threading.get_ident) for _ in range(3)]
            assert {task.result() for task in tasks} == {threading.get_ident()}
        finally:
            hold.set()


def test_a_caller_waits_for_what_a_thread_has_begun() -> None:
    begun, done = threading.Event(), []

    def work() -> int:
        begun.set()
        done.append(threading.get_ident())
        return done[-1]

    with ThreadPoolExecutor(1) as threads:
        task = Task(threads, work)
        assert begun.wait(10)
        assert task.result() != threading.get_ident()
    assert len(done) == 1


@pytest.mark.parametrize("count", [0, 1, 7])
def test_results_come_in_order_and_each_is_worked_for_once(count: int) -> None:
    seen: list[int] = []

    def work(number: int) -> int:
        seen.append(number)
        return number * number

    with ThreadPoolExecutor(2) as threads:
        found = results(threads, [lambda n=n: work(n) for n in range(count)])  # type: ignore[misc]
    assert found == [n * n for n in range(count)]
    assert sorted(seen) == list(range(count))


def test_an_error_reaches_the_caller() -> None:
    def fail() -> None:
        raise ValueError("no")

    with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError, match="no"):
        results(threads, [fail, fail])
    assert cores() >= 1
