"""Search the catalogue: terms to a page of assets with what is known of them; saved searches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select

from registry.catalog import queries
from registry.catalog import search as catalog
from registry.catalog.graph import chunked
from registry.catalog.sources import known_names, source_nodes
from registry.core.search_answers import (
    FoundAsset,
    PaletteColour,
    SavedSearch,
    SearchReport,
    orientation_of,
)
from registry.core.search_terms import SORTS, Term, canonical, parse, split
from registry.core.search_values import Name, Near
from registry.core.times import format_time
from registry.errors import InputError, NotFoundError
from registry.similarity.colours import near_colour, palettes_of
from registry.similarity.palette import Colour
from registry.store.sidecar_tables import SavedSearchRow
from registry.store.transaction import read, write
from registry.store.types import table_of
from registry.workflows.inspect import summaries
from registry.workflows.services import Services

MOST_SAVED = 1000
_NAMES_TOLD = 8
AT = "@"
"""A word that starts with it stands for the terms of a saved search."""

_SAVED = table_of(SavedSearchRow)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_COLOUR = "colour"
_SOURCES = {"model": "model", "lora": "lora", "from": None, "licence": "licence"}


def search(
    services: Services,
    terms: str | Iterable[str],
    *,
    sort: str | None = None,
    limit: int = 100,
    offset: int = 0,
    count: bool = False,
) -> SearchReport:
    """Return a page of the outputs that every term is true of.

    `terms` are as `search_terms.parse` reads them; `@NAME` stands for those of a saved search,
    whose order counts where `sort` is None. With `count`, also how many there are in all. Raises
    InputError (`search.*`) for what is no term or order, NotFoundError for an unknown saved search.
    """
    words = split(terms) if isinstance(terms, str) else list(terms)
    limit = min(limit, services.settings.limits.page_rows)
    with read(services.engine) as conn:
        found, saved_sort = _expanded(conn, words)
        order = _checked_sort(sort or saved_sort or SORTS[0])
        asked = _Asked(services, conn, found, order)
        ids = asked.page(limit + 1, offset)
        return SearchReport(
            query=canonical(found),
            sort=order,
            offset=offset,
            assets=tuple(_assets(services, conn, ids[:limit])),
            more=len(ids) > limit,
            total=asked.count() if count else None,
            notes=tuple(_notes(conn, found)),
        )


def saved(services: Services) -> list[SavedSearch]:
    """Return every saved search, by name."""
    with read(services.engine) as conn:
        rows = conn.execute(select(_SAVED).order_by(_SAVED.c.name)).mappings()
        return [_view(row) for row in rows]


def save(
    services: Services, name: str, terms: str | Iterable[str], *, sort: str | None = None
) -> SavedSearch:
    """Save a search under a name; what `@NAME` stands for in it is written out.

    Raises InputError: `search.name`, `search.exists` where the name has another search,
    `search.limit`, and as `search` does.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"{name[:80]!r} cannot be the name of a search",
            code="search.name",
            hint="1 to 64 of a-z, 0-9, dot, dash and underscore, such as launch-portraits",
        )
    words = split(terms) if isinstance(terms, str) else list(terms)
    with write(services.engine) as conn:
        found, saved_sort = _expanded(conn, words)
        row = {
            "name": name,
            "query": canonical(found),
            "sort": _checked_sort(sort or saved_sort or SORTS[0]),
            "saved_ms": services.now(),
        }
        known = conn.execute(select(_SAVED).where(_SAVED.c.name == name)).mappings().first()
        if known is None:
            _refuse_full(conn)
            conn.execute(insert(_SAVED), [row])
        elif (known["query"], known["sort"]) != (row["query"], row["sort"]):
            raise InputError(
                f"{AT}{name} is another search: {known['query']}",
                code="search.exists",
                hint=f"`genops search forget {name}` first, or choose another name",
            )
        return _view(known or row)


def forget(services: Services, name: str) -> SavedSearch:
    """Remove a saved search and return it; raises NotFoundError (`search.unknown`)."""
    wanted = name.removeprefix(AT)
    with write(services.engine) as conn:
        row = _row(conn, wanted)
        conn.execute(delete(_SAVED).where(_SAVED.c.name == wanted))
        return _view(row)


