"""Make the fingerprints that assets lack: of older releases, of new algorithms, after a restore.

Reads the vault and writes sidecars alone, chunk by chunk: what is done stays done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, func, or_, select

from registry.catalog.drafts import expired
from registry.catalog.graph import NODES, chunked
from registry.catalog.queries import BLOBS, OUTPUTS
from registry.core.digests import asset_id
from registry.core.fingerprint_answers import FingerprintReport, Unread
from registry.errors import GenopsError, MaterialError
from registry.log.head import lock_head
from registry.similarity.decode import MEDIA_TYPES
from registry.similarity.fingerprints import PHASH256, PHASH256_V1
from registry.similarity.palette import PALETTE
from registry.similarity.prints import NAMES, Prints, algorithms, prints_of
from registry.similarity.texts import MINHASH, is_text
from registry.store.bulk import insert_missing
from registry.store.rows import fingerprint_row, thumbnail_row
from registry.store.sidecar_tables import FingerprintRow, ThumbnailRow
from registry.store.transaction import read, refuse_read_only, write
from registry.store.types import table_of
from registry.threads import cores
from registry.workflows.personal import is_personal
from registry.workflows.services import Services
from registry.workflows.view import RecordView

FINGERPRINTS = table_of(FingerprintRow)
THUMBNAILS = table_of(ThumbnailRow)
BATCH = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Due:
    """An asset that may lack fingerprints, and one of its outputs."""

    sha256: bytes
    media_type: str
    record_idx: int
    position: int


@dataclass(slots=True)
class Tally:
    """Counts, as they are in the report."""

    made: int = 0
    findable: int = 0
    personal: int = 0
    expired: int = 0
    missing: int = 0
    unread: list[Unread] = field(default_factory=list)


def fingerprint_assets(
    services: Services,
    *,
    again: bool = False,
    only: Collection[str] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> FingerprintReport:
    """Make what the assets lack of fingerprints and thumbnails; with `again`, all of it anew.

    `only` restricts it to some assets, by hex SHA-256. Stopped, it goes on where it was;
    idempotent. Raises HomeError where nothing can be written.
    """
    refuse_read_only(services.engine)
    with read(services.engine) as conn:
        due = _due(conn, again=again)
    if only is not None:
        due = [item for item in due if item.sha256.hex() in only]
    tally, done = Tally(), 0
    with ThreadPoolExecutor(jobs or cores()) as pool:
        for chunk in chunked(due, BATCH):
            _fingerprint(services, pool, chunk, tally, again=again)
            done += len(chunk)
            if progress is not None:
                progress(done, len(due))
    return FingerprintReport(
        due=len(due),
        made=tally.made,
        findable=tally.findable,
        personal=tally.personal,
        expired=tally.expired,
        missing=tally.missing,
        unread=tuple(tally.unread),
    )


def lacking_pictures(conn: Connection) -> int:
    """Count the pictures in the vault that lack fingerprints of this version's algorithms."""
    found = select(func.count(OUTPUTS.c.sha256.distinct())).where(
        OUTPUTS.c.media_type.in_(MEDIA_TYPES.values()),
        exists().where(BLOBS.c.sha256 == OUTPUTS.c.sha256),
        _lacks_thumbnail(),
    )
    return conn.scalar(found) or 0


def forget(conn: Connection, digests: Sequence[bytes]) -> None:
    """Delete fingerprints and thumbnails of assets, in the caller's transaction."""
    conn.execute(delete(FINGERPRINTS).where(FINGERPRINTS.c.sha256.in_(digests)))
    conn.execute(delete(THUMBNAILS).where(THUMBNAILS.c.sha256.in_(digests)))


