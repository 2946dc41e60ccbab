"""A clock that jumps: log time never goes back, and everything is judged by it."""

from __future__ import annotations

import pytest

from registry.core.times import MAX_TIME_MS
from registry.errors import GenopsError, TrustError
from registry.factory import create_registry
from registry.log.sequencer import Sequencer
from tests.log.conftest import ROLES, START_MS, Lab

HOUR_MS = 3_600_000
CENTURY_MS = 100 * 365 * 24 * HOUR_MS


def test_log_time_stands_while_the_clock_is_behind_it(lab: Lab, sequencer: Sequencer) -> None:
    times = []
    for now_ms in (START_MS + HOUR_MS, START_MS, 0, START_MS + HOUR_MS + 1):
        lab.now_ms = now_ms
        times.append(sequencer.submit(lab.generation()).time_ms - START_MS)
    assert times == [HOUR_MS, HOUR_MS, HOUR_MS, HOUR_MS + 1]


def test_another_process_with_a_clock_behind_goes_on_at_the_same_time(
    lab: Lab, sequencer: Sequencer
) -> None:
    lab.now_ms = START_MS + HOUR_MS
    sequencer.submit(lab.generation())
    behind = lab.sequencer(engine=lab.open_engine(), clock=lambda: START_MS)
    assert behind.submit(lab.generation()).time_ms == START_MS + HOUR_MS


def test_a_far_future_is_kept_once_it_was_logged_and_loses_nothing(
    lab: Lab, sequencer: Sequencer
) -> None:
    lab.now_ms = START_MS + CENTURY_MS
    sequencer.submit(lab.generation())
    lab.now_ms = START_MS
    receipts = [sequencer.submit(lab.generation()) for _ in range(3)]
    assert [receipt.index for receipt in receipts] == [2, 3, 4]
    assert {receipt.time_ms for receipt in receipts} == {START_MS + CENTURY_MS}


@pytest.mark.parametrize("now_ms", [MAX_TIME_MS + 1, 2**63, -1 - START_MS * 2])
def test_a_clock_that_names_no_time_is_told_and_writes_nothing(
    lab: Lab, sequencer: Sequencer, now_ms: int
) -> None:
    lab.now_ms = now_ms
    submission = lab.generation()
    if now_ms > 0:
        with pytest.raises(GenopsError) as error:
            sequencer.submit(submission)
        assert error.value.code == "time.invalid"
        assert lab.size() == 1
    lab.now_ms = START_MS
    assert sequencer.submit(submission).time_ms == START_MS


def test_a_key_is_judged_by_log_time_whatever_the_clock_says(lab: Lab) -> None:
    windows = {"generator": {"not_after_ms": START_MS + HOUR_MS}}
    windows |= {"reviewer": {"not_before_ms": START_MS + 2 * HOUR_MS}}
    sequencer = lab.sequencer()
    sequencer.submit(lab.trust([lab.key(role, **windows.get(role, {})) for role in ROLES]))
    sequencer.submit(lab.generation())
    with pytest.raises(TrustError):
        sequencer.submit(lab.taint())
    lab.now_ms = START_MS + 2 * HOUR_MS
    sequencer.submit(lab.taint())
    lab.now_ms = START_MS
    sequencer.submit(lab.taint())
    with pytest.raises(TrustError):
        sequencer.submit(lab.generation())


def test_invocation_ids_differ_while_the_clock_stands_still(tmp_path, monkeypatch) -> None:
    with create_registry(tmp_path / "home") as registry:
        services = registry._services
        monkeypatch.setattr("registry.workflows.services.time.time_ns", lambda: START_MS * 10**6)
        made = {services.head().invocation_id for _ in range(2000)}
    assert len(made) == 2000
