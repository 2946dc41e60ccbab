"""The bundle that is shipped says what it promises, and its own tests hold it to that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from registry.policy.cases import Case, run_cases
from registry.policy.decide import decide
from registry.policy.model import Bundle


def test_every_case_goes_as_expected_and_every_rule_passes_and_fails(
    default_bundle: Bundle, default_cases: tuple[Case, ...]
) -> None:
    report = run_cases(default_bundle, default_cases)
    assert [(case.name, case.problems) for case in report.cases if not case.ok] == []
    assert report.uncovered == ()
    assert report.ok


def test_it_covers_models_licences_taint_signer_verification_and_reproducibility(
    default_bundle: Bundle,
) -> None:
    severities = {rule.id: rule.severity for rule in default_bundle.rules}
    assert severities == {
        "verified-record": "block",
        "trusted-signer": "block",
        "approved-base-model": "block",
        "lora-licences": "block",
        "no-taint": "block",
        "reproducible": "warn",
    }


@pytest.mark.parametrize("rule", ["verified-record", "trusted-signer", "approved-base-model",
                                  "lora-licences", "no-taint", "reproducible"])  # fmt: skip
def test_a_rule_that_always_holds_is_noticed_by_the_cases(
    rule: str, default_bundle: Bundle, default_cases: tuple[Case, ...]
) -> None:
    rules = tuple(replace(r, require="true") if r.id == rule else r for r in default_bundle.rules)
    assert not run_cases(replace(default_bundle, rules=rules), default_cases).ok


@pytest.mark.parametrize("fact", ["record", "signer", "ancestors", "taints", "verified", "asset"])
def test_hiding_a_fact_never_clears(
    fact: str, default_bundle: Bundle, clean_facts: Mapping[str, Any]
) -> None:
    hidden = {key: value for key, value in clean_facts.items() if key != fact}
    assert decide(default_bundle, clean_facts).verdict == "pass"
    assert decide(default_bundle, hidden).verdict == "error"


def test_hiding_the_licence_of_a_lora_never_clears(
    default_bundle: Bundle, clean_facts: Mapping[str, Any]
) -> None:
    ancestors = [
        {key: value for key, value in ancestor.items() if key != "licence"}
        for ancestor in clean_facts["ancestors"]
    ]
    assert decide(default_bundle, {**clean_facts, "ancestors": ancestors}).verdict == "error"


def test_a_denial_names_what_it_is_about(
    default_bundle: Bundle, clean_facts: Mapping[str, Any]
) -> None:
    lora = {"name": "lora/found", "kind": "lora", "sha256": "e1", "licence": "CC-BY-NC-4.0",
            "approved": False, "declared": True}  # fmt: skip
    facts = {**clean_facts, "ancestors": [*clean_facts["ancestors"], lora]}
    failed = [r for r in decide(default_bundle, facts).results if r.outcome == "fail"]
    assert [r.rule for r in failed] == ["lora-licences"]
    assert "(lora/found: CC-BY-NC-4.0)" in failed[0].message
