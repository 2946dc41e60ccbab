"""What an executor's seat holds for replays: one warm replay process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from registry.errors import GenopsError, revive
from registry.workflows.audit.executors import Factory
from registry.workflows.replay.worker import Replayed, ReplayWorker, Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: a replay, or the fields of the error that it raised."""

    replayed: Replayed | None = None
    error: dict[str, Any] | None = None

    def get(self) -> Replayed:
        """Return the replay, or raise what was raised where it was made."""
        if self.replayed is None:
            raise revive(self.error or {})
        return self.replayed


class ReplayStation:
    """Replays requests in a process of its own, which stays warm."""

    def __init__(self, timeout_s: float) -> None:
        self._worker = ReplayWorker(timeout_s=timeout_s)

    def run(self, task: Request) -> Answer:
        """Replay one request; an error is an answer, so that it keeps its kind on any executor."""
        try:
            return Answer(self._worker.replay(task))
        except GenopsError as error:
            return Answer(error=error.to_dict())

    def close(self) -> None:
        """End the process."""
        self._worker.close()


def replay_station(timeout_s: float) -> Factory:
    """Return what makes a replay station, wherever it is put."""
    return partial(ReplayStation, timeout_s)
