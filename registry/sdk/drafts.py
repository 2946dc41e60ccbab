"""Drafts: what there is, what is kept, and what expires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.draft_answers import DraftView, ExpiryReport, KeptReport


class Drafts:
    """Outputs that were recorded as drafts, of one open registry."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def list(  # the verb that users know
        self,
        *,
        state: str | None = None,
        project: str | None = None,
        campaign: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[DraftView]:
        """Return a page of drafts, newest first; `state` is draft, kept or expired."""
        from registry.catalog.drafts import DraftFilter
        from registry.workflows.drafts import list_drafts

        chosen = DraftFilter(state, project, campaign)
        return list_drafts(self._services, chosen, limit=limit, offset=offset)

    def keep(
        self, refs: Sequence[str], *, reason: str = "", actor: str | None = None
    ) -> KeptReport:
        """Keep drafts for good, by the reviewer's key; expired ones are made again first.

        Raises NotFoundError (`draft.none`) for what is no draft, IntegrityError (`draft.differs`)
        when an expired one does not come out byte for byte; nothing is kept then.
        """
        from registry.workflows.drafts import keep

        return keep(self._services, [str(ref) for ref in refs], reason=reason, actor=actor)

    def expire(
        self,
        *,
        older_than_hours: int,
        project: str | None = None,
        campaign: str | None = None,
        dry_run: bool = False,
        actor: str | None = None,
    ) -> ExpiryReport:
        """Let older drafts go, bytes and segments, unless something keeps them; records stay."""
        from registry.catalog.drafts import DraftFilter
        from registry.workflows.drafts import expire

        return expire(
            self._services,
            older_than_hours,
            DraftFilter(None, project, campaign),
            dry_run=dry_run,
            actor=actor,
        )
