"""What a gate stands on: a head that is verified, and the newest that is known anywhere near."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from registry.core import checkpoints
from registry.errors import GenopsError, IntegrityError, RollbackError, StaleError
from registry.workflows.facts import Ground
from registry.workflows.recovery.freshness import Found, near_heads, refuse_older
from registry.workflows.services import Services
from registry.workflows.taint_ledger import ledger_at


def heads_outside(services: Services) -> list[Found]:
    """Return the checkpoints that are cheap to find, before the snapshot is taken.

    Raises StaleError (`gate.stale`) where one says that there is more, and cannot be read.
    """
    try:
        return near_heads(services)
    except GenopsError as error:
        raise StaleError(
            f"nothing was decided: it cannot be told whether this log is the newest:"
            f" {error.message}",
            hint=f"{error.hint}; `genops doctor` tells more"
            if error.hint
            else "see `genops doctor`",
        ) from error


def ground_of(services: Services, conn: Connection, outside: Sequence[Found]) -> Ground:
    """Return the verified head of a snapshot, and the taints that the log says stand there.

    Raises StaleError (`gate.stale`), IntegrityError (`note.*`, `log.head-altered`, `log.altered`),
    NotFoundError (`log.empty`).
    """
    try:
        stored = refuse_older(conn, outside)
    except RollbackError as error:
        raise StaleError(
            f"nothing was decided: {error.message}",
            hint="see `genops log recover`, then ask again",
            heads=error.heads,
        ) from error
    head = services.reader.head()
    checkpoint = checkpoints.verify(head.note, services.reader.vkey)
    if (checkpoint.size, checkpoint.root) != (stored.size, stored.frontier.root()):
        raise IntegrityError(
            f"the stored head of {stored.size} records is not what its checkpoint signs",
            code="log.head-altered",
            hint="run `genops log check`",
        )
    return Ground(head, ledger_at(services, conn, stored))
