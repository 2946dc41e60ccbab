"""The gate's report as pipelines read it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from registry.cli.render.gates import github, junit
from registry.core.answers import GateDecision, GateReport, RuleOutcome

GOOD = "sha256:" + "a" * 64
BAD = "sha256:" + "b" * 64


def report(*decisions: GateDecision, verdict: str = "fail") -> GateReport:
    return GateReport("default", "sha256:" + "0" * 64, 9, verdict, decisions)  # type: ignore[arg-type]


def failing(message: str, *, rule: str = "licence", severity: str = "block") -> GateDecision:
    outcome = RuleOutcome(rule, severity, "fail", message)
    return GateDecision(BAD, "fail", None, (outcome,))


def test_a_blocking_rule_is_an_error_and_another_a_warning() -> None:
    text = github(report(failing("no licence"), failing("no campaign", severity="warn")))
    assert f"::error title=licence fail::{BAD}: no licence\n" in text
    assert f"::warning title=licence fail::{BAD}: no campaign\n" in text


def test_a_message_cannot_start_a_workflow_command() -> None:
    text = github(report(failing("50%\n::set-output name=x::y\r\n", rule="a:b,c%")))
    assert [line for line in text.splitlines() if not line.startswith("::error ")] == [
        "::notice title=genops gate::fail: 1 asset, policy default"
    ]
    assert "title=a%3Ab%2Cc%25 fail::" in text
    assert "50%25" in text


def test_a_refusal_without_a_rule_is_still_an_error() -> None:
    text = github(report(GateDecision(BAD, "error", None, ())))
    assert f"::error title=gate error::{BAD}" in text


def test_junit_counts_what_its_cases_say() -> None:
    passed = GateDecision(GOOD, "pass", None, (RuleOutcome("licence", "block", "pass", ""),))
    error = GateDecision(BAD, "error", None, (RuleOutcome("x", "block", "error", "no such key"),))
    waived = GateDecision(GOOD, "pass", None, (RuleOutcome("y", "block", "waived", "until May"),))
    warned = failing("no campaign", severity="warn")
    suite = ET.fromstring(junit(report(passed, failing("no licence"), error, waived, warned)))
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    assert len(suite.findall("testcase/failure")) == 1


@pytest.mark.parametrize("verdict", ["fail", "error"])
def test_junit_never_passes_a_refused_asset_that_has_no_rules(verdict: str) -> None:
    suite = ET.fromstring(junit(report(GateDecision(BAD, verdict, None, ()), verdict=verdict)))  # type: ignore[arg-type]
    assert int(suite.get("failures", 0)) + int(suite.get("errors", 0)) == 1


def test_junit_is_xml_whatever_a_message_holds() -> None:
    suite = ET.fromstring(junit(report(failing("\x00\x1b[2J <&\"'> \ufffe \u202e é"))))
    message = suite.find("testcase/failure").get("message")  # type: ignore[union-attr]
    assert message == "\\x00\\x1b[2J <&\"'> \\ufffe \u202e é"
