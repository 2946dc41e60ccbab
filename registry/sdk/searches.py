"""Saved searches: which there are, and how they come and go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.search_answers import SavedSearch


class Searches:
    """The saved searches of one open registry; `search` takes one as the term `@NAME`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def list(self) -> list[SavedSearch]:
        """Return every saved search, by name."""
        from registry.workflows.search import saved

        return saved(self._services)

    def save(
        self, name: str, terms: str | Iterable[str], *, sort: str | None = None
    ) -> SavedSearch:
        """Save a search; the same one again changes nothing.

        Raises InputError: `search.exists` where the name has another, `search.name`, and those of
        a search that cannot be made.
        """
        from registry.workflows.search import save

        return save(self._services, name, terms, sort=sort)

    def forget(self, name: str) -> SavedSearch:
        """Remove a saved search and return it; raises NotFoundError (`search.unknown`)."""
        from registry.workflows.search import forget

        return forget(self._services, name)
