"""Bring the mirrors up to date: MLflow for engineers, vault segments for DVC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry.core.answers import MirrorReport
from registry.core.recovery_answers import RetryReport
from registry.errors import InputError
from registry.log.sequencer import OUTBOX_TARGETS
from registry.mirrors.contract import Mirror, MirrorRecord
from registry.mirrors.mlflow import MlflowMirror, open_mlflow
from registry.mirrors.outbox import Outbox
from registry.mirrors.worker import drain
from registry.workflows.segment_mirror import Difference, SegmentMirror
from registry.workflows.segment_mirror import differences as segment_differences
from registry.workflows.services import Services
from registry.workflows.view import RecordView

TARGETS = OUTBOX_TARGETS
CHECK_BATCH = 200
"""Records that are compared with a mirror at a time."""


def sync(services: Services, targets: Sequence[str] = TARGETS) -> list[MirrorReport]:
    """Send what is due to each mirror; a mirror that is down is reported, never raised."""
    return [_sync(services, target) for target in targets]


def status(services: Services) -> list[MirrorReport]:
    """Tell what waits for each mirror, and the last error."""
    outbox = Outbox(services.engine)
    reports = []
    for target in TARGETS:
        backlog = outbox.backlog(target)
        reports.append(
            MirrorReport(
                target, sent=0, failed=backlog.failed, pending=backlog.pending, error=backlog.error
            )
        )
    return reports


def _sync(services: Services, target: str) -> MirrorReport:
    outbox = Outbox(services.engine)
    mirror = _open(services, target)
    done = drain(outbox, mirror, lambda index: load(services, index), services.now, force=True)
    return MirrorReport(
        target=target,
        sent=done.sent,
        failed=done.failed,
        pending=outbox.pending(target),
        error=done.error,
    )


def _open(services: Services, target: str) -> Mirror:
    if target == "mlflow":
        return open_mlflow(services.settings, services.engine)
    if target == "vault":
        return SegmentMirror(services)
    raise InputError(f"no mirror is called {target!r}; there are {', '.join(TARGETS)}")


def load(services: Services, index: int) -> MirrorRecord:
    """Return a record as mirrors receive it: as logged, texts still sealed."""
    view = RecordView(services, index)
    outputs = []
    for subject in view.statement.subjects:
        blob = services.blobs.get(subject.sha256)
        outputs.append((subject.sha256, services.vault.path(blob) if blob else None))
    return MirrorRecord(
        index=index,
        record_id=view.entry.record_id,
        statement=view.statement,
        envelope=view.envelope_bytes,
        entry=view.entry_bytes,
        time_ms=view.entry.time_ms,
        outputs=tuple(outputs),
    )


def check(services: Services, target: str) -> tuple[str, ...]:
    """Compare a mirror's copies with the log; records that still wait are left out.

    Raises InputError for an unknown mirror, UnavailableError when it is down.
    """
    return tuple(line for _, line in _differences(services, target) if line)


def retry(services: Services, target: str) -> RetryReport:
    """Send again what a mirror refused, lacks, or holds otherwise than the log.

    Raises as `check` does. What cannot be mended fails again, and is reported.
    """
    outbox = Outbox(services.engine)
    again = outbox.reset(target)
    differing = sorted({index for index, _ in _differences(services, target) if index is not None})
    again += outbox.requeue(target, differing)
    done = _sync(services, target)
    return RetryReport(target, again, done.sent, done.failed, done.pending, done.error)


def _differences(services: Services, target: str) -> Iterator[Difference]:
    waiting = Outbox(services.engine).waiting(target)
    if target == "vault":
        yield from segment_differences(services, waiting)
        return
    mirror = _open(services, target)
    assert isinstance(mirror, MlflowMirror)  # noqa: S101  # there are two
    size = services.reader.head().size
    for start in range(0, size, CHECK_BATCH):
        indices = range(start, min(start + CHECK_BATCH, size))
        records = [load(services, index) for index in indices if index not in waiting]
        by_id = {record.record_id: record.index for record in records}
        for difference in mirror.check(records):
            yield by_id[difference.record_id], str(difference)
