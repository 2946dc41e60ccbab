"""What to think of hits: geometry where there is a thumbnail, then E, then the verdict.

Knows pictures and calibrations; neither indexes, nor who put a fingerprint where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, select

from registry.core.look_up import FindVerdict
from registry.similarity.certainty import Calibration, Estimate, expected, verdict_of, verified
from registry.similarity.hits import Hit
from registry.similarity.verify import VERIFIER, Geometry
from registry.store.sidecar_tables import ThumbnailRow
from registry.store.types import table_of

SURE_BITS = 30
"""Distance up to which a whole picture is not compared once more, unless E leaves a doubt: what
is nearer is often too small or too blurred to have corners left."""
MOST_VERIFIED = 12
"""Most candidates that are compared by their corners, a few milliseconds each."""

_THUMBNAILS = table_of(ThumbnailRow)
_LOWER: Mapping[FindVerdict, FindVerdict] = {"match": "probable", "probable": "review"}


class Verifier(Protocol):
    """What compares the query with a stored thumbnail, as `verify.Probe` does."""

    def against(self, thumbnail: bytes) -> Geometry | None:
        """Return where the query lies in it; None where they do not agree."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A hit, its E where it is known, and where the query lies in the picture, if it was seen."""

    hit: Hit
    expected: Estimate | None
    verdict: FindVerdict
    geometry: Geometry | None = None


def judge(
    conn: Connection, hits: Sequence[Hit], probe: Verifier, calibration: Calibration
) -> list[Judged]:
    """Judge hits, given nearest first, and verify those that leave a doubt, parts above all."""
    unverified = {hit.sha256: _unverified(hit, calibration) for hit in hits}
    doubted = [hit for hit in hits if _is_doubted(hit, unverified[hit.sha256])][:MOST_VERIFIED]
    thumbnails = _thumbnails(conn, [hit.sha256 for hit in doubted])
    seen = {name: probe.against(data) for name, data in thumbnails.items()}
    return [_judged(hit, unverified[hit.sha256], calibration, seen, len(doubted)) for hit in hits]


def _unverified(hit: Hit, calibration: Calibration) -> Estimate | None:
    return expected(calibration, hit.name, hit.distance, chances=hit.chances)


def _is_doubted(hit: Hit, estimate: Estimate | None) -> bool:
    if hit.kind == "part":
        return True
    return hit.distance > SURE_BITS or verdict_of(estimate) != "match"


def _judged(
    hit: Hit,
    before: Estimate | None,
    calibration: Calibration,
    seen: Mapping[str, Geometry | None],
    candidates: int,
) -> Judged:
    """Raise what geometry confirmed; lower what it had the chance to confirm and did not."""
    geometry = seen.get(hit.sha256)
    if geometry is not None:
        after = verified(before, calibration, VERIFIER, geometry.inliers, candidates=candidates)
        return Judged(hit, after, verdict_of(after), geometry)
    verdict = verdict_of(before)
    if hit.kind == "part" and verdict != "none":
        verdict = "review"
    elif hit.sha256 in seen and hit.distance > SURE_BITS:
        verdict = _LOWER.get(verdict, verdict)
    return Judged(hit, before, verdict)


def _thumbnails(conn: Connection, digests: Iterable[str]) -> dict[str, bytes]:
    wanted = [bytes.fromhex(digest) for digest in digests]
    query = select(_THUMBNAILS.c.sha256, _THUMBNAILS.c.data).where(_THUMBNAILS.c.sha256.in_(wanted))
    return {sha256.hex(): data for sha256, data in conn.execute(query)}
