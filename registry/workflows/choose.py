"""Which records an erasure or a hold is about: by id, by person, or by what their texts say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, RowMapping, select

from registry.catalog import queries
from registry.catalog.graph import RECORDS, chunked
from registry.core.digests import Ref, asset_id, record_id
from registry.core.privacy import Because
from registry.errors import AmbiguousError, NotFoundError
from registry.store.leaves import is_record, leaves_between
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.services import Services
from registry.workflows.texts import Matches, Progress, every_text, found_in, naming


@dataclass(slots=True)
class Reason:
    """Why a record was chosen, and in which of its sealed fields what was looked for stands."""

    because: tuple[Because, ...]
    found_in: tuple[str, ...] = ()


@dataclass(slots=True)
class Choice:
    """The records that were chosen, by index; `unread` could not be searched."""

    reasons: dict[int, Reason] = field(default_factory=dict)
    unread: int = 0


def by_ids(services: Services, texts: Iterable[str]) -> Choice:
    """Choose the records that ids name: of an asset, every record that made it or took it in.

    Raises NotFoundError, AmbiguousError or InputError for what names nothing, or several things.
    """
    with read(services.engine) as conn:
        chosen = [index for text in texts for index in _indices(conn, text)]
    return Choice({index: Reason(("id",)) for index in sorted(chosen)})


def by_text(services: Services, matches: Matches, progress: Progress | None = None) -> Choice:
    """Choose the records whose sealed texts are looked for, as far as they can be opened."""
    choice = Choice()
    for index, texts in every_text(services, progress):
        if texts is None:
            choice.unread += 1
        elif found := found_in(texts, matches):
            choice.reasons[index] = Reason(("text",), found)
    return choice


def by_person(services: Services, name: str, progress: Progress | None = None) -> Choice:
    """Choose the records of which a person is the actor, or whose sealed texts name them."""
    choice = by_text(services, naming(name), progress)
    with read(services.engine) as conn:
        query = select(RECORDS.c.idx).where(RECORDS.c.actor == services.pseudonym(name))
        acted = list(conn.scalars(query))
    for index in acted:
        named = choice.reasons.get(index)
        choice.reasons[index] = Reason(
            ("actor", *(named.because if named else ())), named.found_in if named else ()
        )
    choice.reasons = dict(sorted(choice.reasons.items()))
    return choice


def rows(services: Services, indices: Iterable[int]) -> Sequence[RowMapping]:
    """Return the projection's rows of these records, by index."""
    found: list[RowMapping] = []
    with read(services.engine) as conn:
        for chunk in chunked(sorted(indices)):
            query = select(RECORDS).where(RECORDS.c.idx.in_(chunk)).order_by(RECORDS.c.idx)
            found += conn.execute(query).mappings().all()
    return found


def of_type(services: Services, predicate_type: str) -> Sequence[int]:
    """Return the indices of all records of a predicate type, in log order."""
    query = select(RECORDS.c.idx).where(RECORDS.c.predicate_type == predicate_type)
    with read(services.engine) as conn:
        return list(conn.scalars(query.order_by(RECORDS.c.idx)))


def erasures_of(services: Services, leaf_hashes: Iterable[bytes]) -> Mapping[bytes, RowMapping]:
    """Return the newest erasure of each of these records that was erased, by its leaf hash."""
    found: dict[bytes, RowMapping] = {}
    query = select(queries.ERASURES.c.of_record, RECORDS).join(
        RECORDS, RECORDS.c.idx == queries.ERASURES.c.record_idx
    )
    with read(services.engine) as conn:
        for chunk in chunked(leaf_hashes):
            chosen = query.where(queries.ERASURES.c.of_record.in_(chunk)).order_by(RECORDS.c.idx)
            found |= {row["of_record"]: row for row in conn.execute(chosen).mappings()}
    return found


def target(conn: Connection, text: str | Path) -> str:
    """Return the id of the one asset or record, of any kind, that `text` names."""
    ref = refs.parse(text)
    if ref.kind == "asset":
        return asset_id(refs.output(conn, text)["sha256"].hex())
    records = [] if ref.kind == "incident" else _records(conn, ref)
    assets = [] if ref.kind == "incident" or ref.scope == "record" else _assets(conn, ref)
    names = [*(record_id(d.hex()) for d in records), *(asset_id(d.hex()) for d in assets)]
    if len(names) == 1:
        return names[0]
    if names:
        raise AmbiguousError(
            f"{ref.hex} answers to {len(names)} things: {', '.join(names)}",
            hint="give more digits",
        )
    raise NotFoundError(
        f"nothing here is called {ref.hex}", hint="`genops list` shows what there is"
    )


def _indices(conn: Connection, text: str) -> list[int]:
    named = target(conn, text)
    digest = bytes.fromhex(named.partition(":")[2])
    if named.startswith("rec:"):
        return list(conn.scalars(select(RECORDS.c.idx).where(is_record(digest))))
    return [row["record_idx"] for row in queries.outputs_of(conn, digest)]


def _records(conn: Connection, ref: Ref) -> list[bytes]:
    if ref.scope == "asset":
        return []
    low, high = _bounds(ref)
    return list(conn.scalars(leaves_between(low, high).limit(8)))


def _assets(conn: Connection, ref: Ref) -> list[bytes]:
    low, high = _bounds(ref)
    column = queries.OUTPUTS.c.sha256
    return list(conn.scalars(select(column).distinct().where(column.between(low, high)).limit(8)))


def _bounds(ref: Ref) -> tuple[bytes, bytes]:
    return bytes.fromhex(ref.hex.ljust(64, "0")), bytes.fromhex(ref.hex.ljust(64, "f"))
