"""From the terms of a search to a page of outputs, by conditions on the projection.

Each condition is one on the table of outputs, so that any order can be walked and cut off. What few
rows decide is looked up first; what many do is asked of each output on the way. Colours are not
known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    false,
    func,
    not_,
    or_,
    select,
)

from registry.catalog.drafts import DRAFTS
from registry.catalog.graph import CLOSURE, NODES, RECORDS, chunked
from registry.catalog.projector import ASSET_KINDS
from registry.catalog.queries import DECISIONS, OUTPUTS, tainted_query
from registry.catalog.sources import matches, source_nodes
from registry.core.search_terms import Term
from registry.core.search_values import Name, Span

FEW = 20_000
"""Rows of another table that are looked up one by one, and not asked of each output."""
_FETCH = 10_000
_RATIO_OFF = 100  # a hundredth

Condition = ColumnElement[bool]
_Values = Sequence[Any]


def conditions(conn: Connection, terms: Sequence[Term], *, now_ms: int) -> list[Condition]:
    """Return what the outputs that all terms are true of have in common, in this snapshot."""
    return [_condition(conn, term, now_ms) for term in terms]


def page(
    conn: Connection, wanted: Sequence[Condition], sort: str, *, limit: int, offset: int
) -> list[int]:
    """Return a page of the outputs that fit all conditions, as node ids."""
    query = select(OUTPUTS.c.node_id).where(*wanted).order_by(*_order(sort))
    return list(conn.scalars(query.limit(limit).offset(offset)))


def count(conn: Connection, wanted: Sequence[Condition]) -> int:
    """Return how many outputs fit all conditions."""
    return conn.scalar(select(func.count()).select_from(OUTPUTS).where(*wanted)) or 0


def walk(
    conn: Connection, wanted: Sequence[Condition], sort: str, among: AbstractSet[bytes]
) -> Iterator[int]:
    """Yield the outputs that fit all conditions and have one of the digests, in order.

    A few digests are looked up, and only then put into order; of many, the outputs are asked.
    """
    if len(among) <= FEW:
        yield from _few(conn, wanted, sort, among)
        return
    query = select(OUTPUTS.c.node_id, OUTPUTS.c.sha256).where(*wanted).order_by(*_order(sort))
    with conn.execute(query, execution_options={"yield_per": _FETCH}) as found:
        for node, sha256 in found:
            if sha256 in among:
                yield node


def _few(
    conn: Connection, wanted: Sequence[Condition], sort: str, among: AbstractSet[bytes]
) -> list[int]:
    columns = (OUTPUTS.c.node_id, OUTPUTS.c.width, OUTPUTS.c.height, OUTPUTS.c.size)
    rows: list[Row[Any]] = []
    for chunk in chunked(among):
        rows += conn.execute(select(*columns).where(OUTPUTS.c.sha256.in_(chunk), *wanted))
    return [row.node_id for row in sorted(rows, key=_KEYS[sort])]


def _order(sort: str) -> Sequence[ColumnElement[Any]]:
    newest = OUTPUTS.c.node_id.desc()
    area = OUTPUTS.c.width * OUTPUTS.c.height
    return {
        "newest": (newest,),
        "oldest": (OUTPUTS.c.node_id,),
        "largest": (_last(area), area.desc(), newest),
        "smallest": (_last(area), area, newest),
        "heaviest": (_last(OUTPUTS.c.size), OUTPUTS.c.size.desc(), newest),
        "lightest": (_last(OUTPUTS.c.size), OUTPUTS.c.size, newest),
    }[sort]


def _last(column: ColumnElement[Any]) -> ColumnElement[int]:
    """Put what has no such number behind the rest, in either order and on every database."""
    return case((column.is_(None), 1), else_=0)


def _by(number: Callable[[Any], int | None], sign: int) -> Callable[[Any], tuple[int, int, int]]:
    """Return the key of the order that SQL is asked for by `_order`."""

    def key(row: Any) -> tuple[int, int, int]:
        found = number(row)
        return (1, 0, -row.node_id) if found is None else (0, sign * found, -row.node_id)

    return key


def _area(row: Any) -> int | None:
    return None if row.width is None or row.height is None else row.width * row.height


_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "newest": lambda row: -row.node_id,
    "oldest": lambda row: row.node_id,
    "largest": _by(_area, -1),
    "smallest": _by(_area, 1),
    "heaviest": _by(lambda row: row.size, -1),
    "lightest": _by(lambda row: row.size, 1),
}


def _condition(conn: Connection, term: Term, now_ms: int) -> Condition:
    if term.field == "recorded":
        found = or_(*(_recorded(conn, value, now_ms) for value in term.values))
    else:
        found = _CONDITIONS[term.field](conn, term.values)
    return not_(func.coalesce(found, false())) if term.negated else found


def _of_outputs(one: Callable[[Any], Condition]) -> Callable[[Connection, _Values], Condition]:
    """Return a condition on columns of the outputs' own table, for any of several values."""
    return lambda _, values: or_(*(one(value) for value in values))


def _either(
    conn: Connection, outer: Column[Any], inner: Select[Any], key: ColumnElement[Any]
) -> Condition:
    """Return the condition that `outer` is among the `key`s that `inner` selects."""
    few = select(func.count()).select_from(inner.limit(FEW + 1).subquery())
    if (conn.scalar(few) or 0) <= FEW:
        return outer.in_(inner)
    asked: Condition = inner.where(key == outer).exists()
    return asked


def _of_records(conn: Connection, condition: Condition) -> Condition:
    inner = select(RECORDS.c.idx).where(condition)
    return _either(conn, OUTPUTS.c.record_idx, inner, RECORDS.c.idx)


