"""Counts how near pictures of different sources come to each other: the ground of every E.

Computes on values in memory; knows neither where they are from nor what E is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.similarity.certainty import FARTHEST, Distances, Passes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Codes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]

MOST_INLIERS = 64
"""Inliers beyond which nothing is counted any more."""
_WORDS = 4


@dataclass(frozen=True, slots=True)
class Near:
    """Rows `first` and `second` of different sources that differ in `distance` bits."""

    first: int
    second: int
    distance: int


def count_distances(codes: Codes, sources: Numbers) -> Distances:
    """Count the distances of all pairs of `codes` (n, 32) whose `sources` (n,) differ.

    A source is a number, 0 to before the number of sources: the photograph that a crop is from, or
    all assets that one lineage ties. Takes n²/2 comparisons of 32 bytes: a second for 15,000.
    """
    import numpy as np  # noqa: PLC0415  # heavy: only for a calibration

    count = int(sources.max()) + 1 if len(sources) else 0
    hits = np.zeros(FARTHEST + 1, np.int64)
    of_source = np.zeros((count, FARTHEST + 1), np.int64)
    pairs = 0
    for row, others, distances in _rows(codes, sources, FARTHEST):
        pairs += others
        rows, near = distances
        hits += np.bincount(near, minlength=FARTHEST + 1)
        np.add.at(of_source, (sources[rows], near), 1)
        of_source[sources[row]] += np.bincount(near, minlength=FARTHEST + 1)
    total = np.cumsum(hits)
    effective = _effective(total, np.cumsum(of_source, axis=1))
    return Distances(pairs, len(np.unique(sources)), _ints(total), effective)


def count_passes(trials: Sequence[tuple[int, int, int]]) -> Passes:
    """Count what a verifier found in hard negatives: (source, other source, inliers) of each.

    Inliers are 0 where it found no place at all.
    """
    import numpy as np  # noqa: PLC0415

    count = 1 + max((max(a, b) for a, b, _ in trials), default=-1)
    of_source = np.zeros((count, MOST_INLIERS + 1), np.int64)
    passes = np.zeros(MOST_INLIERS + 1, np.int64)
    for first, second, inliers in trials:
        reached = min(inliers, MOST_INLIERS) + 1
        passes[:reached] += 1
        of_source[first, :reached] += 1
        of_source[second, :reached] += 1
    sources = len({source for trial in trials for source in trial[:2]})
    return Passes(len(trials), sources, _ints(passes), _effective(passes, of_source))


def nearest(codes: Codes, sources: Numbers, *, radius: int, most: int) -> list[Near]:
    """Return the nearest pairs of different sources within a radius, nearest first."""
    found = [
        Near(row, int(other), int(distance))
        for row, _, (others, distances) in _rows(codes, sources, radius)
        for other, distance in zip(others, distances, strict=True)
    ]
    return sorted(found, key=lambda near: (near.distance, near.first, near.second))[:most]


def _rows(
    codes: Codes, sources: Numbers, radius: int
) -> Iterator[tuple[int, int, tuple[Any, Any]]]:
    """Yield each row with the number of later rows of other sources, and those within a radius."""
    import numpy as np  # noqa: PLC0415

    words = np.ascontiguousarray(codes).view(np.uint64).reshape(len(codes), _WORDS)
    parts = [np.ascontiguousarray(words[:, n]) for n in range(_WORDS)]
    for row in range(len(codes) - 1):
        distances = np.zeros(len(codes) - row - 1, np.uint16)
        for part in parts:
            distances += np.bitwise_count(part[row + 1 :] ^ part[row])
        apart = sources[row + 1 :] != sources[row]
        near = np.flatnonzero((distances <= radius) & apart)
        yield row, int(apart.sum()), (near + row + 1, distances[near].astype(np.int64))


def _effective(total: Any, of_source: Any) -> tuple[float, ...]:
    """Return how many independent hits vary as much as these do when sources are drawn again.

    A source that is drawn twice brings its hits twice: the variance of the number of hits is the
    sum over sources of the squares of theirs, and as many Poisson hits vary alike.
    """
    import numpy as np  # noqa: PLC0415

    squares = (of_source.astype(np.float64) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(squares > 0, total.astype(np.float64) ** 2 / squares, 0.0)
    return tuple(float(number) for number in np.minimum(found, total))


def _ints(numbers: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers)
