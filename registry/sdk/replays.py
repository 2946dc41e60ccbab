"""Replays in bulk, what they are judged by, and two assets side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.core.times import read_time
from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.replay_answers import AuditReport, Calibrations, DiffReport

Progress = Callable[[int, int], None]
"""Called with the outputs that are done and those there are in all."""


class Replays:
    """Audits, calibrations and comparisons of one open registry."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def audit(
        self,
        *,
        campaign: str | None = None,
        project: str | None = None,
        since: str | None = None,
        sample: int | None = None,
        sample_seed: int | None = None,
        executor: str = "processes",
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> AuditReport:
        """Make every generated asset that fits again, judge each, and sign a summary.

        `since` is a time as people write it, of the log; `sample` chooses so many at random, by
        `sample_seed` or a fresh one that the summary states. Work is done by `jobs` warm
        processes: of this machine, or on `ray` or `dask`, whose start a script guards with
        `if __name__ == "__main__"`. What was interrupted goes on when it is asked for again.
        Raises InputError, ConflictError (`audit.running`), MissingExtraError, UnavailableError.
        """
        from registry.workflows.audit.run import audit
        from registry.workflows.audit.selection import Wanted

        wanted = Wanted(
            project=project,
            campaign=campaign,
            since_ms=None if since is None else read_time(since),
            sample=sample,
            sample_seed=None if sample_seed is None else str(sample_seed),
        )
        return audit(self._services, wanted, executor=executor, jobs=jobs, progress=progress)

    def calibrate(
        self,
        models: Sequence[str] = (),
        *,
        campaign: str | None = None,
        sample: int = 12,
        executor: str = "processes",
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Calibrations:
        """Measure how far numeric settings alone move a model's pictures; sign the bounds.

        `models` are named by id, path or declared name; without any, those of a campaign, or all.
        From then on verdicts on replays of the model are judged by its bounds. Raises InputError
        when nothing could be measured (`calibration.samples`) or the bounds would let a real
        change pass (`calibration.indistinct`), NotFoundError for an unknown model.
        """
        from registry.workflows.audit.calibrate import calibrate

        return calibrate(
            self._services,
            models,
            campaign=campaign,
            sample=sample,
            executor=executor,
            jobs=jobs,
            progress=progress,
        )

    def diff(self, first: str | Path, second: str | Path, *, out: Path | None = None) -> DiffReport:
        """Compare two assets, records or files; `out` receives a picture of both.

        A file that the registry does not know is compared by its content alone. Raises what
        `Registry.get` raises for what names nothing, InputError (`diff.no-picture`) where there
        are no two pictures for `out`.
        """
        from registry.workflows.diff import diff

        return diff(self._services, str(first), str(second), out=out)