def _project(conn: Connection, values: _Values) -> Condition:
    return _of_records(conn, or_(*(matches(RECORDS.c.project, value) for value in values)))


def _campaign(conn: Connection, values: _Values) -> Condition:
    column = RECORDS.c.campaign
    none = [column.is_(None)] if Name("none") in values else []
    return _of_records(conn, or_(*none, *(matches(column, value) for value in values)))


def _kind(conn: Connection, values: _Values) -> Condition:
    wanted = [uri for uri, kind in ASSET_KINDS.items() if kind in values]
    return _of_records(conn, RECORDS.c.predicate_type.in_(wanted))


def _reproducible(conn: Connection, values: _Values) -> Condition:
    wanted = [RECORDS.c.reproducible.is_(value == "yes") for value in values]
    return _of_records(conn, or_(*wanted))


def _format(name: Name) -> Condition:
    column = func.lower(OUTPUTS.c.media_type)
    return or_(matches(column, name), matches(column, Name(f"{name.text};*")))


def _orientation(value: str) -> Condition:
    width, height = OUTPUTS.c.width, OUTPUTS.c.height
    return {"portrait": height > width, "landscape": width > height}.get(value, width == height)


def _ratio(value: Any) -> Condition:
    """Compare products of whole numbers: no rounding, the same on every database."""
    wide, high = OUTPUTS.c.width * value.height, OUTPUTS.c.height * value.width
    near: Condition = func.abs(wide - high) * _RATIO_OFF <= high
    return near


def _within(column: Column[Any]) -> Callable[[Any], Condition]:
    def condition(span: Span) -> Condition:
        low = [column >= span.low] if span.low is not None else []
        high = [column <= span.high] if span.high is not None else []
        return and_(*low, *high)

    return condition


def _recorded(conn: Connection, span: Any, now_ms: int) -> Condition:
    """Turn times into log indices: log time never decreases."""
    low = now_ms - span.ago_ms if span.ago_ms is not None else span.low
    after = [OUTPUTS.c.record_idx >= _first_at(conn, low)] if low is not None else []
    before = (
        [OUTPUTS.c.record_idx < _first_at(conn, span.high + 1)] if span.high is not None else []
    )
    return and_(*after, *before)


def _first_at(conn: Connection, time_ms: int) -> int:
    """Return the first log index with a time of `time_ms` or later, by halving."""
    low, high = 0, (conn.scalar(select(func.max(RECORDS.c.idx))) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        query = select(RECORDS.c.idx, RECORDS.c.time_ms).where(RECORDS.c.idx >= middle)
        row = conn.execute(query.order_by(RECORDS.c.idx).limit(1)).first()
        if row is not None and row.time_ms < time_ms:
            low = row.idx + 1
        else:
            high = middle
    return low


def _tainted(_: Connection, values: _Values) -> Condition:
    reached = OUTPUTS.c.node_id.in_(tainted_query())
    return or_(*(reached if value == "yes" else ~reached for value in values))


def _decision(conn: Connection, values: _Values) -> Condition:
    return or_(*(_decided(conn, value) for value in values))


def _decided(conn: Connection, value: str) -> Condition:
    if value == "none":
        return ~_either(conn, OUTPUTS.c.sha256, select(DECISIONS.c.sha256), DECISIONS.c.sha256)
    later = DECISIONS.alias("later")
    newest = (
        select(func.max(later.c.record_idx))
        .where(later.c.sha256 == DECISIONS.c.sha256)
        .scalar_subquery()
    )
    inner = select(DECISIONS.c.sha256).where(
        DECISIONS.c.verdict == value.upper(), DECISIONS.c.record_idx == newest
    )
    return _either(conn, OUTPUTS.c.sha256, inner, DECISIONS.c.sha256)


def _draft(_: Connection, values: _Values) -> Condition:
    marked = select(NODES.c.id).join(
        DRAFTS,
        and_(DRAFTS.c.record_idx == NODES.c.record_idx, DRAFTS.c.position == NODES.c.position),
    )
    states = [value for value in values if value != "no"]
    never = [OUTPUTS.c.node_id.not_in(marked)] if "no" in values else []
    return or_(*never, OUTPUTS.c.node_id.in_(marked.where(DRAFTS.c.state.in_(states))))


def _from(kind: str | None) -> Callable[[Connection, _Values], Condition]:
    """Return the condition that an output derives from a source that has one of the names."""

    def condition(conn: Connection, values: _Values) -> Condition:
        sources = source_nodes(conn, kind, values)
        below = select(CLOSURE.c.descendant).where(CLOSURE.c.ancestor.in_(sources))
        return _either(conn, OUTPUTS.c.node_id, below, CLOSURE.c.descendant)

    return condition


_CONDITIONS: Mapping[str, Callable[[Connection, _Values], Condition]] = {
    "kind": _kind,
    "project": _project,
    "campaign": _campaign,
    "format": _of_outputs(_format),
    "orientation": _of_outputs(_orientation),
    "width": _of_outputs(_within(OUTPUTS.c.width)),
    "height": _of_outputs(_within(OUTPUTS.c.height)),
    "ratio": _of_outputs(_ratio),
    "bytes": _of_outputs(_within(OUTPUTS.c.size)),
    "model": _from("model"),
    "lora": _from("lora"),
    "from": _from(None),
    "licence": _from("licence"),
    "seed": _of_outputs(lambda seed: OUTPUTS.c.seed == seed),
    "tainted": _tainted,
    "decision": _decision,
    "draft": _draft,
    "reproducible": _reproducible,
}
