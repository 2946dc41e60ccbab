"""From made to shipped: reviews and releases, and what a campaign has on the log already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.answers import Receipt
    from registry.core.campaigns import ReviewView
    from registry.workflows.review import ReviewVerdict


class Releasing:
    """What people and pipelines decide on assets, beside the gate."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def review(
        self, ref: str, *, verdict: ReviewVerdict, reason: str, actor: str | None = None
    ) -> Receipt:
        """Approve or reject an asset, by the reviewer's key; the reason is sealed.

        Raises InputError without a reason.
        """
        from registry.workflows.review import review

        return review(self._services, ref, verdict=verdict, reason=reason, actor=actor)

    def reviews(self, ref: str) -> Sequence[ReviewView]:
        """Return the reviews of an asset whose signers are believed now, newest first."""
        from registry.workflows.review import reviews

        return reviews(self._services, ref)

    def release(
        self, ref: str, *, channel: str, decision: str, reviews: Sequence[str] = ()
    ) -> Receipt:
        """Release an asset for a channel, on the strength of a gate's decision."""
        from registry.workflows.release import release

        return release(self._services, ref, channel=channel, decision=decision, reviews=reviews)

    def recorded(self, campaign: str) -> Mapping[str, Receipt]:
        """Return what a campaign's generations became, by invocation id."""
        from registry.workflows.release import recorded

        return recorded(self._services, campaign)
