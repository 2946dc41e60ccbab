"""Erase the sealed texts of records: their keys are destroyed, and every proof stays valid.

The erasures are logged first, one for each record, so that no key is gone without a record; what
an interruption leaves to be done is done by the next erasure, or by `finish_erasures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from sqlalchemy import RowMapping, delete, select

from registry.catalog.graph import RECORDS, chunked
from registry.catalog.holds import PREDICATE_ERASURE, held
from registry.catalog.queries import ERASURES
from registry.core import predicates
from registry.core.answers import Receipt
from registry.core.digests import asset_id, record_id
from registry.core.disclosures import sealed_pointers
from registry.core.privacy import ErasureItem, ErasureReport
from registry.core.statements import MAX_LIST_ITEMS, Subject, predicate_name
from registry.core.times import format_time
from registry.errors import HeldError, InputError, NotFoundError
from registry.store.leaves import spoken_of
from registry.store.scrub import scrub, wiping
from registry.store.transaction import read
from registry.workflows import choose
from registry.workflows.choose import Choice
from registry.workflows.holds import standing_on
from registry.workflows.leftovers import sweep
from registry.workflows.personal import personal_outputs
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.texts import SEALED, Matches, Progress
from registry.workflows.view import RecordView

_AT_ONCE = 16
"""Erasures that are submitted together, so that they share commits."""
_LONGEST_POINTER = 1024
"""Most characters of a pointer in an erasure record; a longer one is cut to a place above it."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A record of a plan: its row in the projection, and what is said of it."""

    row: RowMapping
    item: ErasureItem


@dataclass(frozen=True, slots=True)
class Because:
    """What an erasure says of itself: the reason, and on whose behalf."""

    reason: str
    actor: str | None = None


def erase(services: Services, text: str, *, reason: str, actor: str | None = None) -> Receipt:
    """Erase what `text` names, a record or every record of an asset; return the newest's erasure.

    Calling it again finishes what was interrupted, and gives the same receipt. Raises InputError
    without a reason, HeldError under a legal hold, NotFoundError when there is no sealed text.
    """
    choice = choose.by_ids(services, [text])
    refuse_held(services, choice)
    report = erase_all(services, choice, reason=reason, actor=actor)
    _refuse(report)
    return _receipt(services, report.items[-1])


def refuse_held(services: Services, choice: Choice) -> None:
    """Raise HeldError when a legal hold stands on one of these records."""
    _refuse(plan(services, choice))


def plan(services: Services, choice: Choice) -> ErasureReport:
    """Say what erasing these records would do: their fields, and which of them are held."""
    planned = _planned(services, choice)
    return ErasureReport(True, tuple(p.item for p in planned), choice.unread)


def erase_all(
    services: Services,
    choice: Choice,
    *,
    reason: str,
    actor: str | None = None,
    progress: Progress | None = None,
) -> ErasureReport:
    """Erase these records; those under a legal hold are left, and reported.

    Raises InputError without a reason, NotFoundError (`erase.nothing`) when none of them holds a
    sealed text.
    """
    return erase_each(services, choice, lambda _: Because(reason, actor), progress=progress)


def erase_each(
    services: Services,
    choice: Choice,
    because: Callable[[int], Because],
    *,
    progress: Progress | None = None,
) -> ErasureReport:
    """Erase these records as `erase_all` does, each for a reason of its own, by its index."""
    planned = _planned(services, choice)
    if not planned:
        raise NotFoundError(
            "there is no sealed text to erase",
            code="erase.nothing",
            hint="`genops show` tells of an asset whether its texts can be read",
        )
    due = [p for p in planned if not p.item.held_by and p.item.erasure is None]
    for p in due:
        _check(because(p.row["idx"]).reason)
    try:
        erased = dict(_log_all(services, due, because, progress))
    finally:
        _, wiped = _finish(services)
    items = tuple(erased.get(p.row["idx"], p.item) for p in planned)
    return ErasureReport(False, items, choice.unread, wiped)


def refuse_to_repeat(
    services: Services, matches: Matches, reason: str, actor: str | None = None
) -> None:
    """Raise InputError when an erasure's own record would say again what it erases.

    `erase.reason-repeats`: the reason has the text in it; `erase.own-name`: whoever erases does.
    """
    if matches(reason):
        raise InputError(
            "the reason repeats what is to be erased, and would keep it",
            code="erase.reason-repeats",
            hint="name the request by a number",
        )
    if matches(actor or services.settings.actor):
        raise InputError(
            "the erasures would be signed on behalf of the very name that is to be erased",
            code="erase.own-name",
            hint="let somebody else do it, or set GENOPS_ACTOR to a role",
        )


def finish_erasures(services: Services) -> int:
    """Do what erasures on the log still leave to be done; return how many records that were.

    Destroys the keys and deletes the sealed texts of every record that has an erasure: after an
    interruption, and after keys or texts came back from a backup or an import. Idempotent.
    """
    count, _ = _finish(services)
    return count


