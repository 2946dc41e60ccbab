"""A decision is pure, positive, and denies whatever it cannot evaluate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import PolicyError
from registry.policy.cel import VARIABLES
from registry.policy.decide import decide
from registry.policy.model import NO_RULE_APPLIED, Bundle, Decision, Rule, Severity

FACTS: Mapping[str, Any] = {
    "asset": {"kind": "generated"},
    "materials": [{"name": "m", "licence": "MIT"}],
    "record": {"index": 6},
}


def rule(require: str, severity: Severity = "block", **more: str) -> Rule:
    return Rule(**{"id": "r", "title": "holds", "message": "fails"} | more,
                severity=severity, require=require)  # fmt: skip


def bundle(*rules: Rule, **lists: tuple[str, ...]) -> Bundle:
    return Bundle("test", "1", rules, lists)


def judge(require: str, facts: Mapping[str, Any] = FACTS, **lists: tuple[str, ...]) -> Decision:
    return decide(bundle(rule(require), **lists), facts)


@pytest.mark.parametrize(
    "require",
    [
        "asset.missing",  # evaluates to an error, whose value is a text and so truthy
        "asset.kind",  # a text, truthy
        "record.index",  # a number, truthy
        "materials",
        "materials[7].licence == 'MIT'",
        "record.index / 0 == 1",
        "signer.trusted",  # the whole fact is missing
        "nonsense ==",
        "unknown_name",
        "materials.all(m, m.licens in lists.x)",
        "timestamp('soon') < timestamp('now')",
    ],
)
def test_what_is_not_plainly_true_or_false_is_an_error_and_denies(require: str) -> None:
    decision = judge(require)
    assert decision.verdict == "error"
    assert decision.results[0].message.startswith("cannot be evaluated: ")


def test_an_error_says_what_was_missing() -> None:
    assert 'Key not found in map : "missing"' in judge("asset.missing").results[0].message


@pytest.mark.parametrize(("require", "verdict"), [("true", "pass"), ("false", "fail")])
def test_true_passes_and_false_fails(require: str, verdict: str) -> None:
    assert judge(require).verdict == verdict


def test_an_error_denies_even_where_the_rule_only_warns() -> None:
    decision = decide(bundle(rule("true"), rule("asset.nope", "warn", id="w")), FACTS)
    assert decision.verdict == "error"


def test_a_failed_warning_is_reported_and_does_not_deny() -> None:
    decision = decide(bundle(rule("true"), rule("false", "warn", id="w")), FACTS)
    assert decision.verdict == "pass"
    assert [r.outcome for r in decision.results] == ["pass", "fail"]


def test_an_error_in_when_denies() -> None:
    assert decide(bundle(rule("true", when="asset.nope")), FACTS).verdict == "error"


def test_a_policy_of_which_nothing_applies_does_not_clear() -> None:
    decision = decide(bundle(rule("true", when="asset.kind == 'ingested'")), FACTS)
    assert decision.verdict == "fail"
    assert decision.results[-1].rule == NO_RULE_APPLIED
    assert not decision.results[0].applied


def test_a_warning_that_holds_does_not_clear_either() -> None:
    rules = rule("true", when="asset.kind == 'ingested'"), rule("true", "warn", id="w")
    assert decide(bundle(*rules), FACTS).verdict == "fail"


def test_lists_come_from_the_bundle_and_never_from_the_facts() -> None:
    forged = {**FACTS, "lists": {"allowed": ["MIT"]}}
    require = "materials.all(m, m.licence in lists.allowed)"
    assert judge(require, forged, allowed=()).verdict == "fail"
    assert judge(require, forged, allowed=("MIT",)).verdict == "pass"


def nested(depth: int, operand: str, body: str) -> str:
    text = body
    for level in range(depth):
        text = f"{operand}.all(x{level}, {text})"
    return text


@pytest.mark.parametrize(
    "hostile",
    [
        nested(4, "[0,1,2,3,4,5,6,7,8,9]", "true"),  # 10^4 steps: the library's budget
        nested(9, "[1]", "true"),
        "['aaaaaaaa']" + ".map(x, x+x+x+x+x+x+x+x)" * 12 + " == []",  # 8^12 characters
        "[1]" + ".map(x, [x,x,x,x,x,x,x,x])" * 12 + ".all(x, x == x)",  # 8^12 comparisons
        "(" * 300 + "true" + ")" * 300,
        "[" * 5000,
        "'" + "a" * 100_000 + "' == ''",
        "'a'" + "+'a'" * 3000 + " == ''",
    ],
    ids=["steps", "nesting", "memory", "comparisons", "depth", "brackets", "length", "sum"],
)
def test_a_hostile_rule_ends_in_an_error(hostile: str) -> None:
    assert judge(hostile).verdict == "error"


def test_a_pattern_made_to_backtrack_is_evaluated_in_linear_time() -> None:
    assert judge("'" + "a" * 1500 + "!'" + ".matches('(a+)+$')").verdict == "fail"


def test_a_failure_is_worded_with_what_it_is_about() -> None:
    shown = rule("false", show="materials.map(m, m.name)")
    assert decide(bundle(shown), FACTS).results[0].message == "fails (m)"


def test_trouble_in_the_wording_changes_no_outcome() -> None:
    shown = rule("false", show="materials.map(m, m.nope)")
    decision = decide(bundle(shown), FACTS)
    assert (decision.verdict, decision.results[0].message) == ("fail", "fails")


def test_a_long_wording_is_cut_and_says_so() -> None:
    facts = {**FACTS, "materials": [{"name": f"m{n}"} for n in range(40)]}
    message = (
        decide(bundle(rule("false", show="materials.map(m, m.name)")), facts).results[0].message
    )
    assert "m9 and 30 more" in message
    assert "m10" not in message


def test_a_bundle_without_a_blocking_rule_cannot_be_made() -> None:
    for rules in ((), (rule("true", "warn"),)):
        with pytest.raises(PolicyError) as error:
            bundle(*rules)
        assert error.value.code == "policy.empty"


def test_two_rules_cannot_share_an_id() -> None:
    with pytest.raises(PolicyError) as error:
        bundle(rule("true"), rule("false"))
    assert error.value.code == "policy.duplicate-rule"


def test_the_id_of_our_own_result_cannot_be_taken() -> None:
    with pytest.raises(PolicyError):
        bundle(rule("true", id=NO_RULE_APPLIED))


def test_the_decision_names_the_digest_of_its_bundle() -> None:
    made = bundle(rule("true"))
    assert decide(made, FACTS).bundle_digest == made.digest


@pytest.mark.parametrize(
    "other",
    [
        Bundle("other", "1", (rule("true"),), {"x": ("a", "b")}),
        Bundle("test", "2", (rule("true"),), {"x": ("a", "b")}),
        Bundle("test", "1", (rule("true || false"),), {"x": ("a", "b")}),
        Bundle("test", "1", (rule("true", message="other"),), {"x": ("a", "b")}),
        Bundle("test", "1", (rule("true", when="true"),), {"x": ("a", "b")}),
        Bundle("test", "1", (rule("true", show="[]"),), {"x": ("a", "b")}),
        Bundle("test", "1", (rule("true"), rule("true", "warn", id="w")), {"x": ("a", "b")}),
        Bundle("test", "1", (rule("true"),), {"x": ("a",)}),
        Bundle("test", "1", (rule("true"),), {"y": ("a", "b")}),
        Bundle("test", "1", (rule("true"),), {}),
    ],
)
def test_whatever_can_change_a_decision_changes_the_digest(other: Bundle) -> None:
    assert other.digest != Bundle("test", "1", (rule("true"),), {"x": ("a", "b")}).digest


def test_the_digest_is_the_sha256_of_the_canonical_content() -> None:
    made = Bundle("golden", "1", (rule("true", when="true", show="[]"),), {"x": ("a", "b")})
    content = (
        b'{"format":"genops-policy-v1","lists":{"x":["a","b"]},"name":"golden","rules":[{"id":"r",'
        b'"message":"fails","require":"true","severity":"block","show":"[]","title":"holds",'
        b'"when":"true"}],"version":"1"}'
    )
    assert made.digest == hashlib.sha256(content).hexdigest()


json_facts = st.dictionaries(
    st.sampled_from(VARIABLES),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
        max_leaves=8,
    ),
)


@given(json_facts)
def test_no_facts_make_it_raise_or_decide_twice_in_different_ways(facts: dict[str, Any]) -> None:
    made = bundle(
        rule("asset.kind == 'generated' && materials.all(m, m.licence in lists.x)"), x=("",)
    )
    assert decide(made, facts) == decide(made, facts)
