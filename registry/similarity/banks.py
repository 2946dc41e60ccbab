"""Banks of fingerprints as a look-up sees them: their indexes, which entries stand, what was said.

Reads the projection. What is believed follows the newest trust record; what has expired follows
the time that the caller gives. Knows nothing of how a query is hashed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, or_, select

from registry.core import bank_lines
from registry.core.banks import UNDECLARED, BankKind
from registry.core.digests import record_id
from registry.core.times import format_time
from registry.similarity.hamming import HammingIndex
from registry.similarity.sources import Rows, packed
from registry.store.believed import ENTRIES, RECORDS, believed, standing_entries, unexpired
from registry.store.catalog_tables import BankPrintRow, BankRow, MatchVerdictRow
from registry.store.transaction import read
from registry.store.types import table_of

PDQ_LISTED = bank_lines.PDQ_LISTED
"""The name of PDQ that came in lists: a query's own PDQ is compared with it."""
NEGATIVE_BITS = 30
"""Largest distance at which a query is taken for a known false match."""

_BANKS = table_of(BankRow)
_PRINTS = table_of(BankPrintRow)
_VERDICTS = table_of(MatchVerdictRow)
_STANDING = standing_entries(RECORDS.c.leaf_hash)  # a millisecond to build, each of these
_BELIEVED = believed(RECORDS)
_KINDS = (
    select(_BANKS.c.name, _BANKS.c.kind, _BELIEVED.label("counts"))
    .join(RECORDS, RECORDS.c.idx == _BANKS.c.record_idx)
    .order_by(_BANKS.c.record_idx)
)
_FETCH = 20_000
_CHUNK = 500  # SQLite takes a bounded number of parameters

Pair = tuple[str, str, str]
"""A match that somebody judged: bank, candidate (hex SHA-256) and kind."""


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """An entry that stands in its bank: who put it there, from where, and until when (RFC 3339).

    `record` is the newest that added it (`rec:…`), at `record_idx` and `position` of the log.
    """

    bank: str
    kind: BankKind
    sha256: str
    owner: str
    source: str
    expires: str | None
    record: str
    record_idx: int
    position: int
    hash_only: bool

    @property
    def negative(self) -> bool:
        """Whether the entry is a known false match."""
        return self.kind == "negative"


@dataclass(frozen=True, slots=True)
class NearNegative:
    """A known false match that the query is, or nearly is, at a distance in bits."""

    entry: EntryInfo
    distance: int


class BankSource:
    """The fingerprints of one bank by one name, those of removed entries too."""

    def __init__(self, bank: str, name: str) -> None:
        self._bank, self._name = bank, name

    def after(self, conn: Connection, last_id: int) -> Iterator[Rows]:
        """Yield the rows whose ids are above `last_id`, oldest first."""
        query = select(_PRINTS.c.id, _PRINTS.c.sha256, _PRINTS.c.value).order_by(_PRINTS.c.id)
        mine = query.where(_PRINTS.c.bank == self._bank, _PRINTS.c.name == self._name)
        while True:
            page = conn.execute(mine.where(_PRINTS.c.id > last_id).limit(_FETCH)).all()
            if not page:
                return
            last_id = page[-1].id
            yield Rows(last_id, *packed((row.id, row.sha256, row.value) for row in page))


def bank_index(engine: Engine, bank: str, name: str | tuple[str, ...]) -> HammingIndex:
    """Return the index of a bank's fingerprints of some names, kept as long as the engine lives.

    Its length counts entries that were removed or expired too: `live` tells which hits count.
    """
    names = (name,) if isinstance(name, str) else name
    with _INDEXES_LOCK:
        kept = _INDEXES.setdefault(engine, {})
        if (bank, names) not in kept:
            sources = [BankSource(bank, one) for one in names]
            kept[bank, names] = HammingIndex(engine, sources)
        return kept[bank, names]


def kinds(conn: Connection) -> Mapping[str, BankKind]:
    """Return every bank's kind: what the first record that is believed says of it."""
    said: dict[str, list[Any]] = {}
    for row in conn.execute(_KINDS):
        said.setdefault(row.name, []).extend([row.kind] if row.counts else [])
    return {name: listed[0] if listed else UNDECLARED for name, listed in sorted(said.items())}


def live(
    conn: Connection, bank: str, entry_ids: Iterable[str], now_ms: int
) -> Mapping[str, EntryInfo]:
    """Return which entries (hex SHA-256) stand in a bank and have not expired, by their digest."""
    wanted = [bytes.fromhex(sha256) for sha256 in entry_ids]
    kind = kinds(conn).get(bank, UNDECLARED) if wanted else UNDECLARED
    found: dict[str, EntryInfo] = {}
    for start in range(0, len(wanted), _CHUNK):
        chosen = ENTRIES.c.sha256.in_(wanted[start : start + _CHUNK])
        found |= {info.sha256: info for info in _entries(conn, bank, kind, now_ms, chosen)}
    return found


