"""The banks that a look-up searches: every asset of the registry, and the entries of named banks.

Tells which digests are held and by which records; how near a query is to them is judged elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Select, select

from registry.core.look_up import REGISTERED, BankEntry, MatchKind
from registry.errors import InputError
from registry.similarity import banks
from registry.similarity.hits import WHOLE
from registry.similarity.indexes import Index, index_of
from registry.similarity.known import Known, by_digest, by_pixels
from registry.similarity.vote_index import VoteIndex, vote_index_of
from registry.similarity.votes import VOTES
from registry.store.catalog_tables import BankPrintRow
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read
from registry.store.types import table_of

_PRINTS, _BANK_PRINTS = table_of(FingerprintRow), table_of(BankPrintRow)
_CHUNK = 500  # SQLite takes a bounded number of parameters


@dataclass(frozen=True, slots=True)
class Holder:
    """The records by which a bank holds something, newest first, and why, if it is no asset."""

    records: tuple[str, ...]
    entry: BankEntry | None = None


@dataclass(frozen=True, slots=True)
class Same:
    """Something whose bytes or pixels are those of the query."""

    sha256: str
    kind: MatchKind
    holder: Holder


Stored = tuple[str, str, bytes]
"""A stored fingerprint: hex SHA-256, name and value."""


class Shelf(Protocol):
    """A bank to search."""

    name: str

    def same(
        self, conn: Connection, sha256: str, pixels: str | None, media_type: str | None
    ) -> list[Same]:
        """Return what has these bytes, then what has these pixels (hex digests).

        In a container of another `media_type`, the same pixels are a rendition.
        """

    def index(self, names: tuple[str, ...]) -> Index:
        """Return the index of these fingerprints, not refreshed."""

    def votes(self) -> VoteIndex:
        """Return the index of corners, not refreshed."""

    def holders(self, conn: Connection, digests: Iterable[str]) -> Mapping[str, Holder]:
        """Return those (hex SHA-256) that the bank holds now."""

    def values(self, conn: Connection, digests: Iterable[str]) -> Iterator[Stored]:
        """Yield the fingerprints of these (hex SHA-256)."""


class Assets:
    """`registered`: every asset."""

    name = REGISTERED

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def same(
        self, conn: Connection, sha256: str, pixels: str | None, media_type: str | None
    ) -> list[Same]:
        """Return the assets with these bytes or pixels."""
        exact = by_digest(conn, [sha256])
        found = [Same(name, "exact", Holder(known.records)) for name, known in exact.items()]
        others = by_pixels(conn, pixels) if pixels is not None else {}
        return found + [
            Same(name, _kind(known, media_type), Holder(known.records))
            for name, known in others.items()
            if name not in exact
        ]

    def index(self, names: tuple[str, ...]) -> Index:
        """Return the index of the assets' fingerprints."""
        return index_of(self._engine, names)

    def votes(self) -> VoteIndex:
        """Return the index of the assets' corners."""
        return vote_index_of(self._engine)

    def holders(self, conn: Connection, digests: Iterable[str]) -> Mapping[str, Holder]:
        """Return which are outputs on the log."""
        return {sha256: Holder(known.records) for sha256, known in by_digest(conn, digests).items()}

    def values(self, conn: Connection, digests: Iterable[str]) -> Iterator[Stored]:
        """Yield the assets' fingerprints."""
        yield from _values(conn, select(_PRINTS), _PRINTS, digests)


class Entries:
    """A bank by its name: the entries that count at a time."""

    def __init__(self, engine: Engine, name: str, now_ms: int) -> None:
        self._engine, self.name, self._now_ms = engine, name, now_ms

    def same(
        self,
        conn: Connection,
        sha256: str,
        pixels: str | None,
        media_type: str | None,  # noqa: ARG002  # entries say none
    ) -> list[Same]:
        """Return the entries with these bytes or pixels."""
        found = banks.equal(conn, self.name, self._now_ms, sha256=sha256, pixels=pixels)
        return [
            Same(info.sha256, "exact" if info.sha256 == sha256 else "pixels", _holder(info))
            for info in found
        ]

    def index(self, names: tuple[str, ...]) -> Index:
        """Return the index of the bank's fingerprints."""
        return banks.bank_index(self._engine, self.name, names)

    def votes(self) -> VoteIndex:
        """Return the index of the corners of the bank's pictures."""
        with _LOCK:
            kept = _VOTES.setdefault(self._engine, {})
            if self.name not in kept:
                kept[self.name] = VoteIndex(self._engine, [banks.BankSource(self.name, VOTES)])
            return kept[self.name]

    def holders(self, conn: Connection, digests: Iterable[str]) -> Mapping[str, Holder]:
        """Return which are entries that count."""
        found = banks.live(conn, self.name, digests, self._now_ms)
        return {sha256: _holder(info) for sha256, info in found.items()}

    def values(self, conn: Connection, digests: Iterable[str]) -> Iterator[Stored]:
        """Yield the entries' fingerprints."""
        mine = select(_BANK_PRINTS).where(_BANK_PRINTS.c.bank == self.name)
        yield from _values(conn, mine, _BANK_PRINTS, digests)


def shelves(engine: Engine, names: Iterable[str], now_ms: int) -> list[Shelf]:
    """Return the banks of these names. Raises InputError (`find.bank`) for an unknown one."""
    wanted = list(dict.fromkeys(names))
    with read(engine) as conn:
        known = {REGISTERED, *banks.kinds(conn)} if set(wanted) - {REGISTERED} else {REGISTERED}
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise InputError(
            f"there is no bank {unknown[0]!r}" if unknown else "no bank to look in",
            code="find.bank",
            hint=f"there are {', '.join(sorted(known))}",
        )
    return [
        Assets(engine) if name == REGISTERED else Entries(engine, name, now_ms) for name in wanted
    ]


def _kind(known: Known, media_type: str | None) -> MatchKind:
    other = known.media_type is not None and known.media_type != media_type
    return "rendition" if other else "pixels"


def _holder(info: banks.EntryInfo) -> Holder:
    entry = BankEntry(info.record, None, info.owner, info.source, info.expires)
    return Holder((info.record,), entry)


def _values(
    conn: Connection, query: Select[Any], table: Any, digests: Iterable[str]
) -> Iterator[Stored]:
    wanted = [bytes.fromhex(digest) for digest in digests]
    for start in range(0, len(wanted), _CHUNK):
        chunk = table.c.sha256.in_(wanted[start : start + _CHUNK])
        for row in conn.execute(query.where(chunk, table.c.name.in_(WHOLE))).mappings():
            yield row["sha256"].hex(), row["name"], row["value"]


_VOTES: WeakKeyDictionary[Engine, dict[str, VoteIndex]] = WeakKeyDictionary()
_LOCK = threading.Lock()
