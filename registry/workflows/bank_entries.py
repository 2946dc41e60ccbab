"""What goes into a bank and out of it: pictures, assets, fingerprints without a picture.

Of a picture, its fingerprints are kept, and a small grey thumbnail by which parts are verified;
never the picture itself. What stands already on the same terms is not put there twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import delete, select

from registry.core import bank_predicates
from registry.core.bank_answers import BankAdded, BankRemoved
from registry.core.bank_predicates import PREDICATE_BANK_ENTRY_V2
from registry.core.banks import NewEntry, hash_only_digest
from registry.core.digests import asset_id, parse_ref
from registry.core.fingerprint import FingerprintValue, Thumbnail
from registry.core.statements import MAX_LIST_ITEMS
from registry.errors import GenopsError, InputError
from registry.log.head import lock_head
from registry.similarity.palette import PALETTE
from registry.similarity.prints import Prints, prints_of
from registry.store.believed import ENTRIES, standing_entries
from registry.store.bulk import insert_missing
from registry.store.catalog_tables import OutputRow
from registry.store.rows import thumbnail_row
from registry.store.sidecar_tables import ThumbnailRow
from registry.store.transaction import read, write
from registry.store.types import table_of
from registry.workflows import inspect, refs
from registry.workflows.bank_records import Terms, put
from registry.workflows.banks import entry_digest, kind_of
from registry.workflows.ingest import plain_file, read_all
from registry.workflows.personal import is_personal
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.view import RecordView

Source = str | Path | FingerprintValue
"""A picture's path, an asset's id, or a fingerprint without a picture."""

_OUTPUTS = table_of(OutputRow)
_THUMBNAILS = table_of(ThumbnailRow)
_CHUNK = 500


def add(
    services: Services,
    bank: str,
    sources: Sequence[Source],
    terms: Terms,
    *,
    thumbnails: bool = True,
    actor: str | None = None,
) -> BankAdded:
    """Put pictures, assets or fingerprints into a bank, on the same terms; the reason is sealed.

    Raises InputError (`bank.personal`, and what an unreadable picture raises) and NotFoundError:
    nothing is put there then.
    """
    pictures: list[Thumbnail] = []
    notes: list[str] = []
    entries: dict[str, NewEntry] = {}
    for one in sources:
        entry, thumbnail, noted = _entry(services, one, terms)
        entries.setdefault(entry.sha256, entry)
        pictures += thumbnail if thumbnails else ()
        notes += noted
    states, records = put(services, bank, list(entries.values()), pictures, actor=actor)
    _keep(services, [picture for picture in pictures if states[picture.sha256] == "present"])
    of = {
        state: tuple(asset_id(sha256) for sha256 in entries if states[sha256] == state)
        for state in ("added", "changed", "present")
    }
    return BankAdded(bank, records, of["added"], of["changed"], of["present"], tuple(notes))


def remove(
    services: Services,
    bank: str,
    named: Sequence[str],
    *,
    reason: str,
    expired: bool = False,
    actor: str | None = None,
) -> BankRemoved:
    """Take entries out of a bank, or all that have expired; thumbnails go that nothing else needs.

    Raises NotFoundError (`bank.unknown`, `bank.no-entry`), InputError (`bank.reason`).
    """
    if not reason.strip():
        raise InputError("a removal needs a reason", code="bank.reason", hint='--reason "…"')
    with read(services.engine) as conn:
        kind_of(conn, bank)
        digests = dict.fromkeys(entry_digest(conn, bank, text) for text in named)
        if expired:
            mine = standing_entries().where(ENTRIES.c.bank == bank)
            gone = mine.where(ENTRIES.c.expires_ms <= services.now())
            digests |= dict.fromkeys(row["sha256"] for row in conn.execute(gone).mappings())
    listed = list(digests)
    records = []
    for start in range(0, len(listed), MAX_LIST_ITEMS):
        chunk = listed[start : start + MAX_LIST_ITEMS]
        predicate = bank_predicates.remove_entries(
            services.head(None, actor), bank=bank, reason=reason
        )
        subjects = bank_predicates.entry_subjects([digest.hex() for digest in chunk])
        done = declare(services, subjects, PREDICATE_BANK_ENTRY_V2, predicate, role="reviewer")
        records.append(done.record)
    removed = tuple(asset_id(digest.hex()) for digest in listed)
    return BankRemoved(bank, tuple(records), removed, _drop_thumbnails(services, listed))


def _entry(
    services: Services, source: Source, terms: Terms
) -> tuple[NewEntry, tuple[Thumbnail, ...], tuple[str, ...]]:
    """Return an entry of a source, its thumbnail, and what is to be noted of it."""
    if isinstance(source, FingerprintValue):
        sha256 = hash_only_digest([source])
        value = replace(source, sha256=sha256)
        return _new(sha256, (value,), terms, hash_only=True), (), ()
    prints, name = _printed(services, source)
    values = tuple(value for value in prints.values if value.name != PALETTE)
    entry = _new(prints.sha256, values, terms, pixels=prints.pixels)
    return entry, prints.thumbnails, tuple(f"{name}: {note}" for note in prints.notes)


def _new(
    sha256: str,
    values: tuple[FingerprintValue, ...],
    terms: Terms,
    *,
    pixels: str | None = None,
    hash_only: bool = False,
) -> NewEntry:
    return NewEntry(
        sha256=sha256,
        prints=values,
        reason=terms.reason,
        owner=terms.owner,
        source=terms.source,
        expires_ms=terms.expires_ms,
        pixels=pixels,
        hash_only=hash_only,
    )


def _printed(services: Services, source: str | Path) -> tuple[Prints, str]:
    """Compute what is kept of a file or of an asset, and how to call it."""
    limits, path = services.settings.limits, Path(source)
    try:
        parse_ref(str(source))
    except InputError:
        with plain_file(path) as opened:
            data = read_all(opened, limits)
        return _prints(data, path.name, services), path.name
    with read(services.engine) as conn:
        row = refs.output(conn, source)
    statement = RecordView(services, row["record_idx"]).statement
    if is_personal(statement.subjects[row["position"]]):
        raise InputError(
            f"{source} is personal: its fingerprints would tell for ever which picture it was",
            code="bank.personal",
        )
    return _prints(inspect.stored_bytes(services, str(source)), str(source), services), str(source)


def _prints(data: bytes, name: str, services: Services) -> Prints:
    try:
        return prints_of(data, services.settings.limits)
    except GenopsError as error:
        raise InputError(f"{name}: {error.message}", code=error.code, hint=error.hint) from error


def _keep(services: Services, thumbnails: Sequence[Thumbnail]) -> None:
    """Store thumbnails of entries that stood before: they may have none, as after a restore."""
    if thumbnails:
        with write(services.engine) as conn:
            insert_missing(conn, _THUMBNAILS, [thumbnail_row(one) for one in thumbnails])


def _drop_thumbnails(services: Services, digests: Sequence[bytes]) -> int:
    """Delete thumbnails that no entry and no asset needs; no record can come in between."""
    dropped = 0
    with write(services.engine) as conn:
        lock_head(conn)
        for start in range(0, len(digests), _CHUNK):
            some = digests[start : start + _CHUNK]
            entries = standing_entries().where(ENTRIES.c.sha256.in_(some))
            used = {row["sha256"] for row in conn.execute(entries).mappings()}
            used |= set(conn.scalars(select(_OUTPUTS.c.sha256).where(_OUTPUTS.c.sha256.in_(some))))
            gone = [digest for digest in some if digest not in used]
            dropped += conn.execute(
                delete(_THUMBNAILS).where(_THUMBNAILS.c.sha256.in_(gone))
            ).rowcount
    return dropped
