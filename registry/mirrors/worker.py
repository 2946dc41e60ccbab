"""Empties the outbox into a mirror; what fails stays, with its error and the time of the next try.

Runs after the commit and never in the way of one. Knows no particular mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from registry.errors import MissingExtraError, UnavailableError
from registry.mirrors.contract import Mirror, MirrorRecord, describe
from registry.mirrors.outbox import Due, Outbox

FIRST_RETRY_MS = 1_000
LAST_RETRY_MS = 15 * 60 * 1_000
BATCH = 100
"""Most records of one `send`."""

Load = Callable[[int], MirrorRecord]
"""Builds the record of a log index."""
Clock = Callable[[], int]
"""Returns epoch milliseconds."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain did: records delivered, records that failed, the last failure's text.

    `stopped` says that the mirror could not be reached, so that what followed was not tried.
    """

    sent: int = 0
    failed: int = 0
    error: str = ""
    stopped: bool = False

    def __add__(self, other: Drained) -> Drained:
        return Drained(
            self.sent + other.sent,
            self.failed + other.failed,
            other.error or self.error,
            self.stopped or other.stopped,
        )


def drain(
    outbox: Outbox,
    mirror: Mirror,
    load: Load,
    clock: Clock,
    *,
    force: bool = False,
    limit: int = BATCH,
) -> Drained:
    """Send every record that is due, `limit` at a time in log order, each at most once.

    Rows wait exponentially longer after each failure; `force` sends them whatever they wait for.
    A mirror that cannot be reached stops the drain, and a record that is refused fails alone; both
    are reported and neither raises. Only the registry's own database can make this raise.
    """
    delivery = _Delivery(outbox, mirror, load, clock)
    total, after = Drained(), -1
    while not total.stopped:
        now_ms = None if force else clock()
        rows = outbox.due(mirror.target, limit, now_ms, after=after)
        if not rows:
            break
        total += delivery.deliver(rows)
        after = rows[-1].index
    return total


def backoff_ms(attempts: int) -> int:
    """Return how long a row waits that had failed `attempts` times before this failure."""
    doublings = min(attempts, LAST_RETRY_MS.bit_length())
    return min(FIRST_RETRY_MS << doublings, LAST_RETRY_MS)


@dataclass(frozen=True, slots=True)
class _Delivery:
    outbox: Outbox
    mirror: Mirror
    load: Load
    clock: Clock

    def deliver(self, rows: Sequence[Due]) -> Drained:
        """Send rows together; one by one when they are refused, so that a bad one fails alone."""
        try:
            self.mirror.send([self.load(row.index) for row in rows])
        except (UnavailableError, MissingExtraError) as error:
            return self._keep(rows, error, stopped=True)
        except Exception as error:  # noqa: BLE001  whatever a mirror raises must not lose a row
            if len(rows) == 1:
                return self._keep(rows, error)
            return self._one_by_one(rows)
        self.outbox.done([row.id for row in rows])
        return Drained(sent=len(rows))

    def _one_by_one(self, rows: Sequence[Due]) -> Drained:
        total = Drained()
        for row in rows:
            total += self.deliver([row])
            if total.stopped:
                break
        return total

    def _keep(self, rows: Sequence[Due], error: Exception, *, stopped: bool = False) -> Drained:
        """Keep rows for later; they wait as long as the one of them that failed most often."""
        text = describe(error)
        wait_ms = backoff_ms(max(row.attempts for row in rows))
        self.outbox.failed([row.id for row in rows], text, self.clock() + wait_ms)
        return Drained(failed=len(rows), error=text, stopped=stopped)
