"""Reports: receipts, checks, decisions, replays, the log, mirrors and single values."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from registry.cli import answers as own
from registry.cli.render.parts import (
    BAD,
    GOOD,
    QUIET,
    WARN,
    fields,
    heading,
    lines,
    literal,
    table,
    verdict,
)
from registry.cli.text import plural, short, visible, when
from registry.core.answers import (
    Check,
    Difference,
    DoctorReport,
    GateDecision,
    GateReport,
    MirrorReport,
    Receipt,
    Reproduction,
)
from registry.core.fingerprint_answers import FingerprintReport

_VERDICT_STYLE = {
    "pass": GOOD,
    "fail": BAD,
    "error": BAD,
    "waived": WARN,
    "identical": GOOD,
    "identical-pixels": GOOD,
    "equivalent": GOOD,
    "different": BAD,
}
MOST_DIFFERENCES = 20


def receipt(done: Receipt) -> RenderableType:
    """Return where a record is in the log and which assets it names."""
    new = "" if done.new else "  (it had been recorded before)"
    return lines(
        *(literal(asset, "bold") for asset in done.assets),
        fields(
            [
                ("record", f"{done.record}{new}"),
                ("index", done.index),
                ("time", when(done.time)),
            ]
        ),
    )


def checks(found: Sequence[Check], *, indent: int = 0) -> RenderableType:
    """Return one line per check; a failed one says FAILED."""
    rows = [(verdict(check.ok), check.name, literal(check.detail)) for check in found]
    return table(("", "", ""), rows, fold=(2,), indent=indent) if rows else Text("")


def verifications(report: own.VerificationReport) -> RenderableType:
    """Return the checks of each asset under its verdict."""
    parts: list[RenderableType] = []
    for one in report.verifications:
        head = literal(f"{one.id}  ", "bold")
        head.append(verdict(one.ok, "verified", "NOT VERIFIED"))
        parts += [head, checks(one.checks, indent=2)]
    return lines(*parts)


def doctor(report: DoctorReport) -> RenderableType:
    """Return the checks of the installation and the home."""
    broken = sum(not check.ok for check in report.checks)
    end = "all is well" if report.ok else f"{plural(broken, 'check')} failed"
    return lines(checks(report.checks), literal(end, GOOD if report.ok else BAD))


def gate(report: GateReport) -> RenderableType:
    """Return the verdict, then what the rules say against each asset."""
    head = Text.assemble(
        _styled(report.verdict.upper(), report.verdict),
        f"  {plural(len(report.decisions), 'asset')} against policy ",
        literal(report.policy),
    )
    proof = f"bundle {report.policy_digest[:19]}, log of {plural(report.tree_size, 'record')}"
    return lines(head, literal(proof, QUIET), *map(_decision, report.decisions))


def _decision(decision: GateDecision) -> RenderableType:
    head = _styled(f"{decision.verdict:<6}", decision.verdict)
    head.append(f"{short(decision.id)}  {short(decision.record)}")
    told = [rule for rule in decision.rules if rule.outcome != "pass"]
    rows = [(_styled(r.outcome, r.outcome), r.severity, r.rule, r.message) for r in told]
    return lines(head, table(("", "", "", ""), rows, fold=(2, 3), indent=4) if rows else None)


def _styled(word: str, outcome: str) -> Text:
    return literal(word, _VERDICT_STYLE.get(outcome, WARN))


def reproduction(done: Reproduction) -> RenderableType:
    """Return the verdict of a replay and what differs."""
    return lines(
        _styled(done.verdict.upper(), done.verdict),
        *(literal(f"  {reason}") for reason in done.reasons),
        fields(
            [
                ("of", f"{short(done.id)}  {short(done.of_record)}"),
                ("original", short(done.original)),
                ("replayed", short(done.reproduced)),
                ("pixels", _pixels(done)),
                ("file", done.path),
                ("compared", done.comparison),
                ("record", done.record),
            ]
        ),
        *_differences("Inputs differ", done.inputs),
        *_differences("Environments differ", done.environment),
    )


def _pixels(done: Reproduction) -> str:
    """Return each measure with its bound, and where the bounds are from."""
    bounds = done.bounds or {}
    told = [
        f"{name} {value:g}" + (f" of {bounds[name]:g} allowed" if name in bounds else "")
        for name, value in (done.pixels or {}).items()
    ]
    if told and bounds:
        told.append(
            f"calibrated by {short(done.calibration)}" if done.calibration else "by default"
        )
    return ", ".join(told)


def _differences(title: str, found: Sequence[Difference]) -> list[RenderableType]:
    if not found:
        return []
    rows = [(d.where, _json(d.recorded), _json(d.replayed)) for d in found[:MOST_DIFFERENCES]]
    shown = table(("where", "recorded", "replayed"), rows, fold=(0, 1, 2), indent=2)
    left = len(found) - MOST_DIFFERENCES
    more = [literal(f"  … and {left} more; --json has them", QUIET)] if left > 0 else []
    return [heading(title), shown, *more]


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mirrors(reports: Sequence[MirrorReport]) -> RenderableType:
    """Return what was sent to each mirror and what is waiting."""
    rows = [(r.target, r.sent, r.failed, r.pending, literal(r.error)) for r in reports]
    return table(("mirror", "sent", "failed", "waiting", ""), rows, fold=(4,))


def mirror_check(view: own.MirrorCheck) -> RenderableType:
    """Return whether a mirror's copies are what the log says, and where they are not."""
    return _compared(view.target, view.differences)


