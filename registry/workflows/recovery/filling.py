"""Write records that are known to be the log's into a database, with all that lies beside them.

Whoever calls this has compared them with a checkpoint; their signatures are judged by `check_log`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, delete

from registry.catalog.projector import project
from registry.catalog.queries import BLOBS, ERASURES
from registry.core.disclosures import sealed_pointers
from registry.core.generation import Blob
from registry.core.notes import VerifierKey
from registry.core.statements import Subject
from registry.log.replay import Record, Replay, Takeover
from registry.log.submission import Accepted
from registry.similarity.decode import MEDIA_TYPES
from registry.similarity.texts import is_text
from registry.store.bulk import insert_missing, insert_rows
from registry.store.leaves import spoken_of
from registry.store.rows import blob_row, outbox_row
from registry.store.sidecar_tables import OutboxRow
from registry.store.types import table_of
from registry.workflows.fingerprinting import fingerprint_assets
from registry.workflows.personal import is_personal
from registry.workflows.services import Services
from registry.workflows.texts import SEALED

_OUTBOX = table_of(OutboxRow)
_BATCH = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies beside the records that are written.

    `sealed` gives a record's encrypted texts by its index, `blobs` are those that the vault has,
    `due` the indices that each mirror must be sent.
    """

    sealed: Callable[[int], bytes | None]
    blobs: Iterable[Blob]
    due: Mapping[str, Collection[int]]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the outputs that may have a fingerprint, and texts that were not there."""

    pictures: tuple[str, ...]
    without_texts: int


def write_records(
    conn: Connection,
    replay: Replay,
    records: Iterable[Record],
    note: bytes,
    vkey: VerifierKey,
    beside: Beside,
    progress: Progress,
) -> Written:
    """Take records over behind those that are there, in the caller's transaction.

    Raises IntegrityError (`log.altered`) unless `note` is the log's checkpoint of all of them.
    """
    takeover, source = Takeover(conn), iter(records)
    pictures: dict[str, None] = {}
    without: set[int] = set()
    while chunk := list(islice(source, _BATCH)):
        accepted = [replay.accept(record) for record in chunk]
        takeover.extend(accepted, [envelope for _, envelope in chunk])
        project(conn, accepted)
        without |= _write_sealed(conn, accepted, beside.sealed)
        pictures |= dict.fromkeys(_pictures(accepted))
        progress(len(accepted), 0)
    takeover.finish(note, vkey)
    insert_missing(conn, BLOBS, [blob_row(blob) for blob in beside.blobs])
    for target, indices in beside.due.items():
        insert_rows(conn, _OUTBOX, [outbox_row(index, target) for index in sorted(indices)])
    return Written(tuple(pictures), len(without - _delete_erased(conn)))


def add_fingerprints(
    services: Services, assets: Collection[str], jobs: int, progress: Progress
) -> int:
    """Make and store the fingerprints of assets (hex SHA-256) anew; return how many can be found.

    A picture that does not decode has none, and neither has one whose bytes are not here.
    """
    made = fingerprint_assets(services, only=frozenset(assets), jobs=jobs, progress=progress)
    return made.findable


def _write_sealed(
    conn: Connection, batch: Sequence[Accepted], sealed: Callable[[int], bytes | None]
) -> set[int]:
    """Insert the encrypted texts of a batch; return the records that have theirs nowhere."""
    rows, without = [], set()
    for item in batch:
        ciphertext = sealed(item.index)
        if ciphertext is not None:
            key = item.envelope.payload_sha256
            row = {"record_idx": item.index, "key_id": key, "ciphertext": ciphertext}
            rows.append(row)
        elif _has_texts(item):
            without.add(item.index)
    insert_rows(conn, SEALED, rows)
    return without


def _has_texts(item: Accepted) -> bool:
    return bool(sealed_pointers(dict(item.statement.document)))


def _delete_erased(conn: Connection) -> set[int]:
    """Leave no ciphertext of what was erased, whose keys others destroy; return those records."""
    erased = spoken_of(ERASURES)
    conn.execute(delete(SEALED).where(SEALED.c.record_idx.in_(erased)))
    return set(conn.scalars(erased))


def _pictures(batch: Iterable[Accepted]) -> Iterator[str]:
    for item in batch:
        for subject in item.statement.subjects:
            if _may_have_fingerprint(subject):
                yield subject.sha256


def _may_have_fingerprint(subject: Subject) -> bool:
    kind = subject.media_type
    return (kind in MEDIA_TYPES.values() or is_text(kind)) and not is_personal(subject)
