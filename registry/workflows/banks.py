"""Banks of fingerprints: create one, list them, and show what stands in one and why.

A bank is said by signed records of a reviewer's key; what its entries match is a look-up's duty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from registry.core import bank_predicates
from registry.core.answers import Receipt
from registry.core.bank_answers import BankEntryView, BankPage, BankView
from registry.core.bank_lines import label
from registry.core.bank_predicates import PREDICATE_BANK
from registry.core.banks import BANK_KINDS, BankKind, EntryChange, changes_of
from registry.core.digests import asset_id, record_id
from registry.core.look_up import REGISTERED
from registry.core.times import format_time
from registry.errors import AmbiguousError, ConflictError, InputError, NotFoundError
from registry.similarity.banks import kinds
from registry.store.believed import ENTRIES, RECORDS, believed, standing_entries, unexpired
from registry.store.catalog_tables import BankRow
from registry.store.sidecar_tables import ThumbnailRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows import refs
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView

_BANKS = table_of(BankRow)
_THUMBNAILS = table_of(ThumbnailRow)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NEWEST = (ENTRIES.c.record_idx.desc(), ENTRIES.c.position.desc())


def create(
    services: Services,
    name: str,
    *,
    kind: str,
    owner: str,
    description: str = "",
    actor: str | None = None,
) -> Receipt:
    """Create a bank, or say anew who owns it and what it is for; the description is sealed.

    Raises InputError (`bank.name`, `bank.kind`, `bank.label`), ConflictError (`bank.exists`, or
    `bank.kind`: what a bank is for never changes), TrustError when the home's key may not.
    """
    if _NAME.fullmatch(name) is None or name == REGISTERED:
        raise InputError(
            f"{name[:100]!r} cannot be the name of a bank",
            code="bank.name",
            hint=f"letters, digits, dots, dashes, at most 100; {REGISTERED!r} is every asset",
        )
    if kind not in BANK_KINDS:
        raise InputError(f"{kind!r} is no kind of bank: {', '.join(BANK_KINDS)}", code="bank.kind")
    chosen: BankKind = kind
    owner = label(owner)
    with read(services.engine) as conn:
        known = kinds(conn)
        if name in known:
            _refuse_change(_bank(services, conn, name, known[name]), kind, owner, description)
    predicate = bank_predicates.bank(
        services.head(None, actor),
        name=name,
        kind=chosen,
        owner=owner,
        description=description or None,
    )
    subjects = [bank_predicates.bank_subject(name)]
    return declare(services, subjects, PREDICATE_BANK, predicate, role="reviewer")


def _refuse_change(bank: BankView, kind: str, owner: str, description: str) -> None:
    if bank.kind != kind:
        raise ConflictError(
            f"{bank.name} is a {bank.kind} bank, and stays one",
            code="bank.kind",
            hint="make another bank: entries of the one would come to mean something else",
        )
    if bank.owner == owner and description in ("", bank.description or ""):
        raise ConflictError(f"there is a {bank.kind} bank {bank.name}", code="bank.exists")


def list_banks(services: Services) -> list[BankView]:
    """Return every bank, by name."""
    with read(services.engine) as conn:
        return [_bank(services, conn, name, kind) for name, kind in kinds(conn).items()]


def show(
    services: Services, name: str, *, entry: str | None = None, limit: int = 100, offset: int = 0
) -> BankPage:
    """Return a bank and a page of the entries that stand in it, the newest first, or one of them.

    Raises NotFoundError (`bank.unknown`, `bank.no-entry`).
    """
    most = min(limit, services.settings.limits.page_rows)
    with read(services.engine) as conn:
        bank = _bank(services, conn, name, kind_of(conn, name))
        query = standing_entries(RECORDS.c.leaf_hash, RECORDS.c.time_ms)
        query = query.where(ENTRIES.c.bank == name)
        if entry is not None:
            query = query.where(ENTRIES.c.sha256 == entry_digest(conn, name, entry))
        rows = conn.execute(query.order_by(*_NEWEST).limit(most).offset(offset)).mappings().all()
        wanted = [row["sha256"] for row in rows]
        kept = set(conn.scalars(select(_THUMBNAILS.c.sha256).where(_in(wanted))))
    opened = Opened(services)
    return BankPage(bank, tuple(_entry(services, row, opened, kept) for row in rows))


def kind_of(conn: Connection, name: str) -> BankKind:
    """Return what a bank is for; raises NotFoundError (`bank.unknown`)."""
    known = kinds(conn)
    if name not in known:
        raise NotFoundError(
            f"there is no bank {name!r}",
            code="bank.unknown",
            hint=f"there are: {', '.join(known)}" if known else "make one: `genops bank create`",
        )
    return known[name]


def owner_of(conn: Connection, name: str) -> str:
    """Return who owns a bank, as the newest record that is believed says; "" where none does."""
    query = select(_BANKS.c.owner).join(RECORDS, RECORDS.c.idx == _BANKS.c.record_idx)
    mine = query.where(_BANKS.c.name == name, believed(RECORDS))
    return conn.scalar(mine.order_by(_BANKS.c.record_idx.desc()).limit(1)) or ""


def entry_digest(conn: Connection, bank: str, text: str) -> bytes:
    """Return the digest of the entry that an id, a prefix or a path names in a bank.

    Raises NotFoundError (`bank.no-entry`), AmbiguousError, InputError (`ref.invalid`).
    """
    ref = refs.parse(text)
    low, high = ref.hex.ljust(64, "0"), ref.hex.ljust(64, "f")
    within = ENTRIES.c.sha256.between(bytes.fromhex(low), bytes.fromhex(high))
    query = standing_entries().where(ENTRIES.c.bank == bank, within).limit(10)
    found: list[bytes] = sorted({row["sha256"] for row in conn.execute(query).mappings()})
    if ref.scope == "record" or not found:
        raise NotFoundError(
            f"{bank} has no entry {text}",
            code="bank.no-entry",
            hint=f"`genops bank show {bank}` lists them",
        )
    if len(found) > 1:
        listed = ", ".join(asset_id(digest.hex()) for digest in found)
        raise AmbiguousError(f"{text} could be: {listed}", code="ref.ambiguous")
    return found[0]


class Opened:
    """Records of entries, each read once; with their texts unless those are not asked for."""

    def __init__(self, services: Services, *, texts: bool = True) -> None:
        self._services, self._texts = services, texts
        self._read: dict[int, tuple[Sequence[EntryChange], Mapping[str, Any]]] = {}

    def change(self, record_idx: int, position: int) -> tuple[EntryChange, str | None]:
        """Return what a record says of one entry, and its reason; None where it is not readable."""
        changes, predicate = self._record(record_idx)
        found: Any = predicate
        for step in changes[position].pointer.split("/")[1:]:
            found = found[int(step)] if isinstance(found, list) else found.get(step)
        return changes[position], found if isinstance(found, str) else None

    def _record(self, record_idx: int) -> tuple[Sequence[EntryChange], Mapping[str, Any]]:
        if record_idx not in self._read:
            statement = RecordView(self._services, record_idx).statement
            predicate = statement.predicate
            if self._texts:
                opened = open_statement(self._services, record_idx, statement)
                predicate = opened.document["predicate"]
            self._read[record_idx] = tuple(changes_of(statement)), predicate
        return self._read[record_idx]


def _bank(services: Services, conn: Connection, name: str, kind: BankKind) -> BankView:
    newest = conn.execute(
        select(_BANKS.c.record_idx, RECORDS.c.leaf_hash)
        .join(RECORDS, RECORDS.c.idx == _BANKS.c.record_idx)
        .where(_BANKS.c.name == name, RECORDS.c.predicate_type == PREDICATE_BANK)
        .where(believed(RECORDS))
        .order_by(_BANKS.c.record_idx.desc())
    ).first()
    mine = standing_entries(RECORDS.c.time_ms).where(ENTRIES.c.bank == name)
    entries = conn.scalar(select(func.count()).select_from(mine.subquery())) or 0
    fresh = mine.where(unexpired(services.now()))
    live = conn.scalar(select(func.count()).select_from(fresh.subquery())) or 0
    return BankView(
        name=name,
        kind=kind,
        owner=owner_of(conn, name),
        description=None if newest is None else _description(services, newest.record_idx),
        entries=entries,
        expired=entries - live,
        record=None if newest is None else record_id(newest.leaf_hash.hex()),
    )


def _description(services: Services, index: int) -> str | None:
    opened = open_statement(services, index, RecordView(services, index).statement)
    found = opened.document["predicate"].get("description")
    return found if isinstance(found, str) else None


def _entry(
    services: Services, row: RowMapping, opened: Opened, thumbnails: set[bytes]
) -> BankEntryView:
    change, reason = opened.change(row["record_idx"], row["position"])
    expires = row["expires_ms"]
    return BankEntryView(
        id=asset_id(row["sha256"].hex()),
        bank=row["bank"],
        owner=row["owner"],
        source=row["source"],
        reason=reason,
        expires=None if expires is None else format_time(expires),
        expired=expires is not None and expires <= services.now(),
        hash_only=row["hash_only"],
        fingerprints=tuple(value.name for value in change.prints),
        verifiable=row["sha256"] in thumbnails,
        record=record_id(row["leaf_hash"].hex()),
        index=row["record_idx"],
        time=format_time(row["time_ms"]),
    )


def _in(digests: Iterable[bytes]) -> Any:
    return _THUMBNAILS.c.sha256.in_(list(digests))
