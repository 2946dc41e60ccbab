"""The tests of a bundle tell a good policy from a bad one, and an exercised rule from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml

from registry.core.schemas import SchemaSet
from registry.errors import PolicyError
from registry.policy.cases import Case, parse_cases, run_cases
from registry.policy.model import Bundle


def as_yaml(facts: Mapping[str, Any], *cases: Mapping[str, Any]) -> str:
    return yaml.safe_dump({"facts": dict(facts), "cases": list(cases)})


def test_an_unexpected_verdict_is_a_problem_that_says_why(
    default_bundle: Bundle, default_cases: tuple[Case, ...]
) -> None:
    wrong = replace(default_cases[0], verdict="fail")
    report = run_cases(default_bundle, [wrong])
    assert not report.ok
    assert "verdict is pass, expected fail" in report.cases[0].problems[0]


def test_an_unexpected_outcome_of_a_named_rule_is_a_problem(
    default_bundle: Bundle, default_cases: tuple[Case, ...]
) -> None:
    wrong = replace(default_cases[0], rules={"no-taint": "fail"})
    assert (
        "no-taint is pass, expected fail" in run_cases(default_bundle, [wrong]).cases[0].problems[0]
    )


def test_a_rule_that_no_case_fails_is_uncovered(
    default_bundle: Bundle, default_cases: tuple[Case, ...]
) -> None:
    report = run_cases(default_bundle, default_cases[:2])
    assert all(case.ok for case in report.cases)
    assert not report.ok
    assert "verified-record" not in report.uncovered
    assert "no-taint" in report.uncovered


def test_a_rule_that_did_not_apply_did_not_pass(
    default_bundle: Bundle, default_cases: tuple[Case, ...]
) -> None:
    ingested = [case for case in default_cases if case.facts["asset"]["kind"] == "ingested"]
    report = run_cases(default_bundle, ingested)
    assert [(r.passed, r.failed) for r in report.coverage if r.rule == "reproducible"] == [(0, 0)]


def test_no_cases_prove_nothing(default_bundle: Bundle) -> None:
    assert not run_cases(default_bundle, ()).ok


@pytest.mark.parametrize("change", [{"rules": {"no-such": "pass"}}, {"lists": {"no_such": []}}])
def test_a_case_about_a_rule_or_list_that_is_not_there_is_refused(
    change: dict[str, Any], default_bundle: Bundle, default_cases: tuple[Case, ...]
) -> None:
    with pytest.raises(PolicyError, match=r"no.such"):
        run_cases(default_bundle, [replace(default_cases[0], **change)])


def test_changes_are_merged_and_lists_replaced(
    clean_facts: Mapping[str, Any], schemas: SchemaSet
) -> None:
    change = {"asset": {"kind": "ingested"}, "ancestors": []}
    text = as_yaml(clean_facts, {"name": "a", "change": change, "expect": {"verdict": "pass"}})
    (case,) = parse_cases(text, schemas)
    assert case.facts["asset"] == {**clean_facts["asset"], "kind": "ingested"}
    assert case.facts["ancestors"] == []
    assert case.facts["record"] == clean_facts["record"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"asset": {"knd": "ingested"}}, "knd"),
        ({"signer": None}, "signer"),
        ({"verified": {"blob": "no"}}, "/verified/blob"),
        ({"taints": [{"name": "x"}]}, "/taints/0"),
    ],
)
def test_facts_that_no_registry_would_give_are_refused(
    change: dict[str, Any], says: str, clean_facts: Mapping[str, Any], schemas: SchemaSet
) -> None:
    text = as_yaml(clean_facts, {"name": "odd", "change": change, "expect": {"verdict": "pass"}})
    with pytest.raises(PolicyError, match="odd") as error:
        parse_cases(text, schemas)
    assert says in error.value.message


def test_two_cases_of_one_name_are_refused(
    clean_facts: Mapping[str, Any], schemas: SchemaSet
) -> None:
    cases = [{"name": "same", "expect": {"verdict": verdict}} for verdict in ("pass", "fail")]
    with pytest.raises(PolicyError, match="second case"):
        parse_cases(as_yaml(clean_facts, *cases), schemas)
