"""What is kept of an audit that runs, so that a killed one goes on and makes nothing twice.

A file of the home says which audit stands for what was asked; which outputs it has judged, the
log says: each of its reproductions has an invocation id that follows from the audit's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import select

from registry.catalog.graph import RECORDS
from registry.core import jsonio
from registry.core.digests import sha256_hex
from registry.core.ids import RANDOM_BYTES, uuid7
from registry.core.predicates import Head
from registry.core.statements import predicate_uri
from registry.errors import ConflictError
from registry.log.kept import KeptFile
from registry.store.transaction import read
from registry.workflows.audit.selection import Chosen, Wanted
from registry.workflows.services import Services
from registry.workflows.view import RecordView

PREDICATE_AUDIT = predicate_uri("audit")
PREDICATE_REPRODUCTION = predicate_uri("reproduction")
_PURPOSE = "audits, version 1"
_MAX_BYTES = 64 * 1024
_SEED_BYTES = 6


@dataclass(frozen=True, slots=True)
class Kept:
    """One audit: its invocation id (UUIDv7), since when, over which log, with which seed."""

    invocation: str
    started_ms: int
    size: int
    seed: str

    def invocation_of(self, one: Chosen) -> str:
        """Return the invocation id of the reproduction of one output in this audit."""
        said = f"{self.invocation} {one.record} {one.output}".encode("ascii")
        return uuid7(self.started_ms, hashlib.sha256(said).digest()[:RANDOM_BYTES])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an earlier run of the same audit found, as the log has it."""

    record: str
    verdict: str


class Running:
    """The one run of an audit that there may be at a time."""

    def __init__(self, kept: Kept, head: Head, file: KeptFile) -> None:
        self.kept = kept
        self.head = replace(head, invocation_id=kept.invocation)
        self._file = file

    def earlier(self, services: Services) -> dict[str, Verdict]:
        """Return the verdicts of this audit that are on the log, by invocation id."""
        found = {}
        for index, invocation in _logged(services, PREDICATE_REPRODUCTION, self.kept.size):
            view = RecordView(services, index)
            said = view.statement.predicate
            found[invocation] = Verdict(view.entry.record_id, said["verdict"])
        return found

    def finish(self) -> None:
        """Forget the audit: its summary is on the log."""
        self._file.clear()


@contextmanager
def running(services: Services, wanted: Wanted) -> Iterator[Running]:
    """Begin an audit, or go on with the one that was interrupted.

    Raises ConflictError (`audit.running`) while another process runs the same one.
    """
    head = services.head()
    asked = jsonio.canonical(wanted.document())
    name = f"audit-{sha256_hex(asked)[:16]}"
    work = services.settings.home.work
    work.mkdir(mode=0o700, exist_ok=True)
    lock = FileLock(work / f"{name}.lock", timeout=0, mode=0o600)
    try:
        with lock:
            secret = services.secret_for(_PURPOSE)
            file = KeptFile(work / f"{name}.json", secret, f"{name} {services.settings.origin}")
            kept = _going_on(services, file) or _begun(services, wanted, head)
            file.save(asdict(kept))
            yield Running(kept, head, file)
    except Timeout:
        raise ConflictError(
            "the same audit is running already",
            code="audit.running",
            hint="wait for it, or ask for another selection",
        ) from None


def _going_on(services: Services, file: KeptFile) -> Kept | None:
    """Return the audit that was interrupted; None when there is none, or its summary is logged."""
    body: Any = file.load(_MAX_BYTES)
    if body is None:
        return None
    kept = Kept(**body)
    summaries = dict(_logged(services, PREDICATE_AUDIT, kept.size))
    over = kept.invocation in summaries.values() or kept.size > services.reader.head().size
    return None if over else kept


def _begun(services: Services, wanted: Wanted, head: Head) -> Kept:
    fresh = str(int.from_bytes(services.entropy(_SEED_BYTES), "big"))
    seed = wanted.sample_seed if wanted.sample_seed is not None else fresh
    return Kept(head.invocation_id, services.now(), services.reader.head().size, seed)


def _logged(services: Services, predicate_type: str, start: int) -> Iterator[tuple[int, str]]:
    query = select(RECORDS.c.idx, RECORDS.c.invocation_id).where(
        RECORDS.c.predicate_type == predicate_type, RECORDS.c.idx >= start
    )
    with read(services.engine) as conn:
        rows = conn.execute(query.order_by(RECORDS.c.idx)).all()
    yield from ((row.idx, row.invocation_id) for row in rows)