class _Asked:
    """One search within one snapshot: conditions in SQL, colours from the index of palettes."""

    def __init__(
        self, services: Services, conn: Connection, terms: Sequence[Term], sort: str
    ) -> None:
        others = [term for term in terms if term.field != _COLOUR]
        self._conn = conn
        self._sort = sort
        self._wanted = catalog.conditions(conn, others, now_ms=services.now())
        self._shown = _shown(services, [term for term in terms if term.field == _COLOUR])

    def page(self, limit: int, offset: int) -> list[int]:
        """Return node ids in order."""
        if self._shown is None:
            return catalog.page(self._conn, self._wanted, self._sort, limit=limit, offset=offset)
        found = catalog.walk(self._conn, self._wanted, self._sort, self._shown)
        return list(islice(found, offset, offset + limit))

    def count(self) -> int:
        """Return how many there are in all."""
        if self._shown is None:
            return catalog.count(self._conn, self._wanted)
        return sum(1 for _ in catalog.walk(self._conn, self._wanted, self._sort, self._shown))


def _shown(services: Services, terms: Sequence[Term]) -> set[bytes] | None:
    """Return the digests of the pictures that all colour terms are true of; None without one."""
    found: set[bytes] | None = None
    for term in terms:
        for value in term.values:
            if isinstance(value, Near):
                colour = value.red, value.green, value.blue
                fit = near_colour(
                    services.engine,
                    colour,
                    within=value.within,
                    share=value.share,
                    negated=term.negated,
                )
                found = fit if found is None else found & fit
    return found


def _assets(services: Services, conn: Connection, nodes: Sequence[int]) -> Iterator[FoundAsset]:
    """Yield what is known of outputs, in the order of their node ids as given."""
    rows: dict[int, RowMapping] = {}
    for chunk in chunked(nodes):
        rows |= {row["node_id"]: row for row in queries.list_nodes(conn, chunk)}
    ordered = [rows[node] for node in nodes]
    palettes = palettes_of(conn, [row["sha256"] for row in ordered])
    for row, summary in zip(ordered, summaries(services, conn, ordered), strict=True):
        yield FoundAsset(
            **summary.to_dict(),
            size=row["size"],
            orientation=orientation_of(row["width"], row["height"]),
            palette=tuple(map(_colour, palettes.get(row["sha256"], ()))),
        )


def _colour(colour: Colour) -> PaletteColour:
    return PaletteColour(f"#{colour.red:02x}{colour.green:02x}{colour.blue:02x}", colour.share)


def _expanded(conn: Connection, words: Sequence[str]) -> tuple[tuple[Term, ...], str | None]:
    """Return the terms of words, and the order of the last saved search that is among them."""
    spelled: list[str] = []
    order = None
    for word in words:
        if word.startswith(AT):
            row = _row(conn, word.removeprefix(AT))
            spelled += split(row["query"])
            order = row["sort"]
        else:
            spelled.append(word)
    return parse(spelled), order


def _notes(conn: Connection, terms: Sequence[Term]) -> Iterator[str]:
    """Say of names that nothing here goes by what does: most often one was mistyped."""
    for term in terms:
        names = [value for value in term.values if isinstance(value, Name)]
        if term.field not in _SOURCES or source_nodes(conn, _SOURCES[term.field], names):
            continue
        known = known_names(conn, term.field, _NAMES_TOLD) if _SOURCES[term.field] else []
        told = f"; there are {', '.join(known)}" if known else ""
        yield f"nothing here was made from what {term.text} names{told}"


def _checked_sort(sort: str) -> str:
    if sort not in SORTS:
        raise InputError(
            f"{sort[:40]!r} is no order of a search",
            code="search.sort",
            hint=f"one of {', '.join(SORTS)}",
        )
    return sort


def _row(conn: Connection, name: str) -> RowMapping:
    row = conn.execute(select(_SAVED).where(_SAVED.c.name == name)).mappings().first()
    if row is None:
        known = list(conn.scalars(select(_SAVED.c.name).order_by(_SAVED.c.name).limit(_NAMES_TOLD)))
        raise NotFoundError(
            f"no search is saved as {name[:80]!r}",
            code="search.unknown",
            hint=f"there are {', '.join(known)}" if known else "save one with --save NAME",
        )
    return row


def _refuse_full(conn: Connection) -> None:
    if (conn.scalar(select(func.count()).select_from(_SAVED)) or 0) >= MOST_SAVED:
        raise InputError(
            f"there are {MOST_SAVED} saved searches",
            code="search.limit",
            hint="forget some: `genops search saved` lists them",
        )


def _view(row: RowMapping | dict[str, Any]) -> SavedSearch:
    return SavedSearch(row["name"], row["query"], row["sort"], format_time(row["saved_ms"]))
