"""Calibrate look-ups from a registry's own pictures and banks: count, sign, put on the log.

Pictures that are known to be copies of each other are one source; all others count as different,
for that is what a look-up has to tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from registry.catalog.graph import EDGES, NODES
from registry.core.digests import asset_id
from registry.core.jsonio import dumps
from registry.core.look_up import REGISTERED, LookUpCalibration, NearPair
from registry.core.look_up_predicates import PREDICATE_CALIBRATION_V2
from registry.core.look_up_predicates import calibration as said
from registry.core.statements import Subject
from registry.errors import InputError
from registry.similarity.banks import kinds
from registry.similarity.calibrating import count_distances, nearest
from registry.similarity.certainty import Calibration, Distances, to_json
from registry.similarity.fingerprints import PHASH256, PHASH256_V1
from registry.similarity.pdq import PDQ
from registry.similarity.segments import SEGMENTS
from registry.similarity.shelves import shelves
from registry.similarity.values import VALUE_BYTES, parts_of
from registry.store.believed import ENTRIES, RECORDS, believed, standing_entries
from registry.store.catalog_tables import BankPrintRow, MatchVerdictRow, OutputRow
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows.services import Services
from registry.workflows.submit import declare

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LEAST_SOURCES = 100
"""Fewest sources to calibrate from: 4,950 pairs, of which not one may be near."""
SAMPLE = 20_000
"""Most values of one fingerprint that are compared with each other unless asked otherwise."""
NEAREST_BITS = 30
"""Distance within which pairs that count as different are shown."""
MOST_NEAREST = 20

_NAMES = {PHASH256: (PHASH256, PHASH256_V1), SEGMENTS: (SEGMENTS,), PDQ: (PDQ,)}
_PRINTS, _BANK_PRINTS = table_of(FingerprintRow), table_of(BankPrintRow)
_OUTPUTS, _VERDICTS = table_of(OutputRow), table_of(MatchVerdictRow)


@dataclass(slots=True)
class _Groups:
    """Digests that are tied to each other, as a forest; `of` numbers the trees that were met."""

    parents: dict[bytes, bytes] = field(default_factory=dict)
    numbers: dict[bytes, int] = field(default_factory=dict)

    def tie(self, one: bytes, other: bytes) -> None:
        self.parents[self._root(one)] = self._root(other)

    def of(self, digest: bytes) -> int:
        return self.numbers.setdefault(self._root(digest), len(self.numbers))

    def _root(self, digest: bytes) -> bytes:
        path = []
        while (parent := self.parents.get(digest, digest)) != digest:
            path.append(digest)
            digest = parent
        for one in path:
            self.parents[one] = digest
        return digest


@dataclass(frozen=True, slots=True)
class _Sample:
    """Values of one fingerprint: codes (n, 32), sources (n,) and the digest of each."""

    codes: npt.NDArray[np.uint8]
    sources: npt.NDArray[np.int64]
    digests: tuple[bytes, ...]


def calibrate(
    services: Services,
    *,
    banks: Sequence[str] = (),
    sample: int = SAMPLE,
    actor: str | None = None,
) -> LookUpCalibration:
    """Count how near pictures of different sources come to each other, and sign what was counted.

    Of `registered` and every bank, or of `banks`; at most `sample` values of each fingerprint,
    by their digests, which is as good as at random. From then on E is from this. Raises InputError:
    `find.bank`, `calibration.samples` for too few pictures to learn from.
    """
    with read(services.engine) as conn:
        named = banks or (REGISTERED, *kinds(conn))
    places = [place.name for place in shelves(services.engine, named, services.now())]
    with read(services.engine) as conn:
        groups = _tied(conn)
        samples = {
            name: _sampled(_stored(conn, names, places, sample), groups, sample)
            for name, names in _NAMES.items()
        }
    whole = samples[PHASH256]
    sources = len(set(whole.sources.tolist()))
    if sources < LEAST_SOURCES:
        raise InputError(
            f"{sources} different pictures are too few to calibrate from; {LEAST_SOURCES} are the"
            " fewest",
            code="calibration.samples",
            hint="the calibration that is shipped stays in use",
        )
    counted = {
        name: count_distances(one.codes, one.sources)
        for name, one in samples.items()
        if len(set(one.sources.tolist())) >= LEAST_SOURCES
    }
    return _signed(services, places, whole, counted, actor)


def _signed(
    services: Services,
    places: Sequence[str],
    whole: _Sample,
    counted: Mapping[str, Distances],
    actor: str | None,
) -> LookUpCalibration:
    made = {"banks": list(places), "pictures": len(set(whole.digests)), "what": "own pictures"}
    table = services.vault.put(dumps(to_json(Calibration(counted, {}, made))))
    pairs = {name: one.pairs for name, one in counted.items()}
    sources = counted[PHASH256].sources
    receipt = declare(
        services,
        [Subject("out/0", table.sha256, "application/json")],
        PREDICATE_CALIBRATION_V2,
        said(
            services.head(actor=actor),
            banks=places,
            pictures=len(set(whole.digests)),
            sources=sources,
            fingerprints=pairs,
        ),
        role="reviewer",
        blobs=[table],
    )
    return LookUpCalibration(
        record=receipt.record,
        table=asset_id(table.sha256),
        banks=tuple(places),
        pictures=len(set(whole.digests)),
        sources=sources,
        fingerprints=pairs,
        nearest=tuple(_nearest(whole)),
    )


def _nearest(whole: _Sample) -> Iterator[NearPair]:
    found = nearest(whole.codes, whole.sources, radius=NEAREST_BITS, most=MOST_NEAREST)
    for pair in found:
        first, second = (whole.digests[row].hex() for row in (pair.first, pair.second))
        yield NearPair(asset_id(first), asset_id(second), pair.distance)


def _tied(conn: Connection) -> _Groups:
    """Tie assets to what they were made from, to the same pixels, and as people confirmed."""
    groups = _Groups()
    child, parent = NODES.alias(), NODES.alias()
    made_from = (
        select(child.c.sha256, parent.c.sha256)
        .select_from(EDGES)
        .join(child, child.c.id == EDGES.c.child)
        .join(parent, parent.c.id == EDGES.c.parent)
        .where(parent.c.id.in_(select(_OUTPUTS.c.node_id)))
    )
    same = select(_OUTPUTS.c.sha256, _OUTPUTS.c.pixels).where(_OUTPUTS.c.pixels.is_not(None))
    listed = select(ENTRIES.c.sha256, ENTRIES.c.pixels).where(ENTRIES.c.pixels.is_not(None))
    confirmed = (
        select(_VERDICTS.c.query, _VERDICTS.c.candidate)
        .join(RECORDS, RECORDS.c.idx == _VERDICTS.c.record_idx)
        .where(_VERDICTS.c.confirmed, believed(RECORDS))
    )
    for query in (made_from, confirmed):
        for one, other in conn.execute(query):
            groups.tie(one, other)
    for query in (same, listed):
        for digest, pixels in conn.execute(query):
            groups.tie(digest, b"pixels" + pixels)
    return groups


def _stored(
    conn: Connection, names: Sequence[str], places: Sequence[str], most: int
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (digest, value) of the pictures of each bank, in the order of their digests."""
    for place in places:
        if place == REGISTERED:
            table: Any = _PRINTS
            query = select(table.c.sha256, table.c.value).where(table.c.name.in_(names))
        else:
            table = _BANK_PRINTS
            standing = standing_entries().where(ENTRIES.c.bank == place).subquery()
            query = select(table.c.sha256, table.c.value).where(
                table.c.name.in_(names),
                table.c.bank == place,
                table.c.sha256.in_(select(standing.c.sha256)),
            )
        rows = conn.execute(query.order_by(table.c.sha256).limit(most))
        yield from ((row[0], row[1]) for row in rows)


def _sampled(rows: Iterable[tuple[bytes, bytes]], groups: _Groups, most: int) -> _Sample:
    """Cut values into parts of 32 bytes, the same part of the same picture once."""
    import numpy as np  # noqa: PLC0415  # heavy: only for a calibration

    parts = dict.fromkeys((digest, part) for digest, value in rows for part in parts_of(value))
    chosen = sorted(parts)[:most]
    codes = np.frombuffer(b"".join(value for _, value in chosen), np.uint8)
    return _Sample(
        codes.reshape(-1, VALUE_BYTES),
        np.array([groups.of(digest) for digest, _ in chosen], np.int64),
        tuple(digest for digest, _ in chosen),
    )
