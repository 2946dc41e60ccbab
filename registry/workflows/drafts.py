"""Drafts: what nobody keeps expires, bytes and segments; its records stay.

The log says so before anything is removed, and what it says decides what is: an expiry that was cut
short is finished by the next one. Whether bytes may go is judged under the lock of the log's head.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import RowMapping, delete, select

from registry.catalog import drafts as catalog
from registry.catalog import holds, queries
from registry.catalog.drafts import DRAFTS, PREDICATE_DRAFT, DraftFilter
from registry.catalog.graph import chunked
from registry.core import predicates
from registry.core.digests import asset_id, record_id, sha256_hex
from registry.core.draft_answers import DraftView, DueDraft, ExpiryReport, KeptReport
from registry.core.generation import Blob
from registry.core.statements import Subject, predicate_uri
from registry.core.times import format_time
from registry.errors import IntegrityError, MaterialError, NotFoundError
from registry.log.head import lock_head, read_head
from registry.mirrors.outbox import Outbox
from registry.store.transaction import read, write
from registry.vault.segments import shrink_segment
from registry.vault.shelf import draft_pointers, read_pointer
from registry.workflows import refs
from registry.workflows.choose import rows as records_at
from registry.workflows.fingerprinting import (
    FINGERPRINTS,
    THUMBNAILS,
    fingerprint_assets,
    forget,
)
from registry.workflows.inspect import PREDICATE_REVIEW
from registry.workflows.reproduce import reproduce
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.view import RecordView

HOUR_MS = 3_600_000
_PER_RECORD = 200
"""Drafts that one record speaks of; a statement takes 256 subjects."""
_BINDING = {
    predicate_uri("release"): "it was released",
    predicate_uri("publication"): "it was published",
    predicate_uri("claim"): "a claim was made of it",
    predicate_uri("bank-entry"): "a bank holds it",
    predicate_uri("bank-entry", 2): "a bank holds it",
}
"""Records that bind the house to the bytes that they speak of."""


def list_drafts(
    services: Services, chosen: DraftFilter, *, limit: int = 100, offset: int = 0
) -> list[DraftView]:
    """Return a page of what was recorded as drafts, newest first."""
    most = services.settings.limits.page_rows
    with read(services.engine) as conn:
        found = catalog.list_drafts(conn, chosen, limit=min(limit, most), offset=offset)
    changes = {r["idx"]: r for r in records_at(services, {r["changed_by"] for r in found} - {None})}
    return [_view(row, changes) for row in found]


def keep(
    services: Services, named: Sequence[str], *, reason: str = "", actor: str | None = None
) -> KeptReport:
    """Keep drafts for good; those that expired are made again first, byte for byte.

    Raises NotFoundError (`draft.none`) for what is no draft, IntegrityError (`draft.differs`) when
    an expired one does not come out as it was, and what `reproduce` does; nothing is kept then.
    """
    rows = {row["sha256"]: row for row in (_draft(services, text) for text in named)}
    left = {digest: row for digest, row in rows.items() if not _is_kept(services, digest)}
    gone = _expired(services, left)
    blobs = [_again(services, left[digest]) for digest in left if digest in gone]
    records = [
        _declare(services, part, "keep", reason=reason, actor=actor, blobs=blobs)
        for part in chunked(left.values(), _PER_RECORD)
    ]
    if blobs:
        fingerprint_assets(services, only={blob.sha256 for blob in blobs})
    return KeptReport(
        record=records[-1] if records else None,
        kept=tuple(asset_id(digest.hex()) for digest in rows),
        again=tuple(asset_id(digest.hex()) for digest in left if digest in gone),
    )


def expire(
    services: Services,
    older_than_hours: int,
    chosen: DraftFilter | None = None,
    *,
    dry_run: bool = False,
    actor: str | None = None,
) -> ExpiryReport:
    """Let drafts that are older go, unless something keeps them: their bytes, not their records.

    Log time decides. What is held, released, approved, kept, or used by something that stays, is
    left and reported. Finishes an earlier expiry that was cut short.
    """
    chosen = chosen or DraftFilter()
    with read(services.engine) as conn:
        now_ms = max(services.now(), read_head(conn).time_ms)
    due = _due(services, chosen, now_ms - older_than_hours * HOUR_MS)
    stays = _staying(services, due)
    items = tuple(_due_view(row, stays.get(digest)) for digest, row in due.items())
    as_of = format_time(now_ms)
    if dry_run:
        return ExpiryReport(True, as_of, older_than_hours, items)
    going = [row for digest, row in due.items() if digest not in stays]
    records = [
        _declare(services, part, "expire", after_hours=older_than_hours, actor=actor)
        for part in chunked(going, _PER_RECORD)
    ]
    blobs, freed = finish(services)
    return ExpiryReport(False, as_of, older_than_hours, items, tuple(records), blobs, freed)


def finish(services: Services) -> tuple[int, int]:
    """Remove what the log lets go; return how many blobs that were, and their bytes.

    Segments first, so that none ever names what is not there.
    """
    gone = _expired(services, _listed(services))
    if not gone:
        return 0, 0
    named = {digest.hex() for digest in gone}
    kept = {digest for digest in _kept_elsewhere(services) if digest not in named}
    for pointer in draft_pointers(services.vault):
        segment = read_pointer(services.vault, pointer, lenient=True)
        inside = {blob.sha256 for blob in segment.members.values()}
        if inside & named:
            whole = inside <= named | kept
            shrink_segment(services.vault, pointer.path, inside if whole else named)
    found = [_remove(services, part) for part in chunked(gone, _PER_RECORD)]
    return sum(blobs for blobs, _ in found), sum(freed for _, freed in found)


def _draft(services: Services, text: str) -> RowMapping:
    with read(services.engine) as conn:
        row = refs.output(conn, text)
        if not catalog.rows_of(conn, row["sha256"]):
            raise NotFoundError(
                f"{asset_id(row['sha256'].hex())} was not recorded as a draft",
                code="draft.none",
                hint="`genops drafts list` shows them; everything else is kept anyway",
            )
    return row


def _is_kept(services: Services, digest: bytes) -> bool:
    with read(services.engine) as conn:
        return all(row["state"] == "kept" for row in catalog.rows_of(conn, digest))


def _expired(services: Services, digests: Iterable[bytes]) -> set[bytes]:
    with read(services.engine) as conn:
        return catalog.expired(conn, digests)


def _again(services: Services, row: RowMapping) -> Blob:
    """Make an expired draft again and put it back; raises IntegrityError (`draft.differs`)."""
    asset = asset_id(row["sha256"].hex())
    services.settings.home.work.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=services.settings.home.work, prefix="draft-") as folder:
        try:
            done = reproduce(services, asset, out=Path(folder))
        except MaterialError as error:
            raise MaterialError(
                f"{asset} expired, and cannot be made again: {error.message}",
                code=error.code,
                hint="if what it was made from expired as well, keep that first",
            ) from error
        data = b"" if done.path is None else Path(done.path).read_bytes()
        if sha256_hex(data) != row["sha256"].hex():
            raise IntegrityError(
                f"{asset} expired, and made again it is {done.verdict}",
                code="draft.differs",
                hint="record what comes out now as a generation of its own",
            )
        return services.vault.put(data)


def _due(services: Services, chosen: DraftFilter, before_ms: int) -> dict[bytes, RowMapping]:
    """Return the drafts that nobody decided on and that are old enough, by digest.

    Of bytes that were made several times, the newest counts.
    """
    wanted = DraftFilter("draft", chosen.project, chosen.campaign)
    with read(services.engine) as conn:
        found = catalog.list_drafts(conn, wanted)
    newest: dict[bytes, RowMapping] = {}
    for row in found:  # newest first
        newest.setdefault(row["sha256"], row)
    return {digest: row for digest, row in newest.items() if row["time_ms"] <= before_ms}


def _staying(services: Services, due: Mapping[bytes, RowMapping]) -> dict[bytes, str]:
    """Return why some of them do not expire."""
    with read(services.engine) as conn:
        held = holds.held_digests(conn, due)
        kept = catalog.not_drafts(conn, due)
        used = catalog.users(conn, due)
        young = {
            row["sha256"]
            for row in catalog.list_drafts(conn, DraftFilter("draft"))
            if row["sha256"] in due and row["record_idx"] > due[row["sha256"]]["record_idx"]
        }
        about = {digest: queries.records_about(conn, digest) for digest in due}
    stays = {digest: f"a hold stands on it: {', '.join(by)}" for digest, by in held.items()}
    stays |= dict.fromkeys(kept, "it was made or taken in as more than a draft, or kept")
    stays |= dict.fromkeys(young, "it was made again since, elsewhere")
    for digest, records in about.items():
        if why := next((w for r in records if (w := _bound_by(services, r))), None):
            stays.setdefault(digest, why)
    while True:  # what stays keeps what it was made from
        more = {u for u, by in used if u not in stays and (by not in due or by in stays)}
        if not more:
            return stays
        stays |= dict.fromkeys(more, "something that stays was made from it")


def _bound_by(services: Services, record: RowMapping) -> str | None:
    """Say how a record binds the bytes that it speaks of, if it does."""
    if record["predicate_type"] == PREDICATE_REVIEW:
        verdict = RecordView(services, record["idx"]).statement.predicate["verdict"]
        return "a reviewer approved it" if verdict == "approved" else None
    return _BINDING.get(record["predicate_type"])


def _declare(
    services: Services,
    rows: Sequence[RowMapping],
    action: str,
    *,
    after_hours: int | None = None,
    reason: str = "",
    actor: str | None = None,
    blobs: Sequence[Blob] = (),
) -> str:
    predicate = predicates.draft(
        services.head(rows[0]["project"], actor),
        action="keep" if action == "keep" else "expire",
        after_hours=after_hours,
        reason=reason or None,
    )
    subjects = [Subject(f"out/{n}", row["sha256"].hex()) for n, row in enumerate(rows)]
    done = declare(services, subjects, PREDICATE_DRAFT, predicate, role="reviewer", blobs=blobs)
    return done.record


def _listed(services: Services) -> list[bytes]:
    """Return the drafts that the log let go and of which something is still here."""
    query = select(DRAFTS.c.sha256).where(DRAFTS.c.state == "expired").distinct()
    tables = (queries.BLOBS, FINGERPRINTS, THUMBNAILS)
    with read(services.engine) as conn:
        left = (query.join(table, table.c.sha256 == DRAFTS.c.sha256) for table in tables)
        return list({digest for some in left for digest in conn.scalars(some)})


def _kept_elsewhere(services: Services) -> set[str]:
    """Return the drafts (hex) that were kept, and that a lasting segment carries by now."""
    waiting = Outbox(services.engine).waiting("vault")
    query = select(DRAFTS.c.sha256, DRAFTS.c.changed_by).where(DRAFTS.c.state == "kept")
    with read(services.engine) as conn:
        rows = conn.execute(query).all()
    return {row.sha256.hex() for row in rows if row.changed_by not in waiting}


def _remove(services: Services, digests: Sequence[bytes]) -> tuple[int, int]:
    """Remove blobs that nothing came to need meanwhile; no record can come in between."""
    blobs = freed = 0
    with write(services.engine) as conn:
        lock_head(conn)
        gone = list(catalog.expired(conn, digests))
        query = select(queries.BLOBS).where(queries.BLOBS.c.sha256.in_(gone))
        for row in conn.execute(query).all():
            freed += services.vault.remove(Blob(row.sha256.hex(), row.md5.hex(), row.size))
            blobs += 1
        conn.execute(delete(queries.BLOBS).where(queries.BLOBS.c.sha256.in_(gone)))
        forget(conn, gone)
    return blobs, freed


def _view(row: RowMapping, changes: Mapping[int, RowMapping]) -> DraftView:
    change = changes.get(row["changed_by"])
    return DraftView(
        id=asset_id(row["sha256"].hex()),
        record=record_id(row["leaf_hash"].hex()),
        index=row["record_idx"],
        time=format_time(row["time_ms"]),
        project=row["project"],
        campaign=row["campaign"],
        media_type=row["media_type"],
        size=row["size"],
        state=row["state"],
        changed_by=record_id(change["leaf_hash"].hex()) if change else None,
    )


def _due_view(row: RowMapping, stays: str | None) -> DueDraft:
    return DueDraft(
        id=asset_id(row["sha256"].hex()),
        record=record_id(row["leaf_hash"].hex()),
        time=format_time(row["time_ms"]),
        project=row["project"],
        campaign=row["campaign"],
        size=row["size"],
        stays=stays,
    )
