"""Approves or rejects the masters of a campaign, each by a signed review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from generators.campaign.running import Outcome, Standing, survey
from registry.core.campaigns import Approvals
from registry.errors import InputError

if TYPE_CHECKING:
    from generators.campaign.brief import Brief
    from registry.sdk import Registry


def review_masters(
    registry: Registry,
    brief: Brief,
    keys: Sequence[str],
    *,
    reject: bool = False,
    reason: str,
) -> Approvals:
    """Review the takes that `keys` name; without keys, the first of each master that waits.

    Rejecting without keys rejects every take of the masters that wait. Raises InputError for a key
    that is no take or was not made, without a reason, and where nothing waits.
    """
    outcome = survey(registry, brief)
    chosen = [_take(outcome, key) for key in keys] or _waiting(registry, outcome, every=reject)
    if not chosen:
        raise InputError(
            f"no master of {brief.name} waits for a review",
            code="campaign.nothing",
            hint="`genops campaign status` shows what does; name a take to review it again",
        )
    reviews = []
    for one in chosen:
        asset = one.asset or ""
        done = registry.releasing.review(
            asset, verdict="rejected" if reject else "approved", reason=reason
        )
        reviews.append({"step": one.step.key, "asset": asset, "record": done.record})
    return Approvals(brief.name, "rejected" if reject else "approved", tuple(reviews))


def _take(outcome: Outcome, key: str) -> Standing:
    found = outcome.standings.get(key)
    if found is None or found.step.kind != "master" or found.state != "done":
        ready = [
            k for k, one in outcome.standings.items() if one.step.kind == "master" and one.receipt
        ]
        raise InputError(
            f"{key!r} is no master that was made",
            code="campaign.step",
            hint=f"there are {', '.join(ready[:8]) or 'none yet'}",
        )
    return found


def _waiting(registry: Registry, outcome: Outcome, *, every: bool) -> list[Standing]:
    """Return the takes nobody has looked at, of masters without an approval."""
    found: list[Standing] = []
    for one in outcome.standings.values():
        if one.step.kind == "approval" and one.state == "waiting":
            takes = [outcome.standings[key] for key in one.step.parents]
            unseen = [
                take
                for take in takes
                if take.asset is not None and not registry.releasing.reviews(take.asset)
            ]
            found += unseen if every else unseen[:1]
    return found
