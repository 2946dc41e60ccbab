"""Every caller of a group commit gets its own answer, whatever becomes of the leader."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence

import pytest

from registry.errors import ConflictError, GenopsError, UnavailableError
from registry.log.group import GroupCommit
from tests.log.conftest import in_threads


class Recorder:
    """A commit that doubles numbers, slowly, and remembers its batches."""

    def __init__(self, pause_s: float = 0.002) -> None:
        self.batches: list[list[int]] = []
        self.running = 0
        self._pause_s = pause_s

    def __call__(self, batch: Sequence[int]) -> Sequence[int | Exception]:
        self.running += 1
        assert self.running == 1, "two commits ran at once"
        time.sleep(self._pause_s)
        self.batches.append(list(batch))
        self.running -= 1
        return [ConflictError(f"{n}") if n % 10 == 7 else 2 * n for n in batch]


def wait_until(condition: object) -> None:
    for _ in range(2000):
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.001)
    raise AssertionError("it never came true")


def test_each_caller_gets_the_answer_to_its_own_item() -> None:
    group = GroupCommit[int, int](Recorder(), 512)
    items = [n for n in range(300) if n % 10 != 7]
    assert in_threads(group.submit, items, 16) == [2 * n for n in items]


def test_callers_that_come_during_a_commit_share_the_next() -> None:
    recorder, begun, go_on = Recorder(), threading.Event(), threading.Event()

    def commit(batch: Sequence[int]) -> Sequence[int | Exception]:
        begun.set()
        go_on.wait(60)
        return recorder(batch)

    group = GroupCommit[int, int](commit, 512)
    first, *others = [threading.Thread(target=group.submit, args=(10 * n,)) for n in range(25)]
    first.start()
    assert begun.wait(60)
    for other in others:
        other.start()
    wait_until(lambda: len(group._waiting) == len(others))
    go_on.set()
    for thread in (first, *others):
        thread.join(60)
    assert list(map(sorted, recorder.batches)) == [[0], [10 * n for n in range(1, 25)]]


def test_a_batch_is_never_larger_than_allowed() -> None:
    recorder = Recorder()
    in_threads(GroupCommit[int, int](recorder, 3).submit, list(range(60)), 20, errors=True)
    assert max(map(len, recorder.batches)) == 3


def test_an_items_error_is_that_of_its_caller_alone() -> None:
    group = GroupCommit[int, int](Recorder(), 512)
    answers = in_threads(group.submit, list(range(100)), 20, errors=True)
    for number, answer in enumerate(answers):
        if number % 10 == 7:
            assert isinstance(answer, ConflictError)
            assert answer.message == str(number)
        else:
            assert answer == 2 * number


def test_a_failed_commit_fails_its_own_batch_and_no_other() -> None:
    recorder = Recorder()

    def commit(batch: Sequence[int]) -> Sequence[int | Exception]:
        outcome = recorder(batch)
        if 13 in batch:
            raise OSError("the disk is gone")
        return outcome

    answers = in_threads(GroupCommit[int, int](commit, 512).submit, range(100), 20, errors=True)
    failed = next(batch for batch in recorder.batches if 13 in batch)
    for number, answer in enumerate(answers):
        lost = isinstance(answer, UnavailableError) and answer.code == "log.failed"
        assert lost == (number in failed)


def test_errors_of_one_cause_are_separate_exceptions() -> None:
    def commit(batch: Sequence[int]) -> Sequence[int | Exception]:
        time.sleep(0.005)
        raise UnavailableError("full", code="database.full", hint="free some space")

    answers = in_threads(GroupCommit[int, int](commit, 512).submit, range(8), 8, errors=True)
    assert len({id(answer) for answer in answers}) == 8
    assert {(a.code, a.hint) for a in answers} == {("database.full", "free some space")}


def test_a_leader_that_dies_leaves_nobody_waiting() -> None:
    entered, go = threading.Event(), threading.Event()

    def commit(batch: Sequence[int]) -> Sequence[int | Exception]:
        if 0 in batch:
            entered.set()
            go.wait(10)
            raise SystemExit  # as when an interpreter shuts down
        return list(batch)

    group = GroupCommit[int, int](commit, 512)

    def lead() -> None:
        with pytest.raises(SystemExit):
            group.submit(0)

    leader = threading.Thread(target=lead)
    leader.start()
    entered.wait(10)
    answers: list[object] = []
    others = [
        threading.Thread(target=lambda n=n: answers.append(group.submit(n))) for n in (1, 2, 3)
    ]
    for other in others:
        other.start()
    wait_until(lambda: len(group._waiting) == 3)
    go.set()
    for thread in (leader, *others):
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(answers) == [1, 2, 3]  # type: ignore[type-var]


def test_the_followers_of_a_dying_leader_are_told_that_the_outcome_is_not_known() -> None:
    entered, go = threading.Event(), threading.Event()

    def commit(batch: Sequence[int]) -> Sequence[int | Exception]:
        if 0 in batch:
            entered.set()
            go.wait(10)
            return list(batch)
        raise SystemExit

    group = GroupCommit[int, int](commit, 512)
    answers: list[object] = []

    def call(number: int) -> None:
        try:
            answers.append(group.submit(number))
        except (GenopsError, SystemExit) as error:
            answers.append(type(error))

    threads = [threading.Thread(target=call, args=(n,)) for n in range(3)]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(group._waiting) == 2)
    go.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert answers[0] == 0
    assert sorted(map(str, answers[1:])) == sorted(map(str, [SystemExit, UnavailableError]))


def test_an_interrupted_follower_leaves_the_queue() -> None:
    entered, go = threading.Event(), threading.Event()
    committed: list[int] = []

    def commit(batch: Sequence[int]) -> Sequence[int | Exception]:
        if 0 in batch:
            entered.set()
            go.wait(10)
        committed.extend(batch)
        return list(batch)

    group = GroupCommit[int, int](commit, 512)
    leader = threading.Thread(target=group.submit, args=(0,))
    leader.start()
    entered.wait(10)

    def interrupt() -> None:
        wait_until(lambda: len(group._waiting) == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        group.submit(1)  # this is the main thread: a signal breaks its wait
    other.join(10)
    go.set()
    leader.join(10)
    assert group.submit(2) == 2
    assert committed == [0, 2]


def test_an_interrupted_leader_that_lets_others_join_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = GroupCommit[int, int](list, 512)
    group._expected = 3  # as after a commit of three
    sleeping, go = threading.Event(), threading.Event()

    def interrupted(_: float) -> None:
        sleeping.set()
        go.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr("registry.log.group.time.sleep", interrupted)
    answers: list[object] = []

    def lead() -> None:
        with pytest.raises(KeyboardInterrupt):
            group.submit(1)

    leader = threading.Thread(target=lead)
    leader.start()
    assert sleeping.wait(10)
    follower = threading.Thread(target=lambda: answers.append(group.submit(2)))
    follower.start()
    for _ in range(10_000):  # not `wait_until`: nobody sleeps here
        if len(group._waiting) == 2:
            break
        follower.join(0.001)
    monkeypatch.undo()
    go.set()
    for thread in (leader, follower):
        thread.join(10)
        assert not thread.is_alive()
    assert answers == [2]


def test_who_was_in_the_last_batch_is_waited_for_while_coming_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches: list[list[int]] = []
    begun, go_on = threading.Event(), threading.Event()

    def commit(batch: Sequence[int]) -> Sequence[int]:
        if not batches:
            begun.set()
            go_on.wait(60)
        batches.append(list(batch))
        return batch

    group = GroupCommit[int, int](commit, 512)

    def caller(number: int) -> threading.Thread:
        thread = threading.Thread(target=group.submit, args=(number,))
        thread.start()
        return thread

    first = caller(1)
    assert begun.wait(60)
    others = [caller(2), caller(3)]
    wait_until(lambda: len(group._waiting) == 2)
    go_on.set()
    for thread in (first, *others):
        thread.join(60)
    assert list(map(sorted, batches)) == [[1], [2, 3]]

    def one_comes_back(_: float) -> None:
        monkeypatch.undo()
        others.append(caller(5))
        wait_until(lambda: len(group._waiting) == 2)

    monkeypatch.setattr("registry.log.group.time.sleep", one_comes_back)
    group.submit(4)
    others[-1].join(60)
    assert list(map(sorted, batches[2:])) == [[4, 5]]


def test_a_lone_caller_never_waits_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: float) -> None:
        raise AssertionError("it waited")

    monkeypatch.setattr("registry.log.group.time.sleep", never)
    group = GroupCommit[int, int](list, 512)
    assert [group.submit(number) for number in range(5)] == [*range(5)]
