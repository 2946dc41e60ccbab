"""E: how many false matches a look-up is expected to give, from distances that were counted.

Pure arithmetic over a calibration; knows nothing of pictures, banks or where it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from registry.core.look_up import FindVerdict
from registry.errors import InputError

CONFIDENCE = 0.95
"""Of the upper bounds: one-sided, after Clopper and Pearson (1934)."""
FARTHEST = 128
"""Largest distance that is counted, in bits: pictures with nothing in common differ in 128."""
ANCHOR_HITS = 5.0
"""Independent false matches that a tail starts from: fewer say too little of where it stands."""
FLATTEST_BITS = 16.0
"""Bits in which a tail's bound falls tenfold. Counted tails are steeper nearly everywhere; this
is the flattest that was measured, on studio shots of products (1e-8 at 35 bits, 1e-9 at 19)."""
HARDEST_BITS, HARDEST_RATE = 35, 1e-8
"""Where that tail stands. No bound from fewer hits is lower: a library may be as hard."""
MATCH_EXPECTED = 0.01
"""Largest bound of E of a `match`: a false one in a hundred such queries, at the worst."""
PROBABLE_EXPECTED = 0.5
"""Largest bound of E that is `probable`: more likely right than not, at the worst."""
REVIEW_EXPECTED = 30.0
"""Largest bound of E of a `review`: beyond, a person would look at chance alone."""


@dataclass(frozen=True, slots=True)
class Distances:
    """How near pictures of different sources came to each other, by one fingerprint.

    Of `pairs` values, `hits[d]` pairs differ in at most d bits, d from 0 to `FARTHEST`. Pictures
    of one source are no independent trials: `effective[d]` is the number of independent hits that
    would vary as much as these do when the sources are drawn again (see `docs/certainty.md`).
    """

    pairs: int
    sources: int
    hits: tuple[int, ...]
    effective: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Passes:
    """How often a verifier agreed on pictures of different sources that looked alike.

    Of `trials`, `passes[k]` had k or more inliers; `effective[k]` as in `Distances`.
    """

    trials: int
    sources: int
    passes: tuple[int, ...]
    effective: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was counted, by the names of fingerprints and verifiers, and `made`, how and of what.

    `record` is the log's record of it, None of the one that is shipped.
    """

    fingerprints: Mapping[str, Distances]
    verifiers: Mapping[str, Passes]
    made: Mapping[str, Any] = field(default_factory=dict)
    record: str | None = None
    fallback: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate or a number of false matches, its upper bound, and whether it goes beyond counts."""

    value: float
    bound: float
    extrapolated: bool = False

    def times(self, factor: float) -> Estimate:
        """Return this for so many chances."""
        return Estimate(self.value * factor, self.bound * factor, self.extrapolated)


def expected(
    calibration: Calibration, name: str, distance: int, *, chances: int
) -> Estimate | None:
    """Return E of a hit: of so many comparisons, those of chance that are this near or nearer.

    `chances` is the size of the bank, stored values, times the variants of the query that were
    looked for at that distance. None where nobody calibrated that fingerprint.
    """
    rate = false_positive_rate(calibration, name, distance)
    return None if rate is None else rate.times(chances)


def verified(
    unverified: Estimate | None,
    calibration: Calibration,
    verifier: str,
    inliers: int,
    *,
    candidates: int,
) -> Estimate | None:
    """Return E of a hit that geometry confirmed with so many inliers, of `candidates` that it saw.

    False ones among the candidates are as many as expected, and no more than there are; each
    passes as seldom as hard negatives do. What nobody calibrated changes nothing.
    """
    counted = calibration.verifiers.get(verifier)
    if counted is None and calibration.fallback is not None:
        return verified(unverified, calibration.fallback, verifier, inliers, candidates=candidates)
    if counted is None:
        return unverified
    rate = pass_rate(counted, inliers)
    before = unverified or Estimate(candidates, candidates)
    return Estimate(
        min(before.value, candidates) * rate.value,
        min(before.bound, candidates) * rate.bound,
        before.extrapolated or rate.extrapolated,
    )


def false_positive_rate(calibration: Calibration, name: str, distance: int) -> Estimate | None:
    """Return the rate at which two pictures with nothing in common are this near, or nearer.

    A registry's own counts hold where it has some. Where it has none, its guess is never below
    that of the calibration it falls back on: few pairs must not make it sure.
    """
    own, other = calibration.fingerprints.get(name), calibration.fallback
    theirs = None if other is None else false_positive_rate(other, name, distance)
    if own is None:
        return theirs
    mine = rate_of(own, distance)
    if theirs is None or not mine.extrapolated:
        return mine
    return Estimate(max(mine.value, theirs.value), max(mine.bound, theirs.bound), extrapolated=True)


def verdict_of(estimate: Estimate | None) -> FindVerdict:
    """Return the verdict on a hit by the bound of its E; one without E is for a person."""
    if estimate is None:
        return "review"
    if estimate.bound <= MATCH_EXPECTED:
        return "match"
    if estimate.bound <= PROBABLE_EXPECTED:
        return "probable"
    return "review" if estimate.bound <= REVIEW_EXPECTED else "none"


@lru_cache(maxsize=4096)
def rate_of(counted: Distances, distance: int) -> Estimate:
    """Return the rate of pairs within a distance, by counts where there are any, else by a tail."""
    at = min(distance, FARTHEST)
    anchor = next((d for d, hits in enumerate(counted.effective) if hits >= ANCHOR_HITS), None)
    if anchor is not None and at >= anchor:
        return _counted(counted.hits[at], counted.effective[at], counted.pairs)
    first = next((d for d, hits in enumerate(counted.hits) if hits), None)
    if first is None or anchor is None:  # too little was near: what the sources allow
        rate = counted.hits[at] / counted.pairs
        return Estimate(rate, max(rate, upper_bound(0, _of_sources(counted))), extrapolated=True)
    start, least = rate_of(counted, anchor), max(first, at)
    near = _counted(counted.hits[least], counted.effective[least], counted.pairs)
    fallen = 10 ** ((at - anchor) / _bits_of_ten(counted, anchor))
    slowly = 10 ** ((at - anchor) / FLATTEST_BITS)
    bound = near.bound if at >= first else min(near.bound, start.bound * slowly)
    return Estimate(
        near.value if at >= first else min(near.value, start.value * fallen),
        max(bound, min(start.bound, _hardest(at))),
        extrapolated=at < first,
    )


def pass_rate(counted: Passes, inliers: int) -> Estimate:
    """Return the rate at which hard negatives reach so many inliers; beyond all, its bound."""
    at = min(inliers, len(counted.passes) - 1)
    if counted.passes[at]:
        return _counted(counted.passes[at], counted.effective[at], counted.trials)
    return Estimate(0.0, upper_bound(0, min(counted.trials, _of_sources(counted))), True)


def upper_bound(hits: float, trials: float) -> float:
    """Return the one-sided 95 % upper bound of a rate; for no hits, nearly 3 in all trials."""
    if trials <= hits:
        return 1.0
    from scipy.special import betaincinv  # noqa: PLC0415  # heavy: only for a look-up

    return float(betaincinv(hits + 1, trials - hits, CONFIDENCE))


def _counted(hits: int, effective: float, trials: int) -> Estimate:
    """Bound a counted rate as if only the independent of its hits had been tried for."""
    rate = hits / trials
    return Estimate(rate, max(rate, upper_bound(effective, effective / rate)))


def _hardest(distance: int) -> float:
    """Return the rate of the hardest pictures on record."""
    return HARDEST_RATE * 10 ** ((distance - HARDEST_BITS) / FLATTEST_BITS)


def _of_sources(counted: Distances | Passes) -> int:
    """Return how many pairs of sources there were: crops of the same two tell little more."""
    return counted.sources * (counted.sources - 1) // 2


def _bits_of_ten(counted: Distances, anchor: int) -> float:
    """Return in how many bits the counted tail falls tenfold, from ten times the anchor's rate."""
    start = counted.hits[anchor]
    for distance in range(anchor, len(counted.hits)):
        if counted.hits[distance] >= 10 * start:
            return (distance - anchor) / math.log10(counted.hits[distance] / start)
    return FLATTEST_BITS


