"""Corners of a picture that can be found again in a part of it: ORB (Rublee et al., 2011).

Computes from grey pictures; knows neither candidates nor verdicts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_SIDE = 320
"""Longest side at which an asset's features are taken, pixels."""
ASSET_FEATURES = 500
DESCRIPTOR_BYTES = 32
_CELLS = 8
"""Cells along each side of a picture, each of which has its share of the corners that count."""

_FAST_LEVEL = 10
"""Least contrast of a corner, in levels of 255; OpenCV's 20 finds little on cloth."""
_BORDER = 31
"""Pixels from an edge within which ORB takes no corner; in what is a pixel high, it fails."""
_LOCAL = threading.local()


@dataclass(frozen=True, slots=True)
class Features:
    """Corners of a picture of `size` (width, height).

    `points` (n, 2) float32 in pixels, `descriptors` (n, 32) uint8, `strengths` (n,) float32.
    """

    points: Any
    descriptors: Any
    strengths: Any
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.points)

    def only(self, numbers: Any) -> Features:
        """Return those of these numbers, (n,) int."""
        return Features(
            self.points[numbers], self.descriptors[numbers], self.strengths[numbers], self.size
        )


def features_of(grey: Any, count: int) -> Features:
    """Return up to `count` features of a grey picture, (height, width) uint8."""
    found, descriptors = _corners(grey, count)
    return _features(found, descriptors, grey)


def both_sides_of(grey: Any, turned: Any, count: int, most: int) -> tuple[Features, Features]:
    """Return features of a grey picture, and of it mirrored, which is `turned`.

    Of up to `count` they are the first `most`, as `spread` has them. The corners are the same:
    finding them, which takes most of the time, is done once.
    """
    import cv2  # noqa: PLC0415  # heavy: only with a picture

    detector = _detector(count)
    found, descriptors = _corners(grey, count)
    plain = _features(found, descriptors, grey)
    if len(plain) > most:
        chosen = spread(plain)[:most]
        found = [found[number] for number in chosen]
        plain = plain.only(chosen)
    steps = [detector.getScaleFactor() ** level for level in range(detector.getNLevels())]
    edges = [(round(grey.shape[1] / step) - 1) * step for step in steps]
    there = [
        cv2.KeyPoint(
            edges[corner.octave] - corner.pt[0],  # the same pixel of the same size
            corner.pt[1],
            corner.size,
            (540 - corner.angle) % 360,
            corner.response,
            corner.octave,
        )
        for corner in found
    ]
    kept, others = detector.compute(turned, there)
    return plain, _features(kept, others, turned)


def mirrored_of(grey: Any) -> Any:
    """Return a grey picture, (height, width) uint8, with left and right exchanged."""
    import numpy as np  # noqa: PLC0415

    return np.ascontiguousarray(grey[:, ::-1])


def _corners(grey: Any, count: int) -> tuple[Sequence[Any], Any]:
    """Return what OpenCV finds in a picture, and its descriptors; None where it has no room."""
    if min(grey.shape) <= 2 * _BORDER:
        return (), None
    found, descriptors = _detector(count).detectAndCompute(grey, None)
    return found, descriptors


def _features(corners: Sequence[Any], descriptors: Any, grey: Any) -> Features:
    """Return what OpenCV found of a picture."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    if descriptors is None:
        descriptors = np.empty((0, DESCRIPTOR_BYTES), np.uint8)
    points = np.asarray(cv2.KeyPoint.convert(corners), np.float32).reshape(-1, 2)
    strengths = np.array([corner.response for corner in corners], np.float32)
    return Features(points, descriptors, strengths, (grey.shape[1], grey.shape[0]))


def spread(features: Features) -> Any:
    """Return the numbers of all features, the strongest of each of 8x8 cells first.

    Then the second of each, and so on: a part of the picture holds its share of the first.
    """
    import numpy as np  # noqa: PLC0415

    strongest = np.argsort(-features.strengths, kind="stable")
    places = features.points[strongest] * _CELLS / np.asarray(features.size, np.float32)
    cell = places.astype(np.int64) @ np.array([1, _CELLS])
    grouped = np.argsort(cell, kind="stable")
    sorted_cells = cell[grouped]
    rank = np.empty(len(cell), np.int64)
    rank[grouped] = np.arange(len(cell)) - np.searchsorted(sorted_cells, sorted_cells)
    return strongest[np.argsort(rank, kind="stable")]


def shrunk(grey: Image.Image, side: int) -> Image.Image:
    """Return a grey picture with at most `side` pixels a side, both of its sides in proportion."""
    from PIL import Image  # noqa: PLC0415

    share = min(1.0, side / max(grey.size))
    size = (max(1, round(grey.width * share)), max(1, round(grey.height * share)))
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)


def _detector(count: int) -> Any:
    """Return this thread's detector: one holds buffers, and threads must not share them."""
    import cv2  # noqa: PLC0415

    kept: dict[int, Any] = _LOCAL.__dict__.setdefault("detectors", {})
    if count not in kept:
        cv2.setNumThreads(1)  # callers run in parallel themselves
        kept[count] = cv2.ORB.create(count, edgeThreshold=_BORDER, fastThreshold=_FAST_LEVEL)
    return kept[count]
