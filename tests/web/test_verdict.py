"""The banner says yes only on a positive statement that still holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.core.answers import Check, Event, Passport, RuleOutcome, TaintView, Verification
from registry.core.statements import Statement
from registry.web.pages.verdict import Decision, decision_of, newest_decision, standing

GOOD = Verification("sha256:a", "rec:a", ok=True, checks=(Check("inclusion", True, ""),))
BAD = Verification("sha256:a", "rec:a", ok=False, checks=(Check("blob", False, "altered"),))
TAINT = TaintView("sha256:l", "lora/brand", "high", "rec:t", direct=False)


def passport(*, index: int = 3, taints=(), events=()) -> Passport:
    return Passport(
        id="sha256:a", kind="generated", record="rec:a", index=index, time="", project="p",
        campaign=None, path=None, media_type="image/png", width=1, height=1, size=1, pixels=None,
        seed=None, build_type=None, actor={}, signer={}, reproducible=True, reasons=(),
        text="none", parameters={}, setup={}, internals={}, materials=(), taints=taints,
        events=events, log={},
    )  # fmt: skip


def event(index: int, predicate: str) -> Event:
    return Event(f"rec:{index}", index, "2026-01-01T00:00:00.000Z", predicate, "")


def decision(index: int, *, passed: bool) -> Decision:
    return Decision(f"rec:{index}", index, "2026-01-01T00:00:00.000Z", passed, "default")


def test_silence_never_clears():
    assert standing(passport(), GOOD, None).level == "open"


def test_a_passed_decision_clears():
    assert standing(passport(), GOOD, decision(5, passed=True)).level == "yes"


def test_a_failed_decision_refuses():
    assert standing(passport(), GOOD, decision(5, passed=False)).level == "no"


@pytest.mark.parametrize("passed", [True, False])
def test_a_failed_check_wins_over_any_decision(passed):
    verdict = standing(passport(), BAD, decision(5, passed=passed))
    assert verdict.level == "no"
    assert "blob" in verdict.reason


def test_a_standing_taint_wins_over_a_clearance():
    verdict = standing(passport(taints=(TAINT,)), GOOD, decision(5, passed=True))
    assert verdict.level == "no"
    assert "lora/brand" in verdict.reason


def test_a_verification_that_is_not_ok_refuses_even_without_a_named_check():
    empty = Verification("sha256:a", "rec:a", ok=False, checks=())
    assert standing(passport(), empty, decision(5, passed=True)).level == "no"


@pytest.mark.parametrize("predicate", ["generation", "ingest", "claim"])
def test_a_clearance_does_not_cover_a_later_record_of_the_same_bytes(predicate):
    later = passport(events=(event(5, "decision"), event(6, predicate)))
    assert standing(later, GOOD, decision(5, passed=True)).level == "open"


def test_a_clearance_older_than_the_record_shown_does_not_cover_it():
    assert standing(passport(index=9), GOOD, decision(5, passed=True)).level == "open"


def test_later_records_of_other_kinds_leave_a_clearance_standing():
    later = passport(events=(event(5, "decision"), event(6, "reproduction")))
    assert standing(later, GOOD, decision(5, passed=True)).level == "yes"


def test_a_refusal_names_the_blocking_rules_that_failed():
    rules = (
        RuleOutcome("licence", "block", "fail", "Every licence is known"),
        RuleOutcome("signer", "block", "pass", "The signer is trusted"),
        RuleOutcome("again", "warn", "fail", "It can be made again"),
        RuleOutcome("age", "block", "error", "It is recent."),
    )
    verdict = standing(passport(), GOOD, replace(decision(5, passed=False), rules=rules))
    assert "Every licence is known. It is recent." in verdict.reason
    assert "signer is trusted" not in verdict.reason
    assert "made again" not in verdict.reason


@pytest.mark.parametrize("result", ["FAILED", "passed", "PASSED ", True, None])
def test_only_a_plain_passed_passes(result):
    rule = {"id": "r", "severity": "block", "outcome": "pass", "message": "m"}
    predicate = {
        "verificationResult": result,
        "genops_bundle": {"name": "d", "version": "1"},
        "genops_rules": [rule],
    }
    read = decision_of(event(5, "decision"), Statement((), "", predicate, {}))
    assert not read.passed
    assert read.policy == "d 1"
    assert read.rules == (RuleOutcome("r", "block", "pass", "m"),)
    cleared = Statement((), "", predicate | {"verificationResult": "PASSED"}, {})
    assert decision_of(event(5, "decision"), cleared).passed


def test_the_newest_decision_is_the_one_with_the_highest_index():
    events = (event(7, "decision"), event(4, "decision"), event(9, "taint"))
    assert newest_decision(events) == events[0]
    assert newest_decision((event(9, "taint"),)) is None
