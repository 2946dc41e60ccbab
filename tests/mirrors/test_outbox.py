from __future__ import annotations

from sqlalchemy import Engine

from registry.mirrors.outbox import Backlog, Outbox
from registry.mirrors.state import MirrorState


def test_due_is_ordered_by_log_index_and_only_for_its_target(outbox: Outbox) -> None:
    outbox.requeue("mlflow", [5, 1, 3])
    outbox.requeue("vault", [2])
    assert [row.index for row in outbox.due("mlflow", 10, 0)] == [1, 3, 5]
    assert [row.index for row in outbox.due("mlflow", 2, 0)] == [1, 3]
    assert [row.index for row in outbox.due("mlflow", 10, 0, after=1)] == [3, 5]


def test_a_failed_row_waits_until_its_time_and_keeps_its_error(outbox: Outbox) -> None:
    outbox.requeue("mlflow", [1, 2])
    first = outbox.due("mlflow", 1, 0)
    outbox.failed([first[0].id], "no route", next_ms=5_000)
    assert [row.index for row in outbox.due("mlflow", 10, 4_999)] == [2]
    late = outbox.due("mlflow", 10, 5_000)
    assert [(row.index, row.attempts) for row in late] == [(1, 1), (2, 0)]
    assert [row.index for row in outbox.due("mlflow", 10, None)] == [1, 2]
    assert outbox.backlog("mlflow") == Backlog(pending=2, failed=1, error="no route")


def test_done_rows_leave_and_nothing_else_does(outbox: Outbox) -> None:
    outbox.requeue("mlflow", [1, 2, 3])
    outbox.done([row.id for row in outbox.due("mlflow", 2, 0)])
    assert outbox.waiting("mlflow") == {3}
    assert outbox.pending("mlflow") == 1
    outbox.done([])
    assert outbox.pending("mlflow") == 1


def test_requeue_adds_only_what_does_not_wait_already(outbox: Outbox) -> None:
    assert outbox.requeue("mlflow", [1, 2, 2]) == 2
    assert outbox.requeue("mlflow", [2, 3]) == 1
    assert outbox.pending("mlflow") == 3


def test_state_is_claimed_by_the_first_writer(engine: Engine) -> None:
    ours, theirs = MirrorState(engine), MirrorState(engine)
    assert ours.get("run") is None
    assert ours.claim("run", "a") == "a"
    assert theirs.claim("run", "b") == "a"
    assert theirs.get("run") == "a"


def test_state_gives_way_only_to_who_knows_what_is_stale(engine: Engine) -> None:
    state = MirrorState(engine)
    state.claim("run", "a")
    assert state.claim("run", "b", stale="z") == "a"
    assert state.claim("run", "b", stale="a") == "b"
    assert state.get("run") == "b"
