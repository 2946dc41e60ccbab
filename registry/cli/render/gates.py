"""A gate's report in the forms that pipelines read: GitHub annotations and JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from registry.cli.text import plural, visible
from registry.core.answers import GateDecision, GateReport, RuleOutcome

# What XML 1.0 cannot carry at all, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def github(report: GateReport) -> str:
    """Return workflow commands: an error per blocking rule, a warning per other, a summary."""
    found = [_annotation(d, rule) for d in report.decisions for rule in _against(d)]
    unexplained = [
        _command("error", f"gate {d.verdict}", d.id)
        for d in report.decisions
        if d.verdict != "pass" and not any(_is_blocking(rule) for rule in _against(d))
    ]
    count = plural(len(report.decisions), "asset")
    notice = _command("notice", "genops gate", f"{report.verdict}: {count}, policy {report.policy}")
    return "\n".join([*found, *unexplained, notice]) + "\n"


def _against(decision: GateDecision) -> Iterator[RuleOutcome]:
    return (rule for rule in decision.rules if rule.outcome != "pass")


def _is_blocking(rule: RuleOutcome) -> bool:
    return rule.severity == "block" and rule.outcome in {"fail", "error"}


def _annotation(decision: GateDecision, rule: RuleOutcome) -> str:
    level = "error" if _is_blocking(rule) else "warning"
    return _command(level, f"{rule.rule} {rule.outcome}", f"{decision.id}: {rule.message}")


def _command(level: str, title: str, message: str) -> str:
    """Return one workflow command; `%`, line breaks and, in properties, `:` and `,` are escaped."""
    head = visible(title).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={head}::{visible(message).replace('%', '%25')}"


def junit(report: GateReport) -> str:
    """Return one test suite with a test case per asset and rule."""
    suite = ET.Element("testsuite", name=_xml(f"genops gate {report.policy}"))
    for decision in report.decisions:
        for rule in decision.rules or (_unexplained(decision),):
            _add_case(suite, decision.id, rule)
    suite.set("tests", str(len(suite)))
    for plural_name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(plural_name, str(len(suite.findall(f"testcase/{kind}"))))
    ET.indent(suite)
    document: bytes = ET.tostring(suite, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii") + "\n"


def _unexplained(decision: GateDecision) -> RuleOutcome:
    """Return a rule's place for a decision that no rule explains."""
    return RuleOutcome("gate", "block", decision.verdict, f"the verdict is {decision.verdict}")


def _add_case(suite: ET.Element, asset: str, rule: RuleOutcome) -> None:
    case = ET.SubElement(suite, "testcase", classname=_xml(asset), name=_xml(rule.rule))
    kind = _junit_kind(rule)
    if kind:
        ET.SubElement(case, kind, message=_xml(rule.message), type=_xml(rule.severity))
    elif rule.outcome != "pass":
        ET.SubElement(case, "system-out").text = _xml(f"{rule.outcome}: {rule.message}")


def _junit_kind(rule: RuleOutcome) -> str | None:
    if rule.outcome == "waived":
        return "skipped"
    if rule.severity != "block":
        return None
    return {"fail": "failure", "error": "error"}.get(rule.outcome)


def _xml(text: str) -> str:
    return _NOT_XML.sub(lambda found: visible(found.group()), text)
