"""How fresh one open registry is, and mirrors that are to be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.recovery_answers import KnownHead, RetryReport


class Recovery:
    """What is known outside the database; `registry.factory` restores and recovers homes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def heads(self) -> tuple[KnownHead, ...]:
        """Return every checkpoint of this log that is kept outside it, smallest first.

        Compared with the log. Raises RollbackError (`log.rolled-back`, `log.forked`), and for a
        checkpoint that cannot be read what reading it raised.
        """
        from registry.workflows.recovery.freshness import compared_heads

        return tuple(found.head() for found in compared_heads(self._services))

    def retry_mirror(self, target: str) -> RetryReport:
        """Send again what a mirror refused, lacks, or holds otherwise than the log.

        Raises InputError for an unknown mirror, UnavailableError when it is down.
        """
        from registry.workflows.mirror import retry

        return retry(self._services, target)