def equal(
    conn: Connection, bank: str, now_ms: int, *, sha256: str, pixels: str | None = None
) -> list[EntryInfo]:
    """Return the live entries of a bank with these bytes, or these pixels (both hex digests)."""
    same = [ENTRIES.c.sha256 == bytes.fromhex(sha256)]
    if pixels is not None:
        same.append(ENTRIES.c.pixels == bytes.fromhex(pixels))
    kind = kinds(conn).get(bank, UNDECLARED)
    # Two questions, since a database would answer one with "or" by reading the whole bank.
    found = {i.sha256: i for one in same for i in _entries(conn, bank, kind, now_ms, one)}
    return sorted(found.values(), key=lambda info: (info.sha256 != sha256, info.sha256))


def negatives(
    engine: Engine, values: Iterable[bytes], name: str | tuple[str, ...], now_ms: int
) -> list[NearNegative]:
    """Return the live entries of all negative banks that any of the values is, nearest first.

    `values` are the query's hashes (32 bytes) by `name`, those of its variants too; an entry counts
    within `NEGATIVE_BITS` of one of them.
    """
    with read(engine) as conn:
        banks = [bank for bank, kind in kinds(conn).items() if kind == "negative"]
    looked_for, found = list(values), []
    for bank in banks:
        nearest = _nearest(bank_index(engine, bank, name), looked_for)
        with read(engine) as conn:
            standing = live(conn, bank, nearest, now_ms)
        found += [NearNegative(info, nearest[sha256]) for sha256, info in standing.items()]
    return sorted(found, key=lambda near: (near.distance, near.entry.bank, near.entry.sha256))


def lowered_by(distance: int, near: Sequence[NearNegative]) -> NearNegative | None:
    """Return the known false match that explains a match at this distance (bits), if one does.

    It does where the query is nearer to it than to what it matched. At equal distances the match
    stands: nothing tells then which of the two the query is of.
    """
    nearest = min(near, key=lambda one: one.distance, default=None)
    return nearest if nearest is not None and nearest.distance < distance else None


def refuted(
    conn: Connection, sha256: str, values: Iterable[bytes] = (), pixels: str | None = None
) -> set[Pair]:
    """Return the matches that a person refuted, of a query with these bytes, pixels or values.

    The newest verdict that is believed counts; none refutes a match by equal digests.
    """
    return {pair for pair, yes in verdicts(conn, sha256, values, pixels).items() if not yes}


def confirmed(
    conn: Connection, sha256: str, values: Iterable[bytes] = (), pixels: str | None = None
) -> set[Pair]:
    """Return the matches that a person confirmed; as `refuted`."""
    return {pair for pair, yes in verdicts(conn, sha256, values, pixels).items() if yes}


def verdicts(
    conn: Connection, sha256: str, values: Iterable[bytes] = (), pixels: str | None = None
) -> dict[Pair, bool]:
    """Return whether each match of a query was confirmed or refuted; both as `refuted` has it."""
    same = [_VERDICTS.c.query == bytes.fromhex(sha256)]
    if listed := sorted(set(values)):
        same.append(_VERDICTS.c.value.in_(listed))
    if pixels is not None:
        same.append(_VERDICTS.c.pixels == bytes.fromhex(pixels))
    query = select(_VERDICTS).join(RECORDS, RECORDS.c.idx == _VERDICTS.c.record_idx)
    rows = conn.execute(query.where(or_(*same), _BELIEVED).order_by(RECORDS.c.idx))
    return {(row.bank, row.candidate.hex(), row.kind): row.confirmed for row in rows}


def _entries(
    conn: Connection, bank: str, kind: BankKind, now_ms: int, chosen: Any
) -> Iterator[EntryInfo]:
    query = _STANDING.where(ENTRIES.c.bank == bank, chosen)
    for row in conn.execute(query.where(unexpired(now_ms))).mappings():
        expires = row["expires_ms"]
        yield EntryInfo(
            bank=bank,
            kind=kind,
            sha256=row["sha256"].hex(),
            owner=row["owner"],
            source=row["source"],
            expires=None if expires is None else format_time(expires),
            record=record_id(row["leaf_hash"].hex()),
            record_idx=row["record_idx"],
            position=row["position"],
            hash_only=row["hash_only"],
        )


def _nearest(index: HammingIndex, values: Sequence[bytes]) -> dict[str, int]:
    """Return the least distance of any of the values to each entry within `NEGATIVE_BITS`."""
    index.refresh()
    found: dict[str, int] = {}
    for hits in index.search_many(values, NEGATIVE_BITS) if values else ():
        for sha256, distance in hits:
            found[sha256] = min(distance, found.get(sha256, distance))
    return found


_INDEXES: WeakKeyDictionary[Engine, dict[tuple[str, tuple[str, ...]], HammingIndex]]
_INDEXES = WeakKeyDictionary()
_INDEXES_LOCK = threading.Lock()
