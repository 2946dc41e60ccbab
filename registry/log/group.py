"""Group commit: what arrives while one commit runs goes into the next, by whoever comes first.

One caller leads, commits for all that wait, and hands the lead on. Knows nothing of what a commit
is; every caller gets an answer or an error, whatever happens to the leader.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from registry.errors import GenopsError, UnavailableError

T = TypeVar("T")
R = TypeVar("R")

Commit = Callable[[Sequence[T]], Sequence[R | Exception]]
"""Commits a batch; returns for each item its result or the error of its own, in order.

What it raises is the error of every item of the batch.
"""

_LINGER_S = 0.0002
"""A leader lets others join for as long as more of them come within this time."""


class _Ticket(Generic[T, R]):
    """One caller's place in the queue; `gate` opens when it is settled or must lead."""

    __slots__ = ("error", "gate", "item", "leads", "result")

    def __init__(self, item: T) -> None:
        self.item = item
        self.gate = threading.Lock()
        self.gate.acquire()
        self.leads = False
        self.result: R | None = None
        self.error: BaseException | None = None


class GroupCommit(Generic[T, R]):
    """Runs `commit` on batches of at most `most` items, one batch at a time, in arrival order."""

    def __init__(self, commit: Commit[T, R], most: int) -> None:
        self._commit = commit
        self._most = most
        self._mutex = threading.Lock()
        self._waiting: deque[_Ticket[T, R]] = deque()
        self._led = False
        self._expected = 1

    def submit(self, item: T) -> R:
        """Commit the item, alone or with others; blocks until it is settled.

        Raises the item's own error, as an exception of this caller. A caller that is interrupted
        while it waits leaves the queue, or cannot know whether its item was committed.
        """
        ticket = _Ticket[T, R](item)
        with self._mutex:
            self._waiting.append(ticket)
            ticket.leads = not self._led
            self._led = True
        if not ticket.leads:
            self._wait(ticket)
        if ticket.leads:
            self._lead(ticket)
        return _outcome(ticket)

    def _wait(self, ticket: _Ticket[T, R]) -> None:
        try:
            ticket.gate.acquire()
        except BaseException:
            with self._mutex:
                self._leave(ticket)
                if ticket.leads:
                    self._hand_over()
            raise

    def _lead(self, ticket: _Ticket[T, R]) -> None:
        """Commit one batch, which the leader's own ticket is the first of; then hand over."""
        batch: list[_Ticket[T, R]] = []
        try:
            self._let_others_join()
            with self._mutex:
                while self._waiting and len(batch) < self._most:
                    batch.append(self._waiting.popleft())
            self._settle(batch)
        finally:
            with self._mutex:
                self._leave(ticket)
                self._expected = min(self._most, len(batch) + len(self._waiting))
                self._hand_over()

    def _let_others_join(self) -> None:
        """Wait while the callers of the last batch are coming back; a lone caller never waits.

        Without it, the first to come back leads a commit of its own record alone, and as each
        commit costs the same syncs, half of them would be wasted.
        """
        before = 0
        while before < len(self._waiting) < self._expected:
            before = len(self._waiting)
            time.sleep(_LINGER_S)

    def _settle(self, batch: Sequence[_Ticket[T, R]]) -> None:
        error: BaseException = RuntimeError("the leader stopped before it had an answer")
        try:
            outcomes = self._commit([ticket.item for ticket in batch])
            for ticket, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    ticket.error = outcome
                else:
                    ticket.result = outcome
        except Exception as raised:  # noqa: BLE001  # each caller raises its own copy
            error = raised
        finally:
            for number, ticket in enumerate(batch):
                if ticket.result is None and ticket.error is None:
                    ticket.error = error
                if number:  # the first is the leader's own
                    ticket.gate.release()

    def _leave(self, ticket: _Ticket[T, R]) -> None:
        """Take an interrupted caller's ticket out of the queue, if it still is there."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)

    def _hand_over(self) -> None:
        """Let the longest-waiting caller lead; call with the mutex held."""
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].gate.release()
        else:
            self._led = False


def _outcome(ticket: _Ticket[T, R]) -> R:
    if ticket.error is not None:
        raise own_copy(ticket.error) from ticket.error
    assert ticket.result is not None  # noqa: S101  # settled, as `_settle` leaves it
    return ticket.result


def own_copy(error: BaseException) -> GenopsError:
    """Return the error as an exception of this thread: one exception has one traceback."""
    if isinstance(error, GenopsError):
        return type(error)(error.message, code=error.code, hint=error.hint)
    return UnavailableError(
        f"the record was not committed: {type(error).__name__}: {error}",
        code="log.failed",
        hint="submit it again: a record that was committed after all is found, not repeated",
    )
