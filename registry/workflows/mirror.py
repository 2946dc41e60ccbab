"""Bring the mirrors up to date: MLflow for engineers, vault segments for DVC."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from registry.core.answers import MirrorReport
from registry.core.generation import Blob
from registry.core.modelsets import parse_modelset
from registry.core.statements import PREDICATE_GENERATION, Statement
from registry.errors import InputError
from registry.log.sequencer import OUTBOX_TARGETS
from registry.mirrors.contract import Mirror, MirrorRecord
from registry.mirrors.mlflow import open_mlflow
from registry.mirrors.outbox import Outbox
from registry.mirrors.worker import drain
from registry.store.transaction import read
from registry.vault.segments import write_segment
from registry.workflows.services import Services
from registry.workflows.texts import SEALED
from registry.workflows.view import RecordView

TARGETS = OUTBOX_TARGETS
CHECK_BATCH = 200
"""Records that are compared with a mirror at a time."""


@dataclass(frozen=True, slots=True)
class SegmentMirror:
    """Writes one vault segment a batch, so that `dvc push` carries what was recorded."""

    services: Services
    target: str = "vault"

    def send(self, batch: Sequence[MirrorRecord]) -> None:
        """Put a manifest of everything that the records need; idempotent."""
        members: dict[str, Blob] = {}
        for record in batch:
            members |= dict(_members(self.services, record))
        note = self.services.reader.checkpoint()
        write_segment(
            self.services.vault, batch[0].index, batch[-1].index, members, checkpoint=note
        )


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


def _members(services: Services, record: MirrorRecord) -> Iterator[tuple[str, Blob]]:
    """Yield what a segment holds of one record: path in the segment, and the blob."""
    number = f"{record.index:012d}"
    yield f"entries/{number}.json", services.vault.put(record.entry)
    yield f"envelopes/{number}.json", services.vault.put(record.envelope)
    with read(services.engine) as conn:
        query = select(SEALED.c.ciphertext).where(SEALED.c.record_idx == record.index)
        ciphertext = conn.scalar(query)
    if ciphertext is not None:
        yield f"sealed/{number}.bin", services.vault.put(ciphertext)
    for number_, subject in enumerate(record.statement.subjects):
        blob = services.blobs.get(subject.sha256)
        if blob is not None:
            suffix = mimetypes.guess_extension(subject.media_type or "") or ""
            yield f"outputs/{number}-{number_}{suffix}", blob
    yield from _materials(services, record.statement)


def _materials(services: Services, statement: Statement) -> Iterator[tuple[str, Blob]]:
    """Yield the vaulted materials of a record by digest: files, and the files of model folders."""
    if statement.predicate_type != PREDICATE_GENERATION:
        facts = statement.predicate.get("genops_facts", {}).get("sha256")
        if facts and (blob := services.blobs.get(facts)):
            yield f"facts/{facts}.json", blob
        return
    for dep in statement.predicate["buildDefinition"].get("resolvedDependencies", ()):
        blob = services.blobs.get(dep["digest"]["sha256"])
        if blob is None:
            continue
        yield f"materials/{blob.sha256}", blob
        if dep.get("annotations", {}).get("genops_digest") == "modelset-v1":
            for file in parse_modelset(services.vault.read(blob)):
                if (part := services.blobs.get(file.sha256)) is not None:
                    yield f"materials/{part.sha256}", part


def check(services: Services, target: str) -> tuple[str, ...]:
    """Compare a mirror's copies with the log; records that still wait are left out.

    Raises InputError for a mirror whose copies cannot be compared, UnavailableError when it is
    down.
    """
    if target != "mlflow":
        raise InputError(f"copies in {target!r} cannot be compared", code="mirror.uncheckable")
    waiting = Outbox(services.engine).waiting(target)
    size = services.reader.head().size
    mirror = open_mlflow(services.settings, services.engine)
    found: list[str] = []
    for start in range(0, size, CHECK_BATCH):
        indices = range(start, min(start + CHECK_BATCH, size))
        records = [load(services, index) for index in indices if index not in waiting]
        found += (str(difference) for difference in mirror.check(records))
    return tuple(found)
