"""What is answered about a campaign, from where its steps stand; and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from generators.campaign.plan import combinations
from generators.campaign.state import Timings
from registry.cli.render.parts import BAD, GOOD, QUIET, WARN, fields, lines, literal, table
from registry.cli.text import plural
from registry.core.campaigns import (
    Approvals,
    CampaignPlan,
    CampaignStatus,
    Delivery,
    DeliveryCheck,
    PlannedStep,
    StepStatus,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from generators.campaign.running import Outcome, Standing
    from registry.sdk import Registry

START_S = 8.0
"""Seconds until the libraries are imported and a first model is loaded, measured."""
SHOWN = 40
"""Most steps that a text lists; `--json` lists all."""
_STYLES = {"done": GOOD, "complete": GOOD, "failed": BAD, "waiting": WARN, "open": QUIET}


def plan_of(registry: Registry, outcome: Outcome) -> CampaignPlan:
    """Return what a brief will make, and how long what is open will take."""
    timings = Timings(registry.settings.home.root)
    standings = outcome.standings.values()
    todo = [one for one in standings if one.state != "done"]
    seconds = sum(timings.expect(one.step.kind) for one in todo)
    kinds = {one.step.kind for one in todo} - {"approval"}
    if kinds - {"convert"}:
        seconds += START_S
    return CampaignPlan(
        name=outcome.brief.name,
        approve=outcome.brief.approve,
        combinations=sum(1 for _ in combinations(outcome.brief)),
        counts=dict(Counter(one.step.kind for one in standings)),
        delivered=len(outcome.delivered),
        open=len(todo),
        seconds=round(seconds, 1),
        guessed=tuple(sorted(kind for kind in kinds if not timings.knows(kind))),
        steps=tuple(_planned(one, timings) for one in standings),
    )


def _planned(standing: Standing, timings: Timings) -> PlannedStep:
    step = standing.step
    return PlannedStep(
        key=step.key,
        kind=step.kind,
        parents=step.parents,
        seed=None if step.seed is None else str(step.seed),
        width=step.width,
        height=step.height,
        delivered=step.delivered,
        seconds=0.0 if standing.state == "done" else round(timings.expect(step.kind), 3),
    )


def status_of(outcome: Outcome, sheet: str | None = None) -> CampaignStatus:
    """Return where every step stands."""
    return CampaignStatus(
        name=outcome.brief.name,
        state=outcome.state,
        counts=dict(Counter(one.state for one in outcome.standings.values())),
        made=sum(one.made for one in outcome.standings.values()),
        seconds=round(outcome.seconds, 3),
        steps=tuple(_status(one) for one in outcome.standings.values()),
        sheet=sheet,
    )


def _status(standing: Standing) -> StepStatus:
    receipt = standing.receipt
    return StepStatus(
        key=standing.step.key,
        kind=standing.step.kind,
        state=standing.state,
        asset=standing.asset,
        record=None if receipt is None else receipt.record,
        index=None if receipt is None else receipt.index,
        why=standing.why,
    )


def plan(found: CampaignPlan) -> RenderableType:
    """Return a plan as text."""
    counts = ", ".join(f"{number} {kind}" for kind, number in found.counts.items())
    time = f"about {_duration(found.seconds)}"
    if found.guessed:
        time += f" ({', '.join(found.guessed)}: not measured here yet)"
    rows = [
        (one.key, one.kind, _size(one.width, one.height), one.seed, "yes" if one.delivered else "")
        for one in found.steps[:SHOWN]
    ]
    return lines(
        fields(
            [
                ("campaign", found.name),
                ("masters approved by", "the brief" if found.approve == "automatic" else "people"),
                ("combinations", found.combinations),
                ("steps", f"{len(found.steps)}: {counts}"),
                ("to deliver", plural(found.delivered, "file")),
                ("still open", found.open),
                ("time", time),
            ]
        ),
        literal(""),
        table(["step", "kind", "size", "seed", "delivered"], rows, fold=(0,)),
        _rest(found.steps),
    )


def status(found: CampaignStatus) -> RenderableType:
    """Return where a campaign stands as text: failures and waits first of all."""
    order = {"failed": 0, "waiting": 1, "open": 2, "done": 3}
    steps = sorted(found.steps, key=lambda one: order[one.state])
    rows = [
        (literal(one.state, _STYLES[one.state]), one.key, _short(one.asset), one.why)
        for one in steps[:SHOWN]
    ]
    counts = ", ".join(f"{number} {state}" for state, number in found.counts.items())
    made = f"{found.made} made in {_duration(found.seconds)}" if found.made else None
    return lines(
        literal(f"{found.name}: {found.state}", _STYLES[found.state]),
        fields([("steps", counts), ("this run", made), ("contact sheet", found.sheet)]),
        literal(""),
        table(["state", "step", "asset", ""], rows, fold=(1, 3)),
        _rest(steps),
    )


def approvals(done: Approvals) -> RenderableType:
    """Return the reviews that were made as text."""
    rows = [(one["step"], _short(one["asset"]), one["record"][:20]) for one in done.reviews]
    style = GOOD if done.verdict == "approved" else WARN
    return lines(
        literal(f"{plural(len(rows), 'master')} {done.verdict}", style),
        table(["step", "asset", "review"], rows, fold=(0,)),
    )


def delivery(done: Delivery) -> RenderableType:
    """Return what was delivered as text."""
    rows = [(one.path, _short(one.asset), one.size) for one in done.files[:SHOWN]]
    return lines(
        literal(f"{plural(len(done.files), 'file')} delivered to {done.folder}", GOOD),
        fields([("channel", done.channel), ("policy", done.policy), ("manifest", done.record)]),
        table(["file", "asset", "bytes"], rows, fold=(0,)),
        _rest(done.files),
        *(literal(f"left out: {one['step']}: {one['why']}", WARN) for one in done.left_out),
    )


def checked(found: DeliveryCheck) -> RenderableType:
    """Return what a check of a delivery found as text."""
    yes = f"{found.folder} is what was signed"
    head = literal(yes, GOOD) if found.ok else literal("THIS IS NOT WHAT WAS SIGNED", BAD)
    return lines(
        head,
        fields(
            [
                ("campaign", found.name),
                ("files", found.files),
                ("record", found.record),
                ("signed by", found.signer),
                ("on the log since", found.time),
            ]
        ),
        *(literal(f"{one.what}: {one.path}: {one.detail}", BAD) for one in found.findings),
    )


def _rest(steps: Sequence[object]) -> RenderableType | None:
    more = len(steps) - SHOWN
    return literal(f"and {more} more; --json lists all", QUIET) if more > 0 else None


def _short(asset: str | None) -> str | None:
    return None if asset is None else asset.removeprefix("sha256:")[:12]


def _size(width: int | None, height: int | None) -> str | None:
    return None if width is None or height is None else f"{width}x{height}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def pictures_of(registry: Registry, standings: Iterable[Standing]) -> list[tuple[str, bytes]]:
    """Return label and bytes of every picture that was made, for a contact sheet."""
    found = []
    for one in standings:
        if one.receipt is None or one.step.kind in {"copy", "approval"}:
            continue
        if not one.step.key.endswith(("/canvas", "/profile")):
            found.append((one.step.key, registry.read(one.receipt.record)))
    return found
