"""Perceptual hashes of the regions of a picture: they survive crops and screenshots of it.

After Steinebach, Liu, Yannikos, "Efficient Cropping-Resistant Robust Image Hashing" (ARES 2014) and
`imagehash.crop_resistant_hash`. Computes from decoded pictures; neither stores nor compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from registry.similarity.fingerprints import EDGE, grey_of, phash_of, value_of

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a region, in pixels; right and bottom lie outside of it."""

SEGMENTS = "segments8-phash256-white-side256-median5-level128-min500-lanczos64-gap2-v1"
"""The hashes of up to 8 bright and dark regions, 32 bytes each, the largest region first.

The name holds what leads to the value: alpha on white, ITU-R 601 luma, regions told apart on a
picture of 256 pixels on its longest side, median of 5, parted at level 128, at least 500 pixels
each, and then the rules of `phash256` for each region's bounding box.
"""
MOST = 8
_SIDE = 256
_MEDIAN = 5
_LEVEL = 128
_LEAST = 500


def segments_of(image: Image.Image) -> tuple[bytes, ...]:
    """Return the hashes of a decoded picture's regions, at most `MOST` of 32 bytes, no two alike.

    Empty where no region has enough to recognise. The picture as a whole is among them only where
    a region reaches from edge to edge.
    """
    return tuple(value for value, _ in _hashed(image))


def both_sides_of(image: Image.Image) -> Mapping[str, tuple[bytes, ...]]:
    """Return `segments_of` a picture under "", and of its regions mirrored under `mirrored`."""
    from PIL import ImageOps  # noqa: PLC0415  # heavy: only with a picture

    found = list(_hashed(image))
    return {
        "": tuple(value for value, _ in found),
        "mirrored": tuple(phash_of(ImageOps.mirror(luma)) for _, luma in found),
    }


def _hashed(image: Image.Image) -> Iterator[tuple[bytes, Image.Image]]:
    """Yield the regions' hashes, no two alike, and the luma that each is of."""
    grey = grey_of(image)
    found: set[bytes] = set()
    for box in boxes_of(grey):
        luma = _luma(grey, box)
        value = value_of(luma)
        if value is not None and value[0] not in found:
            found.add(value[0])
            yield value[0], luma
        if len(found) == MOST:
            return


def boxes_of(grey: Image.Image) -> Iterator[Box]:
    """Yield the bounding boxes of the regions in the picture's own pixels, largest region first.

    A region is a connected area that is bright, or dark, all over. Every one of at least `_LEAST`
    pixels counts, whichever was found first.
    """
    import cv2  # noqa: PLC0415  # heavy: only with a picture
    import numpy as np  # noqa: PLC0415
    from scipy import ndimage  # noqa: PLC0415

    small = np.asarray(_small(grey))
    bright = cv2.medianBlur(small, _MEDIAN) > _LEVEL
    regions: list[tuple[int, Any]] = []
    for mask in (bright, ~bright):
        labels, count = ndimage.label(mask)
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        found = ndimage.find_objects(labels)
        regions += [(int(areas[n + 1]), found[n]) for n in range(count) if areas[n + 1] >= _LEAST]
    scale = grey.width / small.shape[1], grey.height / small.shape[0]
    for _, (rows, columns) in sorted(regions, key=lambda region: -region[0]):
        yield (
            round(columns.start * scale[0]),
            round(rows.start * scale[1]),
            round(columns.stop * scale[0]),
            round(rows.stop * scale[1]),
        )


def _small(grey: Image.Image) -> Image.Image:
    from PIL import Image  # noqa: PLC0415

    share = _SIDE / max(grey.size)
    size = (max(1, round(grey.width * share)), max(1, round(grey.height * share)))
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _luma(grey: Image.Image, box: Box) -> Image.Image:
    from PIL import Image  # noqa: PLC0415

    return grey.resize((EDGE, EDGE), Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)
