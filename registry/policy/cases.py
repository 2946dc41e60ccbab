"""The tests of a bundle: facts with an expected decision, and which rules they exercise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.core.schemas import SchemaSet
from registry.errors import PolicyError
from registry.policy.decide import decide
from registry.policy.document import Document, Folder, parse_document, read_document
from registry.policy.loader import yaml_files
from registry.policy.model import Bundle, Decision, Outcome
from registry.policy.shape import SCHEMA


@dataclass(frozen=True, slots=True)
class Case:
    """One test: facts, lists in the place of the bundle's, and the decision expected of them."""

    name: str
    facts: Mapping[str, Any]
    verdict: Outcome
    rules: Mapping[str, Outcome] = field(default_factory=dict)
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case; `problems` is empty when it went as expected."""

    name: str
    decision: Decision
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True when verdict and named rules came out as expected."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """In how many cases a rule was asked and held, and in how many it failed."""

    rule: str
    passed: int
    failed: int

    @property
    def ok(self) -> bool:
        """True when both ways of the rule were seen."""
        return self.passed > 0 and self.failed > 0


@dataclass(frozen=True, slots=True)
class CaseReport:
    """The outcome of a bundle's cases and the coverage of its rules."""

    cases: tuple[CaseResult, ...]
    coverage: tuple[RuleCoverage, ...]

    @property
    def ok(self) -> bool:
        """True when there are cases, all went as expected, and every rule passed and failed."""
        return (
            bool(self.cases)
            and all(case.ok for case in self.cases)
            and all(rule.ok for rule in self.coverage)
        )

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Rules that no case shows both passing and failing."""
        return tuple(rule.rule for rule in self.coverage if not rule.ok)


def load_cases(folder: Folder, schemas: SchemaSet) -> tuple[Case, ...]:
    """Load the cases in a bundle's `tests` folder.

    Raises PolicyError (`policy.syntax`, `policy.invalid`) for files that are no cases, and for
    facts that no registry would give: an unknown or a missing field.
    """
    found: list[Case] = []
    for file, name in yaml_files(folder, "tests"):
        found += _cases(read_document(file, name), schemas)
    return tuple(found)


def parse_cases(text: str, schemas: SchemaSet, *, name: str = "tests.yaml") -> tuple[Case, ...]:
    """Load cases from the text of one file; raises as `load_cases`."""
    return _cases(parse_document(text, name), schemas)


def run_cases(bundle: Bundle, cases: Sequence[Case]) -> CaseReport:
    """Decide every case and compare; pure.

    Raises PolicyError (`policy.case`) for a case that names a rule or list the bundle lacks.
    """
    results = tuple(_run(bundle, case) for case in cases)
    coverage = tuple(_coverage(rule.id, results) for rule in bundle.rules)
    return CaseReport(results, coverage)


def _cases(document: Document, schemas: SchemaSet) -> tuple[Case, ...]:
    document.check(schemas, "policy-case/v1")
    names: set[str] = set()
    cases = []
    for number, source in enumerate(document.value["cases"]):
        if source["name"] in names:
            raise document.error(["cases", number, "name"], "a second case of this name")
        names.add(source["name"])
        facts = _merge(document.value["facts"], source.get("change", {}))
        if misfit := schemas.explain(SCHEMA, {**facts, "lists": {}}):
            raise document.error(["cases", number], f"facts of {source['name']!r}: {misfit}")
        expect = source["expect"]
        lists = source.get("lists", {})
        cases.append(Case(source["name"], facts, expect["verdict"], expect.get("rules", {}), lists))
    return tuple(cases)


def _merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _run(bundle: Bundle, case: Case) -> CaseResult:
    _check_names(bundle, case)
    lists = {**bundle.lists, **{name: tuple(items) for name, items in case.lists.items()}}
    decision = decide(replace(bundle, lists=lists) if case.lists else bundle, case.facts)
    outcomes = {result.rule: result for result in decision.results}
    problems = []
    if decision.verdict != case.verdict:
        reasons = [f"{r.rule}: {r.message}" for r in decision.results if r.outcome != "pass"]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        problems.append(f"verdict is {decision.verdict}, expected {case.verdict}{why}")
    for rule, expected in case.rules.items():
        result = outcomes[rule]
        if result.outcome != expected:
            problems.append(f"{rule} is {result.outcome}, expected {expected}: {result.message}")
    return CaseResult(case.name, decision, tuple(problems))


def _check_names(bundle: Bundle, case: Case) -> None:
    unknown = [f"rule {name}" for name in sorted(case.rules.keys() - {r.id for r in bundle.rules})]
    unknown += [f"list {name}" for name in sorted(case.lists.keys() - bundle.lists.keys())]
    if unknown:
        raise PolicyError(
            f"case {case.name!r} names what policy {bundle.name} lacks: {', '.join(unknown)}",
            code="policy.case",
        )


def _coverage(rule: str, results: Sequence[CaseResult]) -> RuleCoverage:
    outcomes = [r for case in results for r in case.decision.results if r.rule == rule]
    return RuleCoverage(
        rule,
        passed=sum(r.applied and r.outcome == "pass" for r in outcomes),
        failed=sum(r.outcome == "fail" for r in outcomes),
    )
