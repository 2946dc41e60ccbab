"""The values of a policy: rules, lists, bundle, decision.

Knows neither YAML nor the expression language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from registry.core import jsonio
from registry.core.digests import sha256_hex
from registry.errors import PolicyError

Severity = Literal["block", "warn"]
Outcome = Literal["pass", "fail", "error"]

NO_RULE_APPLIED = "no-rule-applied"
"""Id of the result that stands for a bundle in which nothing judged the asset."""
_FORMAT = "genops-policy-v1"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where `when` is true (always if None), `require` must be true.

    `when`, `require` and `show` are CEL. A failure of severity `block` denies release, of `warn`
    is reported. `message` says what is wrong when the rule fails, `show` (a list of texts) on what.
    """

    id: str
    title: str
    severity: Severity
    require: str
    message: str
    when: str | None = None
    show: str | None = None

    def content(self) -> dict[str, str | None]:
        """Return what the bundle's digest covers."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A policy with its lists; never without a rule that blocks.

    `digest` is the hex SHA-256 over the RFC 8785 form of everything that can change a decision or
    its wording: names, rules, lists. Comments and layout of the files do not count. Raises
    PolicyError `policy.empty` without a blocking rule, `policy.duplicate-rule` when two rules
    have the same id, `policy.invalid` for a rule with the id kept for our own result.
    """

    name: str
    version: str
    rules: tuple[Rule, ...]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        _check_rules(self.name, self.rules)
        object.__setattr__(self, "digest", sha256_hex(jsonio.canonical(self.content())))

    def content(self) -> dict[str, Any]:
        """Return what the digest covers, as a JSON document."""
        return {
            "format": _FORMAT,
            "name": self.name,
            "version": self.version,
            "rules": [rule.content() for rule in self.rules],
            "lists": {name: list(items) for name, items in self.lists.items()},
        }


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule said. `applied` is False where its `when` was false: it passes unasked."""

    rule: str
    severity: Severity
    outcome: Outcome
    message: str
    applied: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """A bundle's verdict on one asset.

    `pass` is positive: at least one blocking rule was asked and held, and none failed. `error`
    means that a rule, of any severity, could not be evaluated; it denies as `fail` does.
    """

    verdict: Outcome
    results: tuple[RuleResult, ...]
    bundle_digest: str


def _check_rules(name: str, rules: tuple[Rule, ...]) -> None:
    if not any(rule.severity == "block" for rule in rules):
        raise PolicyError(
            f"policy {name} has no rule that can deny a release",
            code="policy.empty",
            hint="an empty policy never passes; give it a rule of severity block",
        )
    twice = [rule for rule, count in Counter(r.id for r in rules).items() if count > 1]
    if twice:
        raise PolicyError(
            f"policy {name} has more than one rule called {', '.join(twice)}",
            code="policy.duplicate-rule",
            hint="reports and waivers go by a rule's id; give each its own",
        )
    if any(rule.id == NO_RULE_APPLIED for rule in rules):
        raise PolicyError(f"policy {name}: the rule id {NO_RULE_APPLIED} is taken")
