"""Look a file up: the same bytes, the same pixels, and what looks like it, told apart.

A look-alike is a suspicion with an expected number of false ones, never evidence of anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from registry.core.digests import asset_id, sha256_hex
from registry.core.look_up import (
    CERTAIN,
    REGISTERED,
    STRONGEST_FIRST,
    FindResult,
    Match,
    MatchGeometry,
    strongest,
)
from registry.errors import InputError
from registry.similarity import banks as said
from registry.similarity import hits
from registry.similarity.calibrations import default
from registry.similarity.certainty import Calibration
from registry.similarity.decode import MEDIA_TYPES, ImageLimits, suffix_problem
from registry.similarity.fingerprints import BITS, PHASH256, read_source
from registry.similarity.hits import WHOLE, Hit
from registry.similarity.judging import Judged, judge
from registry.similarity.media import UNKNOWN, media_type_of
from registry.similarity.pdq import PDQ
from registry.similarity.query import Query, opened, query_of
from registry.similarity.segments import SEGMENTS
from registry.similarity.shelves import Assets, Holder, Same, Shelf, shelves
from registry.similarity.text_index import alike_texts
from registry.similarity.text_matches import text_match
from registry.similarity.texts import NOT_COMPARABLE, is_text, text_print, text_type_of
from registry.similarity.verify import Probe
from registry.store.transaction import read
from registry.threads import cores

RADIUS = 62
"""Largest distance that is searched for unless the caller says otherwise."""
_MOST_THREADS = 3
"""Most threads beside that of the caller: for corners, and for comparisons by them."""
MOST_MATCHES = 200
"""Most look-alikes of one bank in an answer; a note says when there were more."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is looked for, and how; `query` is None for what is no picture.

    There is a `probe` of what can be matched by what it looks like. Without `corners`, candidates
    for parts are looked for by regions alone.
    """

    engine: Engine
    threads: Executor
    data: bytes = field(repr=False)
    sha256: str
    media_type: str
    query: Query | None
    probe: Probe | None
    notes: tuple[str, ...]
    radius: int
    now_ms: int
    calibration: Calibration
    corners: bool = True

    @property
    def values(self) -> Mapping[str, bytes]:
        return {} if self.query is None else self.query.variants

    @property
    def pixels(self) -> str | None:
        return None if self.query is None else self.query.pixels


@dataclass(frozen=True, slots=True)
class _Heard:
    """What people said of matches of the query, in all banks, and what known false ones are near.

    `verdicts` tells of each match whether it was confirmed, or else refuted.
    """

    verdicts: Mapping[said.Pair, bool]
    negatives: Sequence[said.NearNegative]

    def confirmed(self, place: Shelf) -> set[tuple[str, str]]:
        """Return the candidates and kinds that were confirmed in a bank."""
        return self._pairs(place, confirmed=True)

    def refuted(self, place: Shelf) -> set[tuple[str, str]]:
        """Return the candidates and kinds that were refuted in a bank."""
        return self._pairs(place, confirmed=False)

    def _pairs(self, place: Shelf, *, confirmed: bool) -> set[tuple[str, str]]:
        return {
            (candidate, kind)
            for (bank, candidate, kind), yes in self.verdicts.items()
            if bank == place.name and yes is confirmed
        }


@dataclass(slots=True)
class _Answer:
    """What one bank gave: matches and notes, and how many stored values were compared."""

    matches: list[Match] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: int = 0


def find(
    engine: Engine,
    source: bytes | Path,
    limits: ImageLimits,
    *,
    radius: int = RADIUS,
    banks: Sequence[str] = (REGISTERED,),
    now_ms: int = 0,
    calibration: Calibration | None = None,
) -> FindResult:
    """Look a file or its bytes up among all outputs, or in other banks.

    Entries that have expired at `now_ms` (epoch milliseconds) do not count. E is from
    `calibration`, else from the one that is shipped. What is no picture is looked up by its
    SHA-256, and as a text. Raises InputError: `find.radius`, `find.bank` (there is none of that
    name), `file.unreadable`, and as `open_image` for what begins or is named like a picture, is
    broken, and is not itself known.
    """
    if not 0 <= radius <= BITS:
        raise InputError(f"a radius of {radius} is not between 0 and {BITS}", code="find.radius")
    places = shelves(engine, banks, now_ms)
    data = read_source(source, limits)
    sha256 = sha256_hex(data)
    media_type = _media_type(data, source)
    chosen = default() if calibration is None else calibration
    with _threads() as threads:
        try:
            query, probe, notes = _examined(data, source, limits, threads, places)
        except InputError as error:
            text = text_print(data, media_type)
            other = bool(data) and not media_type.startswith("image/")
            if text is None and not other and not _is_known(engine, places, sha256):
                raise
            query, probe, notes = None, None, (f"only the bytes were compared: {error.message}",)
            if is_text(media_type):
                notes = () if text is not None else (NOT_COMPARABLE,)
        asked = _Asked(
            engine, threads, data, sha256, media_type, query, probe, notes, radius, now_ms, chosen
        )
        return _answered(asked, places)


def find_stored(
    engine: Engine,
    sha256: str,
    query: Query | None,
    *,
    banks: Sequence[str],
    now_ms: int,
    calibration: Calibration,
    radius: int = RADIUS,
) -> FindResult:
    """Look an asset (hex SHA-256) up by what is stored of it, its own bytes among the matches.

    `query` is from `stored_query`, None where only bytes can be compared. Parts are looked for by
    regions alone: a look-up of the file takes its corners, too. Raises InputError (`find.bank`).
    """
    places = shelves(engine, banks, now_ms)
    probe = Probe(query.image) if query is not None and query.fingerprintable else None
    with _threads() as threads:
        asked = _Asked(
            engine,
            threads,
            b"",
            sha256,
            UNKNOWN,
            query,
            probe,
            (),
            radius,
            now_ms,
            calibration,
            corners=False,
        )
        return _answered(asked, places)


def _answered(asked: _Asked, places: Sequence[Shelf]) -> FindResult:
    heard = _heard(asked)
    answers = [_in_bank(asked, heard, place) for place in places]
    matches = sorted((match for answer in answers for match in answer.matches), key=_certainty)
    return FindResult(
        tuple(matches),
        _described(asked, [place.name for place in places], sum(a.compared for a in answers)),
        (*asked.notes, *(note for answer in answers for note in answer.notes)),
        strongest(match.verdict for match in matches),
    )


def _threads() -> Executor:
    """Return as many as there are cores, with that of the caller: more would only take turns."""
    return ThreadPoolExecutor(max(1, min(_MOST_THREADS, cores() - 1)))


def _media_type(data: bytes, source: bytes | Path) -> str:
    """Return the media type by content, then by name; what may be a text is taken for one."""
    found = media_type_of(data, source.name if isinstance(source, Path) else "")
    return text_type_of(data) if found == UNKNOWN and b"\0" not in data[:4096] else found


def _examined(
    data: bytes,
    source: bytes | Path,
    limits: ImageLimits,
    threads: Executor,
    places: Sequence[Shelf],
) -> tuple[Query, Probe | None, tuple[str, ...]]:
    """Compute what to look for: hashes beside the corners, which take longest."""
    image, grey = opened(data, limits)
    probe = Probe(grey)
    probe.begin(threads)
    listed = any(not isinstance(place, Assets) for place in places)
    query = query_of(data, limits, (image, grey), listed=listed)
    misnamed = suffix_problem(source, image) if isinstance(source, Path) else None
    notes = (*((f"the file {misnamed}",) if misnamed else ()), *query.notes)
    return query, probe if query.fingerprintable else None, notes


def _is_known(engine: Engine, places: Sequence[Shelf], sha256: str) -> bool:
    with read(engine) as conn:
        return any(place.same(conn, sha256, None, None) for place in places)


def _heard(asked: _Asked) -> _Heard:
    plain = asked.values.get("")
    same = [] if plain is None else [plain]
    with read(asked.engine) as conn:
        verdicts = said.verdicts(conn, asked.sha256, same, asked.pixels)
    negatives = said.negatives(asked.engine, asked.values.values(), WHOLE, asked.now_ms)
    return _Heard(verdicts, negatives)


def _in_bank(asked: _Asked, heard: _Heard, place: Shelf) -> _Answer:
    """Return what is equal to the query in one bank, then what looks or reads like it."""
    shown = None if asked.query is None else MEDIA_TYPES.get(asked.query.image.format or "")
    with read(asked.engine) as conn:
        same = place.same(conn, asked.sha256, asked.pixels, shown)
    answer = _Answer([_equal(place, one) for one in same])
    taken = {one.sha256 for one in same}
    if asked.query is not None and asked.probe is not None:
        _add_alike(asked, heard, asked.query, asked.probe, place, taken, answer)
    elif isinstance(place, Assets):
        _add_texts(asked, heard, place, taken, answer)
    return answer


def _equal(place: Shelf, one: Same) -> Match:
    return Match(
        asset_id(one.sha256),
        one.holder.records,
        one.kind,
        None,
        "match",
        bank=place.name,
        entry=one.holder.entry,
    )


def _add_alike(
    asked: _Asked,
    heard: _Heard,
    query: Query,
    probe: Probe,
    place: Shelf,
    taken: set[str],
    answer: _Answer,
) -> None:
    confirmed, refuted = heard.confirmed(place), heard.refuted(place)
    found = [hit for hit in _hits(asked, query, place, probe, answer) if hit.sha256 not in taken]
    with read(asked.engine) as conn:
        holders = place.holders(conn, [hit.sha256 for hit in found])
        left = [hit for hit in found if hit.sha256 in holders]
        kept = [hit for hit in left if (hit.sha256, hit.kind) not in refuted]
        judged = judge(conn, kept, probe, asked.calibration, asked.threads)
        looked_for = {
            hit.sha256: query.variants[hit.transform] for hit in kept if hit.name == PHASH256
        }
        names = hits.nearest_stored(place.values(conn, looked_for), looked_for)
    shown = [one for one in judged if one.verdict != "none" or _key(one) in confirmed]
    clear = [
        one
        for one in shown
        if _key(one) in confirmed or said.lowered_by(one.hit.bits, heard.negatives) is None
    ]
    matches = [_alike(place, one, holders[one.hit.sha256], names, confirmed) for one in clear]
    answer.matches += sorted(matches, key=_certainty)[:MOST_MATCHES]
    answer.notes += _left_out(
        Counter(
            {
                "that a person refuted": len(left) - len(kept),
                "that a known false match explains": len(shown) - len(clear),
                "more": max(0, len(clear) - MOST_MATCHES),
            }
        )
    )


def _hits(asked: _Asked, query: Query, place: Shelf, probe: Probe, answer: _Answer) -> list[Hit]:
    """Search a bank by all fingerprints, and count what was compared."""
    voted = _voted(place, probe, asked.threads) if asked.corners else list
    return hits.strongest_first(_hashed(asked, query, place, answer) + voted())


def _hashed(asked: _Asked, query: Query, place: Shelf, answer: _Answer) -> list[Hit]:
    """Search a bank by hashes, of the whole picture and of its regions."""
    index = place.index(WHOLE)
    index.refresh()
    answer.compared += len(index)
    found = hits.whole(index, query.variants, asked.radius)
    parts = place.index((SEGMENTS,))
    parts.refresh()
    answer.compared += len(parts)
    found += hits.parts(parts, query.segments, asked.radius)
    if not isinstance(place, Assets) and query.pdq is not None:
        listed = place.index((PDQ, said.PDQ_LISTED))
        listed.refresh()
        answer.compared += len(listed)
        found += hits.by_pdq(listed, query.pdq, asked.radius)
    return found


def _voted(place: Shelf, probe: Probe, threads: Executor) -> Callable[[], list[Hit]]:
    """Begin to search a bank by corners, beside other searches."""
    votes = place.votes()
    votes.refresh()
    if not len(votes):
        return list
    return hits.votes_of(votes, lambda mirrored: probe.keys(mirrored=mirrored), threads)


def _key(one: Judged) -> tuple[str, str]:
    return one.hit.sha256, one.hit.kind


def _alike(
    place: Shelf,
    one: Judged,
    holder: Holder,
    names: Mapping[str, tuple[str, int | None]],
    confirmed: set[tuple[str, str]],
) -> Match:
    """Return a look-alike as a match; what a person confirmed is one, however unlikely."""
    hit, geometry, estimate = one.hit, one.geometry, one.expected
    sure = _key(one) in confirmed
    name, frame = names.get(hit.sha256, (hit.name, None))
    return Match(
        asset_id(hit.sha256),
        holder.records,
        hit.kind,
        hit.distance,
        "match" if sure or one.verdict == "none" else one.verdict,
        hit.transform,
        bank=place.name,
        expected=None if estimate is None else estimate.value,
        expected_bound=None if estimate is None else estimate.bound,
        extrapolated=estimate is not None and estimate.extrapolated,
        geometry=None
        if geometry is None
        else MatchGeometry(
            geometry.inliers, geometry.mirrored, geometry.rotation, geometry.scale, geometry.box
        ),
        frame=frame,
        fingerprint=name,
        state="confirmed" if sure else "",
        entry=holder.entry,
    )


def _add_texts(
    asked: _Asked, heard: _Heard, place: Shelf, taken: set[str], answer: _Answer
) -> None:
    confirmed, refuted = heard.confirmed(place), heard.refuted(place)
    found = alike_texts(asked.engine, asked.data, asked.media_type)
    found = [one for one in found if one.sha256 not in taken]
    with read(asked.engine) as conn:
        holders = place.holders(conn, [one.sha256 for one in found])
    left = [one for one in found if one.sha256 in holders]
    kept = [one for one in left if (one.sha256, "text") not in refuted]
    answer.matches += [
        text_match(place.name, one, holders[one.sha256], confirmed) for one in kept[:MOST_MATCHES]
    ]
    answer.notes += _left_out(
        Counter(
            {
                "that a person refuted": len(left) - len(kept),
                "more": max(0, len(kept) - MOST_MATCHES),
            }
        )
    )


def _left_out(counts: Counter[str]) -> Iterator[str]:
    for why, count in counts.items():
        if count:
            things = "look-alike" if count == 1 else "look-alikes"
            lead = f"{count} more {things}" if why == "more" else f"{count} {things} {why}"
            yield f"{lead} {'is' if count == 1 else 'are'} left out"


def _certainty(match: Match) -> tuple[Any, ...]:
    """Order matches: equal digests by kind, then by verdict and E, whatever the bank."""
    order = ("exact", "pixels", "rendition")
    certain = match.kind in CERTAIN
    bound = match.expected_bound
    return (
        order.index(match.kind) if certain else len(order),
        STRONGEST_FIRST.index(match.verdict),
        float("inf") if bound is None else bound,
        -(match.similarity or 0.0),
        match.distance or 0,
        match.id,
    )


def _described(asked: _Asked, banks: Sequence[str], compared: int) -> dict[str, Any]:
    plain = asked.values.get("")
    return {
        "sha256": asked.sha256,
        "pixels": asked.pixels,
        "algorithm": PHASH256,
        "fingerprint": None if plain is None else plain.hex(),
        "variants": [name for name in asked.values if name],
        "parts": 0 if asked.query is None else len(asked.query.segments.get("", ())),
        "radius": asked.radius,
        "banks": list(banks),
        "compared": compared,
        "calibration": asked.calibration.record or "default",
    }
