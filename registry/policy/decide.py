"""The decision: a pure function of a bundle and the facts on one asset.

Reads no clock, file or database, so that a logged decision can be made again for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.errors import PolicyError
from registry.policy.cel import BoundFacts
from registry.policy.model import (
    NO_RULE_APPLIED,
    Bundle,
    Decision,
    Outcome,
    Rule,
    RuleResult,
)

__all__ = ["Decision", "RuleResult", "decide"]

_MOST_SHOWN = 10
_LONGEST_MESSAGE = 2000


def decide(bundle: Bundle, facts: Mapping[str, Any]) -> Decision:
    """Judge one asset by every rule of a bundle; never raises for what the facts hold.

    `facts` follow the schema `policy-facts/v2`, or are of an older one; `lists` in them are
    ignored, because the digest of the bundle vouches for its own. A fact that is missing makes the
    rules that need it `error`, and an error denies.
    """
    bound = BoundFacts({**facts, "lists": bundle.lists})
    results = tuple(_judge(rule, bound) for rule in bundle.rules)
    if not any(result.applied and result.severity == "block" for result in results):
        results += (_nothing_applied(),)
    return Decision(_verdict(results), results, bundle.digest)


def _judge(rule: Rule, facts: BoundFacts) -> RuleResult:
    try:
        if rule.when is not None and not facts.holds(rule.when):
            message = f"does not apply: {rule.title}"
            return RuleResult(rule.id, rule.severity, "pass", message, applied=False)
        if facts.holds(rule.require):
            return RuleResult(rule.id, rule.severity, "pass", rule.title)
    except PolicyError as error:
        return RuleResult(rule.id, rule.severity, "error", _shorten(error.message))
    return RuleResult(rule.id, rule.severity, "fail", _shorten(rule.message + _shown(rule, facts)))


def _shown(rule: Rule, facts: BoundFacts) -> str:
    """Return what the rule failed on; wording alone, so that trouble here changes no outcome."""
    if rule.show is None:
        return ""
    try:
        texts = facts.texts(rule.show)
    except PolicyError:
        return ""
    more = f" and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else ""
    return f" ({', '.join(texts[:_MOST_SHOWN])}{more})" if texts else ""


def _verdict(results: tuple[RuleResult, ...]) -> Outcome:
    if any(result.outcome == "error" for result in results):
        return "error"
    if any(result.outcome == "fail" and result.severity == "block" for result in results):
        return "fail"
    return "pass"


def _nothing_applied() -> RuleResult:
    message = "no blocking rule of the policy applies to this asset; only a rule that held clears"
    return RuleResult(NO_RULE_APPLIED, "block", "fail", message)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"
