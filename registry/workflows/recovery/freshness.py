"""How fresh this registry is: the checkpoints that its log signed, wherever they are kept.

What lies outside is read before the database, so that a writer in between makes nothing look old.
Nothing counts that the log's key did not sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from registry.core import checkpoints
from registry.core.checkpoints import Checkpoint
from registry.core.recovery_answers import KnownHead
from registry.core.times import format_time
from registry.errors import GenopsError, RollbackError
from registry.log.head import StoredHead, read_head
from registry.log.outside import CheckpointFile
from registry.log.tree import TreeHashes
from registry.store.sidecar_tables import CosignatureRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.vault.segments import read_checkpoint
from registry.vault.shelf import Pointer, pointers
from registry.workflows.services import Services

_COSIGNATURES = table_of(CosignatureRow)
_NEWEST_COSIGNED = select(_COSIGNATURES.c.note).order_by(_COSIGNATURES.c.size.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint of this log, where it was found, and when it was made as far as that tells."""

    where: str
    note: bytes
    checkpoint: Checkpoint
    time_ms: int | None = None

    def head(self) -> KnownHead:
        """Return it as an answer."""
        when = None if self.time_ms is None else format_time(self.time_ms)
        return KnownHead(self.where, self.checkpoint.size, self.checkpoint.root.hex(), when)


def near_heads(services: Services) -> list[Found]:
    """Return the checkpoints that are cheap to find: the file, the newest segment, cosigned ones.

    A segment is opened only if its name says that it goes further than the database. Raises
    IntegrityError for one that the log did not sign, MaterialError for a segment that is not
    wholly here.
    """
    size = stored_size(services)
    newest = max(pointers(services.vault), key=lambda p: p.last, default=None)
    found = [*_file(services), *_cosigned(services)]
    if newest is not None and newest.last >= size:
        found.append(segment_head(services, newest))
    return found


def all_heads(services: Services) -> tuple[list[Found], list[GenopsError]]:
    """Return every checkpoint outside the log's own tables, and what could not be read."""
    found: list[Found] = []
    problems: list[GenopsError] = []
    for look in (_file, _cosigned):
        try:
            found += look(services)
        except GenopsError as error:
            problems.append(error)
    for pointer in pointers(services.vault):
        try:
            found.append(segment_head(services, pointer))
        except GenopsError as error:
            problems.append(error)
    return found, problems


def compared_heads(services: Services) -> list[Found]:
    """Return every checkpoint outside the log, smallest first, after comparing it with the log.

    Raises RollbackError (`log.rolled-back`, `log.forked`), and what could not be read.
    """
    found, problems = all_heads(services)
    with read(services.engine) as conn:
        refuse_older(conn, found)
    for problem in problems:
        raise problem
    return sorted(found, key=lambda one: one.checkpoint.size)


def refuse_stale(services: Services) -> None:
    """Refuse to go on with a database that is known to be older than what the log signed.

    Raises RollbackError (`log.rolled-back`, `log.forked`), and what `near_heads` does.
    """
    outside = near_heads(services)
    with read(services.engine) as conn:
        refuse_older(conn, outside)


def refuse_older(conn: Connection, outside: Iterable[Found]) -> StoredHead:
    """Compare a snapshot with the checkpoints that were found before; return its head.

    Raises RollbackError (`log.rolled-back`, `log.forked`) with both checkpoints.
    """
    head = read_head(conn)
    for found in outside:
        if found.checkpoint.size > head.size:
            raise RollbackError(
                f"the database holds {head.size} records, and the log signed"
                f" {found.checkpoint.size} ({found.where})",
                hint="see `genops log recover`",
                heads=_both(head, found),
            )
        if TreeHashes(conn).root(found.checkpoint.size) != found.checkpoint.root:
            raise RollbackError(
                f"the first {found.checkpoint.size} records are not those that the log signed"
                f" ({found.where})",
                code="log.forked",
                hint="keep both, and see `genops log recover`",
                heads=_both(head, found),
            )
    return head


def stored_head(head: StoredHead) -> KnownHead:
    """Return the database's own tree as an answer."""
    when = format_time(head.time_ms) if head.size else None
    return KnownHead("database", head.size, head.frontier.root().hex(), when)


def stored_size(services: Services) -> int:
    """Return how many records the database holds."""
    with read(services.engine) as conn:
        return read_head(conn).size


def segment_head(services: Services, pointer: Pointer) -> Found:
    """Return the checkpoint of one segment; its time is when its pointer was written."""
    note = read_checkpoint(services.vault, pointer.path)
    checkpoint = checkpoints.verify(note, services.reader.vkey)
    written_ms = pointer.path.stat().st_mtime_ns // 1_000_000
    return Found(f"vault segment {pointer.name}", note, checkpoint, written_ms)


def _file(services: Services) -> Sequence[Found]:
    path = services.settings.home.checkpoint
    file = CheckpointFile(path, services.reader.vkey)
    checkpoint = file.read()
    if checkpoint is None or file.note is None or checkpoint.size == 0:
        return ()
    return (Found(str(path), file.note, checkpoint, file.time_ms()),)


def _cosigned(services: Services) -> Sequence[Found]:
    with read(services.engine) as conn:
        note = conn.scalar(_NEWEST_COSIGNED)
    if note is None:
        return ()
    return (Found("kept cosignatures", note, checkpoints.verify(note, services.reader.vkey)),)


def _both(head: StoredHead, found: Found) -> list[dict[str, object]]:
    return [one.to_dict() for one in (stored_head(head), found.head())]
