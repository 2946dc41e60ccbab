"""May we ship it? What a passport, its checks and the newest gate decision say together.

Pure. Only a positive statement clears: silence, age or a failed check never does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.core.answers import Event, Passport, RuleOutcome, Verification
from registry.core.statements import Statement

Level = Literal["yes", "no", "open"]

_DECISION = "decision"
_AGAINST = frozenset({"fail", "error"})
_MAKING = frozenset({"generation", "ingest", "claim"})


@dataclass(frozen=True, slots=True)
class Decision:
    """A gate's decision as it stands on the log; `tree_size` is the log that it looked at."""

    record: str
    index: int
    time: str
    passed: bool
    policy: str
    bundle: str = ""
    tree_size: int | None = None
    rules: tuple[RuleOutcome, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer on top of a passport: yes, no or open, in one line, and why."""

    level: Level
    title: str
    reason: str
    decision: Decision | None = None


def newest_decision(events: tuple[Event, ...]) -> Event | None:
    """Return the event of the newest decision on an asset, or None."""
    decisions = [event for event in events if event.predicate == _DECISION]
    return max(decisions, key=lambda event: event.index, default=None)


def decision_of(event: Event, statement: Statement) -> Decision:
    """Read a decision from its own statement; anything but a plain PASSED is a refusal."""
    predicate = statement.predicate
    bundle = predicate.get("genops_bundle") or {}
    return Decision(
        record=event.record,
        index=event.index,
        time=event.time,
        passed=predicate.get("verificationResult") == "PASSED",
        policy=" ".join(str(bundle[key]) for key in ("name", "version") if key in bundle),
        bundle=str(bundle.get("sha256", "")),
        tree_size=predicate.get("genops_tree_size"),
        rules=tuple(
            RuleOutcome(rule["id"], rule["severity"], rule["outcome"], rule.get("message", ""))
            for rule in predicate.get("genops_rules", ())
        ),
    )


def standing(passport: Passport, checks: Verification, decision: Decision | None) -> Standing:
    """Judge an asset; the first reason against it wins over any clearance."""
    failed = [check.name for check in checks.checks if not check.ok]
    if failed or not checks.ok:
        names = ", ".join(failed) or "the record"
        return Standing("no", "No. The record does not verify.", f"Failed: {names}.", decision)
    if passport.taints:
        return Standing("no", "No. It is tainted.", _tainted_by(passport), decision)
    if decision is None:
        return Standing("open", "No decision yet.", "No gate has judged this asset.")
    if not decision.passed:
        why = f"The gate refused it under policy {decision.policy}. {_refused_by(decision)}".strip()
        return Standing("no", "No. The gate refused it.", why, decision)
    if _made_again_after(passport, decision):
        why = "It was cleared before its newest record; the gate has to judge it again."
        return Standing("open", "No current decision.", why, decision)
    why = f"The gate cleared it under policy {decision.policy}."
    return Standing("yes", "Yes. Cleared for release.", why, decision)


def _refused_by(decision: Decision) -> str:
    against = [r for r in decision.rules if r.severity == "block" and r.outcome in _AGAINST]
    return " ".join(rule.message.rstrip(".") + "." for rule in against)


def _tainted_by(passport: Passport) -> str:
    direct = [taint for taint in passport.taints if taint.direct]
    inherited = sorted({taint.name for taint in passport.taints if not taint.direct})
    parts = ["The asset itself is tainted."] if direct else []
    if inherited:
        parts.append(f"It was made from tainted material: {', '.join(inherited)}.")
    return " ".join(parts)


def _made_again_after(passport: Passport, decision: Decision) -> bool:
    made = [event.index for event in passport.events if event.predicate in _MAKING]
    return max([*made, passport.index]) > decision.index
