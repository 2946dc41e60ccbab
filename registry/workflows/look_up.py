"""Look a file up in an open registry, by the calibration that counts for it now.

Chooses the calibration and the time; how anything is found is the business of `similarity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sqlalchemy import select

from registry.catalog.graph import RECORDS
from registry.core.digests import record_id
from registry.core.jsonio import loads
from registry.core.look_up import REGISTERED, FindResult, Match
from registry.core.look_up_predicates import PREDICATE_CALIBRATION_V2
from registry.errors import GenopsError, MaterialError
from registry.similarity.banks import EntryInfo, live
from registry.similarity.calibrations import MOST_BYTES, default
from registry.similarity.certainty import Calibration, from_json
from registry.similarity.finder import RADIUS, find
from registry.store.believed import believed
from registry.store.transaction import read
from registry.workflows.banks import Opened
from registry.workflows.services import Services
from registry.workflows.view import RecordView


def look_up(
    services: Services,
    source: bytes | Path,
    *,
    radius: int = RADIUS,
    banks: Sequence[str] = (REGISTERED,),
) -> FindResult:
    """Look a file or its bytes up in banks, and say why their entries are there.

    Raises as `similarity.finder.find` does.
    """
    chosen, notes = calibration(services)
    found = find(
        services.engine,
        source,
        services.settings.limits,
        radius=radius,
        banks=banks,
        now_ms=services.now(),
        calibration=chosen,
    )
    return replace(found, matches=_explained(services, found), notes=(*found.notes, *notes))


def _explained(services: Services, found: FindResult) -> tuple[Match, ...]:
    """Return the matches with the reasons of bank entries, which are sealed on the log."""
    wanted: dict[str, list[str]] = {}
    for match in found.matches:
        if match.entry is not None:
            wanted.setdefault(match.bank, []).append(match.id.removeprefix("sha256:"))
    if not wanted:
        return found.matches
    with read(services.engine) as conn:
        entries = {
            (bank, sha256): info
            for bank, ids in wanted.items()
            for sha256, info in live(conn, bank, ids, services.now()).items()
        }
    opened = Opened(services)
    return tuple(_with_reason(match, opened, entries) for match in found.matches)


def _with_reason(
    match: Match, opened: Opened, entries: Mapping[tuple[str, str], EntryInfo]
) -> Match:
    info = entries.get((match.bank, match.id.removeprefix("sha256:")))
    if match.entry is None or info is None:
        return match
    _, reason = opened.change(info.record_idx, info.position)
    return replace(match, entry=replace(match.entry, reason=reason))


def calibration(services: Services) -> tuple[Calibration, tuple[str, ...]]:
    """Return the newest calibration on the log that is believed, and notes on what is passed over.

    The shipped one stands behind it, and in its place where there is none. A table that is
    missing, altered, or that nobody can have counted does not count.
    """
    notes = []
    query = select(RECORDS.c.idx).where(
        RECORDS.c.predicate_type == PREDICATE_CALIBRATION_V2, believed(RECORDS)
    )
    with read(services.engine) as conn:
        newest_first = list(conn.scalars(query.order_by(RECORDS.c.idx.desc())))
    for index in newest_first:
        view = RecordView(services, index)
        record = record_id(view.entry.leaf_hash().hex())
        try:
            table = _table(services, view.statement.subjects[0].sha256)
        except GenopsError as error:
            notes.append(f"calibration {record} is not used: {error.message}")
            continue
        return replace(table, record=record, fallback=default()), tuple(notes)
    return default(), tuple(notes)


def _table(services: Services, sha256: str) -> Calibration:
    """Read a table; its bytes are held to its digest, each time."""
    blob = services.blobs.get(sha256)
    if blob is None:
        raise MaterialError("its table is not in the vault", code="calibration.missing")
    return _parsed(services.vault.read(blob))


@lru_cache(maxsize=8)
def _parsed(data: bytes) -> Calibration:
    return from_json(loads(data, max_bytes=MOST_BYTES))