def catalog_check(view: own.CatalogCheck) -> RenderableType:
    """Return whether the catalog is what the log gives, and where it is not."""
    return _compared("catalog", view.differences)


def _compared(what: str, differences: Sequence[str]) -> RenderableType:
    verdict = Text("NOT what the log says", BAD) if differences else Text("same as the log", GOOD)
    return lines(
        literal(f"{what}: ") + verdict,
        *(literal(f"  {difference}") for difference in differences),
    )


def home(view: own.HomeView) -> RenderableType:
    """Return a new registry's identity, and what to do with it."""
    return lines(
        literal(f"registry {view.name} at {view.home}", "bold"),
        fields([("origin", view.origin), ("project", view.project)]),
        literal("Keep a copy of keys/log.vkey elsewhere: evidence is verified with it.", QUIET),
    )


def log_proof(proof: own.LogProof) -> str:
    """Return the proof itself, for a file."""
    return _verbatim(proof.proof)


def log_record(record: own.LogRecord) -> str:
    """Return a record's place, and its statement as JSON."""
    head = f"{record.record}  index {record.index}  {when(record.time)}\n"
    return head + json.dumps(record.statement, indent=2) + "\n"


def _verbatim(text: str) -> str:
    return "".join(f"{visible(line)}\n" for line in text.rstrip("\n").split("\n"))


def rebuilt(done: own.Rebuilt) -> RenderableType:
    """Return how much was rebuilt."""
    return literal(f"the catalog is rebuilt from {plural(done.records, 'record')}", GOOD)


def fingerprinted(done: FingerprintReport) -> RenderableType:
    """Return what was made, and what was left out and why."""
    skipped = {
        "personal": done.personal,
        "expired": done.expired,
        "bytes not here": done.missing,
    }
    return lines(
        literal(f"{plural(done.made, 'asset')} of {done.due:,} fingerprinted", GOOD)
        if done.due
        else literal("every asset has its fingerprints", GOOD),
        fields(
            [
                ("can be found by their looks or words", done.findable if done.made else None),
                *((why, count or None) for why, count in skipped.items()),
            ]
        )
        if done.due
        else None,
        *(literal(f"{short(one.id)}  {one.why}", BAD) for one in done.unread),
    )


def policy_lint(bundle: own.PolicyLint) -> RenderableType:
    """Return what a sound bundle is."""
    return lines(
        literal(
            f"{bundle.policy} {bundle.version}: {plural(bundle.rules, 'rule')}, no problems", GOOD
        ),
        fields([("digest", bundle.digest)]),
    )


def policy_test(report: own.PolicyTest) -> RenderableType:
    """Return the outcome of each test case of a bundle."""
    passed = sum(case.ok for case in report.cases)
    end = f"{passed} of {plural(len(report.cases), 'case')} passed"
    bare = [rule for rule in report.coverage if not rule.ok]
    return lines(
        checks(report.cases),
        *(literal(f"rule {r.rule}: {r.passed} passed, {r.failed} failed", BAD) for r in bare),
        literal("every rule must be seen passing and failing", BAD) if bare else None,
        literal(end, GOOD if report.ok else BAD),
    )


def served(view: own.Served) -> RenderableType:
    """Return where a registry is served."""
    return literal(f"serving {view.home} at {view.url}  (Ctrl-C ends it)")