def _fingerprint(
    services: Services, pool: ThreadPoolExecutor, chunk: Sequence[Due], tally: Tally, *, again: bool
) -> None:
    """Make the fingerprints of a chunk, and store them together."""
    public = [item for item in chunk if not _is_personal(services, item)]
    tally.personal += len(chunk) - len(public)
    blobs = services.blobs.get_many(item.sha256.hex() for item in public)
    here = [item for item in public if item.sha256.hex() in blobs]
    with read(services.engine) as conn:
        gone = expired(conn, [item.sha256 for item in public if item not in here])
    tally.expired += len(gone)
    tally.missing += len(public) - len(here) - len(gone)

    def made(item: Due) -> Prints | GenopsError:
        try:
            data = services.vault.read(blobs[item.sha256.hex()])
            return prints_of(
                data, services.settings.limits, media_type=item.media_type, pixels=False
            )
        except GenopsError as error:
            return error

    found: list[Prints] = []
    for item, prints in zip(here, pool.map(made, here), strict=True):
        if isinstance(prints, Prints):
            found.append(prints)
        elif isinstance(prints, MaterialError):
            tally.missing += 1
        else:
            tally.unread.append(Unread(asset_id(item.sha256.hex()), prints.message))
    _store(services, found, again=again)
    tally.made += len(found)
    tally.findable += sum(any(value.name != PALETTE for value in prints.values) for prints in found)


def _store(services: Services, found: Sequence[Prints], *, again: bool) -> None:
    """Store what was made, unless the asset expired meanwhile: nothing of it may come back."""
    digests = [bytes.fromhex(prints.sha256) for prints in found]
    with write(services.engine) as conn:
        lock_head(conn)
        here = set(conn.scalars(select(BLOBS.c.sha256).where(BLOBS.c.sha256.in_(digests))))
        kept = [prints for prints in found if bytes.fromhex(prints.sha256) in here]
        values = [fingerprint_row(value) for prints in kept for value in prints.values]
        old = {value["sha256"] for value in values if value["name"] == PHASH256}
        _delete_prints(conn, old, {PHASH256_V1})
        if again:
            _delete_prints(conn, here, NAMES)
        conn.execute(delete(THUMBNAILS).where(THUMBNAILS.c.sha256.in_(here)))
        insert_missing(conn, FINGERPRINTS, values)
        rows = [thumbnail_row(value) for prints in kept for value in prints.thumbnails]
        insert_missing(conn, THUMBNAILS, rows)


def _delete_prints(conn: Connection, digests: Collection[bytes], names: Collection[str]) -> None:
    mine = and_(FINGERPRINTS.c.sha256.in_(digests), FINGERPRINTS.c.name.in_(names))
    conn.execute(delete(FINGERPRINTS).where(mine))


def _is_personal(services: Services, item: Due) -> bool:
    return is_personal(RecordView(services, item.record_idx).statement.subjects[item.position])


def _due(conn: Connection, *, again: bool) -> list[Due]:
    """Return the pictures and texts that lack something, each once, in log order."""
    kinds = [kind for kind in conn.scalars(select(OUTPUTS.c.media_type).distinct()) if kind]
    pictures: ColumnElement[bool] = OUTPUTS.c.media_type.in_(set(kinds) & set(MEDIA_TYPES.values()))
    texts: ColumnElement[bool] = OUTPUTS.c.media_type.in_([kind for kind in kinds if is_text(kind)])
    if not again:
        pictures = and_(pictures, _lacks_thumbnail())
        texts = and_(texts, ~_has_print(MINHASH))
    rows = conn.execute(_outputs().where(or_(pictures, texts))).mappings()
    return list({row["sha256"]: Due(**row) for row in rows}.values())


def _outputs() -> Select[Any]:
    columns = (OUTPUTS.c.sha256, OUTPUTS.c.media_type, OUTPUTS.c.record_idx, NODES.c.position)
    query = select(*columns).join(NODES, NODES.c.id == OUTPUTS.c.node_id)
    return query.order_by(OUTPUTS.c.node_id)


def _lacks_thumbnail() -> ColumnElement[bool]:
    mine = and_(THUMBNAILS.c.sha256 == OUTPUTS.c.sha256, THUMBNAILS.c.made == algorithms())
    return ~exists().where(mine)


def _has_print(name: str) -> ColumnElement[bool]:
    return exists().where(
        and_(FINGERPRINTS.c.sha256 == OUTPUTS.c.sha256, FINGERPRINTS.c.name == name)
    )
