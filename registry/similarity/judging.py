"""What to think of hits: geometry where there is a thumbnail, then E, then the verdict.

Knows pictures and calibrations; neither indexes, nor who put a fingerprint where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from sqlalchemy import Connection, select

from registry.core.look_up import FindVerdict
from registry.similarity.certainty import Calibration, Estimate, expected, verdict_of, verified
from registry.similarity.hits import Hit
from registry.similarity.verify import VERIFIER, Geometry
from registry.store.sidecar_tables import ThumbnailRow
from registry.store.types import table_of
from registry.threads import results

SURE_BITS = 30
"""Distance up to which a whole picture is not compared once more, unless E leaves a doubt: what
is nearer is often too small or too blurred to have corners left."""
MOST_WHOLE = 6
"""Most candidates for the whole picture that are compared by their corners."""
MOST_NEAR = 6
"""Most candidates for a part, by the nearest region, that are."""
MOST_VOTED = 12
"""Most candidates for a part, by the most corners, that are."""

_THUMBNAILS = table_of(ThumbnailRow)
_LOWER: Mapping[FindVerdict, FindVerdict] = {"match": "probable", "probable": "review"}


class Verifier(Protocol):
    """What compares the query with a stored thumbnail, as `verify.Probe` does."""

    def against(self, thumbnail: bytes, *, mirrored: bool | None = None) -> Geometry | None:
        """Return where the query lies in it, as it is or mirrored; None where they disagree."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A hit, its E where it is known, and where the query lies in the picture, if it was seen."""

    hit: Hit
    expected: Estimate | None
    verdict: FindVerdict
    geometry: Geometry | None = None


def judge(
    conn: Connection,
    hits: Sequence[Hit],
    probe: Verifier,
    calibration: Calibration,
    threads: Executor,
) -> list[Judged]:
    """Judge hits, given strongest first, and verify those that leave a doubt."""
    unverified = {hit.sha256: _unverified(hit, calibration) for hit in hits}
    doubted = _doubted(hits, unverified)
    thumbnails = _thumbnails(conn, [hit.sha256 for hit in doubted])
    visible = [hit for hit in doubted if hit.sha256 in thumbnails]
    seen = results(  # OpenCV and numpy let other threads run
        threads,
        [partial(probe.against, thumbnails[hit.sha256], mirrored=_side(hit)) for hit in visible],
    )
    geometry = dict(zip((hit.sha256 for hit in visible), seen, strict=True))
    return [_judged(hit, unverified[hit.sha256], calibration, geometry) for hit in hits]


def _unverified(hit: Hit, calibration: Calibration) -> Estimate | None:
    if hit.distance is None:
        return None
    return expected(calibration, hit.name, hit.distance, chances=hit.chances)


def _doubted(hits: Iterable[Hit], estimates: Mapping[str, Estimate | None]) -> list[Hit]:
    """Return what is worth a comparison by corners: of each kind the first few."""
    room = {"perceptual": MOST_WHOLE, "part": MOST_NEAR, "voted": MOST_VOTED}
    chosen = []
    for hit in hits:
        place = "voted" if hit.distance is None else hit.kind
        sure = hit.bits <= SURE_BITS and verdict_of(estimates[hit.sha256]) == "match"
        if room[place] and not (hit.kind == "perceptual" and sure):
            room[place] -= 1
            chosen.append(hit)
    return chosen


def _side(hit: Hit) -> bool | None:
    """Tell whether the query has to be mirrored: known of a part, and not of a turned picture."""
    return hit.transform == "mirrored" if hit.kind == "part" else None


def _judged(
    hit: Hit,
    before: Estimate | None,
    calibration: Calibration,
    seen: Mapping[str, Geometry | None],
) -> Judged:
    """Raise what geometry confirmed; lower what it had the chance to confirm and did not."""
    geometry = seen.get(hit.sha256)
    if geometry is not None:
        after = verified(before, calibration, VERIFIER, geometry.inliers, candidates=len(seen))
        return Judged(hit, after, verdict_of(after), geometry)
    if hit.distance is None:
        return Judged(hit, None, "none")
    verdict = verdict_of(before)
    if hit.kind == "part":
        verdict = "none" if hit.sha256 in seen or verdict == "none" else "review"
    elif hit.sha256 in seen and hit.distance > SURE_BITS:
        verdict = _LOWER.get(verdict, verdict)
    return Judged(hit, before, verdict)


def _thumbnails(conn: Connection, digests: Iterable[str]) -> dict[str, bytes]:
    wanted = [bytes.fromhex(digest) for digest in digests]
    query = select(_THUMBNAILS.c.sha256, _THUMBNAILS.c.data).where(_THUMBNAILS.c.sha256.in_(wanted))
    return {sha256.hex(): data for sha256, data in conn.execute(query)}