def to_json(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as plain values, as it is shipped and as a record's table holds it."""
    return {
        "v": 1,
        "fingerprints": {
            name: {
                "pairs": one.pairs,
                "sources": one.sources,
                "hits": list(one.hits),
                "effective": [round(number, 3) for number in one.effective],
            }
            for name, one in sorted(calibration.fingerprints.items())
        },
        "verifiers": {
            name: {
                "trials": one.trials,
                "sources": one.sources,
                "passes": list(one.passes),
                "effective": [round(number, 3) for number in one.effective],
            }
            for name, one in sorted(calibration.verifiers.items())
        },
        "made": dict(calibration.made),
    }


def from_json(table: Mapping[str, Any]) -> Calibration:
    """Read what `to_json` gave. Raises InputError (`calibration.invalid`) for anything else."""
    try:
        return _read(table)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"not a table of a calibration: {error}", code="calibration.invalid"
        ) from error


def _read(table: Mapping[str, Any]) -> Calibration:
    if table["v"] != 1:
        raise ValueError(f"its version is {table['v']!r}")
    return Calibration(
        {name: _distances(one) for name, one in table["fingerprints"].items()},
        {name: _passes(one) for name, one in table["verifiers"].items()},
        dict(table["made"]),
    )


def _distances(given: Mapping[str, Any]) -> Distances:
    pairs, sources = int(given["pairs"]), int(given["sources"])
    return Distances(pairs, sources, *_curve(given["hits"], given["effective"], pairs, rising=True))


def _passes(given: Mapping[str, Any]) -> Passes:
    trials, sources = int(given["trials"]), int(given["sources"])
    curve = _curve(given["passes"], given["effective"], trials, rising=False)
    return Passes(trials, sources, *curve)


def _curve(
    hits: Any, effective: Any, trials: int, *, rising: bool
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Check a cumulative count: a table that was not counted must not make anybody sure."""
    counts, independent = tuple(map(int, hits)), tuple(map(float, effective))
    ordered = sorted(counts, reverse=not rising)
    if not counts or len(counts) != len(independent) or list(counts) != ordered:
        raise ValueError("its counts are not cumulative")
    if rising and len(counts) != FARTHEST + 1:
        raise ValueError(f"it counts {len(counts)} distances; expected {FARTHEST + 1}")
    if min(counts) < 0 or max(counts) > trials:
        raise ValueError("its counts are not between 0 and its trials")
    for one, number in zip(counts, independent, strict=True):
        if not (0 < number <= one if one else number == 0):
            raise ValueError("its independent hits are not between 0 and its hits")
    return counts, independent
