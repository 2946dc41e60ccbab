"""Whether one picture shows a part of another: local features that agree on one place.

A similarity transform by RANSAC between corners. Compares a query with the thumbnail that is
stored of an asset; knows neither candidates nor banks.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from registry.similarity.features import (
    ASSET_FEATURES,
    THUMBNAIL_SIDE,
    Features,
    both_sides_of,
    features_of,
    mirrored_of,
    shrunk,
)
from registry.similarity.overlap import likeness
from registry.similarity.votes import looked_for

if TYPE_CHECKING:
    from PIL import Image

VERIFIER = "orb500-side320-query480-similarity5-overlap60-v1"
"""500 features of a thumbnail of 320 pixels a side, queries of 480, similarity within 5 pixels, and
60 % of what both show alike."""
MIN_INLIERS = 12
"""Fewest features that have to agree; measured on pairs of different photographs."""
LEAST_LIKENESS = 0.6
"""Share of what both show that has to look alike. Changed photographs show more, but for one in ten
of those that were photographed off a page; two pairs of shoes on one carpet showed 0.51 at most."""
QUERY_SIDE = 480
"""Longest side of a query, pixels: larger than a thumbnail, for it may show little of the asset."""

_RATIO = 0.85
"""How much nearer the nearest feature has to be than the second nearest."""
_MOST_BITS = 64
_PIXELS = 5.0
_TRIALS = 1000
_LEAST_SCALE, _MOST_SCALE = 0.1, 4.0
"""Pixels of the thumbnail to one of the query: an asset is enlarged ten times at most."""
_LEAST_SPREAD = 0.02
"""Least standard deviation of what agrees, across its narrowest direction, of the longest side."""
_PLACE_PIXELS = 2.0
"""Features nearer than this are one: a corner is found at several scales."""


class _Size(NamedTuple):
    """How many features of a query are taken at a size, how many are kept, and how many vote."""

    features: int
    kept: int
    voting: int


_SIZES = {
    QUERY_SIDE: _Size(800, 800, 200),  # which is compared with thumbnails
    THUMBNAIL_SIDE: _Size(500, 150, 150),
    240: _Size(400, 120, 120),
}
"""By the longest side, in pixels: what a query shows of an asset may be larger there, and smaller.