def _planned(services: Services, choice: Choice) -> list[Planned]:
    """Return the chosen records that have sealed texts, held and erased ones marked."""
    rows = choose.rows(services, choice.reasons)
    holds = standing_on(services, [row["idx"] for row in rows])
    erasures = choose.erasures_of(services, [row["leaf_hash"] for row in rows])
    planned = []
    for row in rows:
        statement = RecordView(services, row["idx"]).statement
        pointers = sealed_pointers(dict(statement.document))
        reason, erasure = choice.reasons[row["idx"]], erasures.get(row["leaf_hash"])
        item = ErasureItem(
            record=record_id(row["leaf_hash"].hex()),
            index=row["idx"],
            time=format_time(row["time_ms"]),
            predicate=predicate_name(row["predicate_type"]) or row["predicate_type"],
            fields=tuple(sorted(pointers)),
            personal=personal_outputs(statement),
            because=reason.because,
            found_in=reason.found_in,
            held_by=() if erasure else holds.get(row["idx"], ()),
            erasure=record_id(erasure["leaf_hash"].hex()) if erasure else None,
        )
        if pointers:
            planned.append(Planned(row, item))
    return planned


def _log_all(
    services: Services,
    due: Sequence[Planned],
    because: Callable[[int], Because],
    progress: Progress | None,
) -> Iterator[tuple[int, ErasureItem]]:
    """Log the erasures, many a commit; one that a hold was quicker than is reported as held."""

    def log(planned: Planned) -> ErasureItem:
        try:
            return _log(services, planned, because(planned.row["idx"]))
        except HeldError:
            held_by = standing_on(services, [planned.row["idx"]]).get(planned.row["idx"])
            if not held_by:  # lifted again in the meantime: the caller may try again
                raise
            return replace(planned.item, held_by=held_by)

    with ThreadPoolExecutor(min(_AT_ONCE, len(due) or 1)) as pool:
        for done, (planned, item) in enumerate(zip(due, pool.map(log, due), strict=True), 1):
            if progress is not None:
                progress(done, len(due))
            yield planned.row["idx"], item


def _log(services: Services, planned: Planned, because: Because) -> ErasureItem:
    """Log the erasure of one record: one entry, or more for more fields than a list may have."""
    payload = planned.row["payload_sha256"].hex()
    pointers = sorted({_short(pointer) for pointer in planned.item.fields})
    for start in range(0, len(pointers), MAX_LIST_ITEMS):
        predicate = predicates.erasure(
            services.head(planned.row["project"], because.actor),
            record=planned.item.record,
            payload_sha256=payload,
            pointers=pointers[start : start + MAX_LIST_ITEMS],
            reason=because.reason,
        )
        subjects = [Subject("out/0", payload)]
        receipt = declare(services, subjects, PREDICATE_ERASURE, predicate, role="admin")
    return replace(planned.item, erasure=receipt.record)


def _short(pointer: str) -> str:
    while len(pointer) > _LONGEST_POINTER:
        pointer = pointer.rpartition("/")[0]
    return pointer


def _finish(services: Services) -> tuple[int, bool]:
    """Finish every erasure; also tell whether no old page of the database is left."""
    rows = list(_unfinished(services))
    if not rows:
        return 0, True
    sweep(services, [row["leaf_hash"] for row in rows])
    services.keyring.destroy_many(row["payload_sha256"].hex() for row in rows)
    with wiping(services.engine) as conn:
        for chunk in chunked(row["idx"] for row in rows):
            conn.execute(delete(SEALED).where(SEALED.c.record_idx.in_(chunk)))
    return len(rows), scrub(services.engine, SEALED.name)


def _unfinished(services: Services) -> Iterable[RowMapping]:
    """Yield the erased records whose key is not destroyed, or whose sealed texts are still here."""
    query = (
        select(RECORDS.c.idx, RECORDS.c.leaf_hash, RECORDS.c.payload_sha256, SEALED.c.key_id)
        .outerjoin(SEALED, SEALED.c.record_idx == RECORDS.c.idx)
        .where(RECORDS.c.idx.in_(spoken_of(ERASURES)))
        .order_by(RECORDS.c.idx)
    )
    with read(services.engine) as conn:
        rows = conn.execute(query).mappings().all()
    keys = services.keyring.get_many(row["payload_sha256"].hex() for row in rows) if rows else {}
    for row in rows:
        destroyed = keys.get(row["payload_sha256"].hex(), b"") is None
        if not destroyed or row["key_id"] is not None:
            yield row


def _refuse(report: ErasureReport) -> None:
    for item in report.held:
        raise held(item.record, item.held_by)


def _check(reason: str) -> None:
    if not reason.strip():
        raise InputError("an erasure needs a reason", code="erase.reason", hint='--reason "…"')


def _receipt(services: Services, item: ErasureItem) -> Receipt:
    """Return the receipt of the erasure that an item names."""
    index = services.reader.index_of(bytes.fromhex((item.erasure or "").removeprefix("rec:")))
    view = RecordView(services, index)
    return Receipt(
        record=view.entry.record_id,
        index=index,
        time=format_time(view.entry.time_ms),
        assets=tuple(asset_id(subject.sha256) for subject in view.statement.subjects),
    )
