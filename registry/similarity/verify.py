"""Whether one picture shows a part of another: local features that agree on one place.

ORB features (Rublee et al., 2011) and a similarity transform by RANSAC. Knows neither candidates
nor banks; compares a query with the thumbnail that is stored of an asset.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from registry.similarity.segments import grey_of

if TYPE_CHECKING:
    from PIL import Image

VERIFIER = "orb500-side320-ransac-v1"
"""ORB, 500 features of a picture of 320 pixels on its longest side, similarity by RANSAC."""
THUMBNAIL_SIDE = 320
"""Longest side of the thumbnail that is stored of an asset, pixels."""
MIN_INLIERS = 12
"""Fewest features that have to agree; measured on pairs of different photographs."""
QUERY_SIDE = 480
"""Longest side of a query, pixels: larger than a thumbnail, for it may show little of the asset."""

_FEATURES = 500
_QUERY_FEATURES = 800
_FAST_LEVEL = 10
_RATIO = 0.85
_MOST_BITS = 64
_PIXELS = 5.0
_TRIALS = 1000
_LEAST_SCALE, _MOST_SCALE = 0.15, 6.0
_LEAST_SPREAD = 0.02
_LEAST_PLACES = 0.5

_LOCAL = threading.local()


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where in an asset the query lies.

    `inliers` features agree; the asset was mirrored (if so), turned by `rotation` degrees
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
class Features:
    """Corners of a grey picture: `points` (n, 2) float32 in pixels, `descriptors` (n, 32) uint8."""

    points: Any
    descriptors: Any
    size: tuple[int, int]


class Probe:
    """A query: its features are computed when they are first needed, and once."""

    def __init__(self, image: Image.Image) -> None:
        """Keep a decoded picture, of any size and mode."""
        self._image = image

    def against(self, thumbnail: bytes) -> Geometry | None:
        """Compare the query with an asset's thumbnail, as it is and mirrored.

        None where too few features agree, where they agree on no place that a part of a picture
        could have, or where the thumbnail is none.
        """
        grey = _decoded(thumbnail)
        if grey is None:
            return None
        asset = features_of(grey, _FEATURES)
        found = [
            geometry
            for mirrored, query in ((False, self.plain), (True, self.mirrored))
            if (geometry := agreement(query, asset, mirrored=mirrored)) is not None
        ]
        return max(found, key=lambda geometry: geometry.inliers, default=None)

    @cached_property
    def _grey(self) -> Any:
        import numpy as np  # noqa: PLC0415  # heavy: only with a picture

        return np.asarray(scaled(grey_of(self._image), QUERY_SIDE))

    @cached_property
    def plain(self) -> Features:
        """The features of the query as it is."""
        return features_of(self._grey, _QUERY_FEATURES)

    @cached_property
    def mirrored(self) -> Features:
        """The features of the query with left and right exchanged."""
        import numpy as np  # noqa: PLC0415

        return features_of(np.ascontiguousarray(self._grey[:, ::-1]), _QUERY_FEATURES)


def scaled(grey: Image.Image, side: int) -> Image.Image:
    """Return a picture with `side` pixels on its longest side, or as it is where it has fewer."""
    from PIL import Image  # noqa: PLC0415

    share = side / max(grey.size)
    if share >= 1:
        return grey
    size = (max(1, round(grey.width * share)), max(1, round(grey.height * share)))
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def features_of(grey: Any, count: int) -> Features:
    """Return up to `count` features of a grey picture, (height, width) uint8, strongest first."""
    import numpy as np  # noqa: PLC0415

    points, descriptors = _detector(count).detectAndCompute(grey, None)
    places = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
    if descriptors is None:
        descriptors = np.empty((0, 32), np.uint8)
    return Features(places, descriptors, (grey.shape[1], grey.shape[0]))


def agreement(query: Features, asset: Features, *, mirrored: bool = False) -> Geometry | None:
    """Return where in the asset the query lies by its features; None where they do not agree.

    Refuses what no part of a picture gives: a scale out of range, and inliers that all stand on
    one spot or on one line.
    """
    import cv2  # noqa: PLC0415

    source, target = _pairs(query, asset)
    if len(source) < MIN_INLIERS:
        return None
    matrix, inside = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_PIXELS, maxIters=_TRIALS
    )
    if matrix is None:
        return None
    chosen = inside.ravel().astype(bool)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    inliers = min(_places(source[chosen]), _places(target[chosen]))
    if inliers < MIN_INLIERS or not _is_sane(scale, target[chosen], asset.size):
        return None
    turned = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    shown = max(asset.size) / (scale * max(query.size))
    box = _box(matrix, query.size, asset.size)
    return Geometry(inliers, mirrored, round(-turned, 1) + 0.0, round(shown, 3), box)


def _pairs(query: Features, asset: Features) -> tuple[Any, Any]:
    """Return the places of features that are each other's nearest by far, (n, 2) twice."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    nothing = np.empty((0, 2), np.float32)
    if len(query.descriptors) < 2 or len(asset.descriptors) < 2:
        return nothing, nothing
    bits, nearest = cv2.batchDistance(
        asset.descriptors, query.descriptors, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=2
    )
    good = (bits[:, 0] <= _MOST_BITS) & (bits[:, 0] < _RATIO * bits[:, 1])
    return query.points[nearest[good, 0]], asset.points[good]


def _places(points: Any) -> int:
    """Count the places that differ by more than half a pixel: a corner is found at many scales."""
    import numpy as np  # noqa: PLC0415

    return len(np.unique(np.round(points * _LEAST_PLACES), axis=0))


def _is_sane(scale: float, points: Any, size: tuple[int, int]) -> bool:
    """Tell whether the inliers spread over two dimensions of the asset at a believable scale."""
    import numpy as np  # noqa: PLC0415

    if not _LEAST_SCALE <= scale <= _MOST_SCALE:
        return False
    spread = np.sqrt(np.clip(np.linalg.eigvalsh(np.cov(points.T)), 0, None))
    return bool(spread[0] >= _LEAST_SPREAD * max(size))


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


def _detector(count: int) -> Any:
    """Return this thread's detector: one holds buffers, and threads must not share them."""
    import cv2  # noqa: PLC0415

    kept: dict[int, Any] = _LOCAL.__dict__.setdefault("detectors", {})
    if count not in kept:
        cv2.setNumThreads(1)  # callers run in parallel themselves
        kept[count] = cv2.ORB_create(count, fastThreshold=_FAST_LEVEL)
    return kept[count]