Of an asset 64 corners are stored, the strongest all over it; the query's weaker ones are seldom
among them, and looking for them only costs the room of better ones.
"""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where in an asset the query lies.

    `inliers` places agree; the asset was mirrored (if so), turned by `rotation` degrees
    clockwise, and is `scale` times as long as the query on its longest side: above 1 for a crop,
    below 1 for a screenshot of a page. `box` is what of the asset the query shows: left, top,
    right and bottom in fractions of its sides, within 0 and 1.
    """

    inliers: int
    mirrored: bool
    rotation: float
    scale: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A query at one size: as it is and mirrored, and the features of both."""

    greys: tuple[Any, Any]
    features: tuple[Features, Features]


class Probe:
    """A query: its features are computed when they are first needed, and once.

    Safe between threads.
    """

    def __init__(self, grey: Image.Image) -> None:
        """Keep the luma of a decoded picture of any size."""
        self._grey = grey
        self._seen: dict[int, _Seen] = {}
        self._locks = {side: threading.Lock() for side in _SIZES}

    def begin(self, threads: Executor) -> None:
        """Start to compute what `keys` needs, beside other work."""
        for side in _SIZES:
            threads.submit(self._at, side)

    def against(self, thumbnail: bytes, *, mirrored: bool | None = None) -> Geometry | None:
        """Compare the query with an asset's thumbnail: as it is, mirrored, or by default both.

        None where too few features agree, where they agree on no place that a part of a picture
        could have, where the pictures do not look alike there, or where the thumbnail cannot be
        read.
        """
        grey = _decoded(thumbnail)
        if grey is None:
            return None
        asset = features_of(grey, ASSET_FEATURES)
        found = [
            geometry
            for side in ((False, True) if mirrored is None else (mirrored,))
            if (geometry := self._geometry(grey, asset, side)) is not None
        ]
        return max(found, key=lambda geometry: geometry.inliers, default=None)

    def keys(self, *, mirrored: bool) -> Any:
        """Return the keys by which candidates are looked for, (n, 2) uint16, as `votes` has them.

        Features are taken at several sizes: a crop may be larger than the asset, or smaller.
        """
        import numpy as np  # noqa: PLC0415  # heavy: only with a picture

        return np.concatenate(
            [
                looked_for(self._at(side).features[mirrored], size.voting)
                for side, size in _SIZES.items()
            ]
        )

    def _geometry(self, grey: Any, asset: Features, mirrored: bool) -> Geometry | None:
        """Return where the query lies by its corners, if what both show there looks alike."""
        seen = self._at(QUERY_SIDE)
        place = place_of(seen.features[mirrored], asset)
        if place is None or likeness(seen.greys[mirrored], grey, place.matrix) < LEAST_LIKENESS:
            return None
        return place.geometry(mirrored=mirrored)

    def _at(self, side: int) -> _Seen:
        """Return the query with at most so many pixels a side."""
        import numpy as np  # noqa: PLC0415

        with self._locks[side]:
            if side not in self._seen:
                grey = np.asarray(shrunk(self._grey, side))
                turned = mirrored_of(grey)
                size = _SIZES[side]
                features = both_sides_of(grey, turned, size.features, size.kept)
                self._seen[side] = _Seen((grey, turned), features)
            return self._seen[side]


@dataclass(frozen=True, slots=True)
class Place:
    """How features of a query lie on those of an asset.

    `matrix` (2, 3) takes pixels of the one to pixels of the other, of these sizes; `inliers`
    places agree on it.
    """

    matrix: Any
    inliers: int
    query: tuple[int, int]
    asset: tuple[int, int]

    def geometry(self, *, mirrored: bool) -> Geometry:
        """Return it in terms of the pictures, whatever the sizes that were compared."""
        turned = math.degrees(math.atan2(self.matrix[1, 0], self.matrix[0, 0]))
        scale = math.hypot(self.matrix[0, 0], self.matrix[1, 0])
        shown = max(self.asset) / (scale * max(self.query))
        box = _box(self.matrix, self.query, self.asset)
        return Geometry(self.inliers, mirrored, round(-turned, 1) + 0.0, round(shown, 3), box)


def place_of(query: Features, asset: Features) -> Place | None:
    """Return where in the asset the query lies by its features; None where they do not agree.

    Refuses what no part of a picture gives: a scale out of range, and inliers that all stand on
    one spot or on one line.
    """
    import cv2  # noqa: PLC0415  # heavy: only with a picture

    source, target = _pairs(query, asset)
    if len(source) < MIN_INLIERS:
        return None
    matrix, inside = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_PIXELS, maxIters=_TRIALS
    )
    if matrix is None:
        return None
    chosen = inside.ravel().astype(bool)
    source, target = source[chosen], target[chosen]
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    inliers = min(_places(source), _places(target))
    if inliers < MIN_INLIERS or not _is_sane(scale, target, asset.size):
        return None
    return Place(matrix, inliers, query.size, asset.size)


def _pairs(query: Features, asset: Features) -> tuple[Any, Any]:
    """Return the places, (n, 2) twice, of each feature of the asset and its nearest by far."""
    import numpy as np  # noqa: PLC0415

    if not len(query) or not len(asset):
        nothing = np.empty((0, 2), np.float32)
        return nothing, nothing
    bits = _distances(asset.descriptors, query.descriptors)
    rows = np.arange(len(asset))
    nearest = bits.argmin(axis=1)
    first = bits[rows, nearest].copy()
    bits[rows, nearest] = np.iinfo(bits.dtype).max
    good = (first <= _MOST_BITS) & (first < _RATIO * bits.min(axis=1))
    return query.points[nearest[good]], asset.points[good]


def _distances(some: Any, others: Any) -> Any:
    """Return the distances, (n, m) uint16 in bits, between descriptors."""
    import numpy as np  # noqa: PLC0415

    left = np.ascontiguousarray(some).view(np.uint64)
    right = np.ascontiguousarray(others).view(np.uint64)
    total = np.zeros((len(left), len(right)), np.uint16)
    for word in range(left.shape[1]):
        total += np.bitwise_count(left[:, word, None] ^ right[None, :, word])
    return total


def _places(points: Any) -> int:
    """Count the places that differ by more than `_PLACE_PIXELS` or so."""
    import numpy as np  # noqa: PLC0415

    return len(np.unique(np.floor(points / _PLACE_PIXELS), axis=0))


def _is_sane(scale: float, points: Any, size: tuple[int, int]) -> bool:
    """Tell whether the inliers spread over two dimensions of the asset at a believable scale."""
    import numpy as np  # noqa: PLC0415

    if not _LEAST_SCALE <= scale <= _MOST_SCALE:
        return False
    narrowest = np.linalg.eigvalsh(np.cov(points.T))[0]
    return bool(narrowest >= (_LEAST_SPREAD * max(size)) ** 2)


def _box(
    matrix: Any, query: tuple[int, int], asset: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the part of the asset that the query's corners span."""
    import numpy as np  # noqa: PLC0415

    width, height = query
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    found = corners @ np.asarray(matrix).T / np.asarray(asset, float)
    low, high = np.clip(found.min(axis=0), 0, 1), np.clip(found.max(axis=0), 0, 1)
    left, top, right, bottom = (round(float(value), 3) for value in (*low, *high))
    return left, top, right, bottom


def _decoded(thumbnail: bytes) -> Any:
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    if not thumbnail:
        return None
    return cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_GRAYSCALE)
