"""Perceptual hashes of the regions of a picture: they survive crops and screenshots of it.

After Steinebach, Liu, Yannikos, "Efficient Cropping-Resistant Robust Image Hashing" (ARES 2014) and
`imagehash.crop_resistant_hash`. Computes from decoded pictures; neither stores nor compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from registry.similarity.fingerprints import EDGE, Value, grey_of, phash_of, values_of

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
    return tuple(chosen(values_of(regions_of(grey_of(image)))))


def both_sides_of(image: Image.Image) -> Mapping[str, tuple[bytes, ...]]:
    """Return `segments_of` a picture under "", and of its regions mirrored under `mirrored`."""
    from PIL import ImageOps  # noqa: PLC0415  # heavy: only with a picture

    regions = regions_of(grey_of(image))
    found = chosen(values_of(regions))
    mirrored = tuple(phash_of(ImageOps.mirror(regions[number])) for number in found.values())
    return {"": tuple(found), "mirrored": mirrored}


def chosen(values: Iterable[Value | None]) -> Mapping[bytes, int]:
    """Return the first hashes of regions, at most `MOST` and no two alike, and their numbers."""
    found: dict[bytes, int] = {}
    for number, value in enumerate(values):
        if value is not None and len(found) < MOST:
            found.setdefault(value[0], number)
    return found


def regions_of(grey: Image.Image, whole: Image.Image | None = None) -> list[Image.Image]:
    """Return the luma, 64x64, of each region of a picture's luma in full size, the largest first.

    `whole` is the `scaled` picture where it is at hand: a region may be all of it.
    """
    everything = (0, 0, *grey.size)
    return [
        whole if whole is not None and box == everything else _luma(grey, box)
        for box in boxes_of(grey)
    ]


def boxes_of(grey: Image.Image) -> Iterator[Box]:
    """Yield the bounding boxes of the regions in the picture's own pixels, largest region first.

    A region is a connected area that is bright, or dark, all over. Every one of at least `_LEAST`
    pixels counts, whichever was found first.
    """
    import cv2  # noqa: PLC0415  # heavy: only with a picture
    import numpy as np  # noqa: PLC0415

    small = np.asarray(_small(grey))
    bright = cv2.medianBlur(small, _MEDIAN) > _LEVEL
    regions = [*_regions(bright), *_regions(~bright)]
    wide, high = grey.width / small.shape[1], grey.height / small.shape[0]
    for _, (left, top, right, bottom) in sorted(regions, key=lambda region: -region[0]):
        yield round(left * wide), round(top * high), round(right * wide), round(bottom * high)


def _regions(mask: Any) -> Iterator[tuple[int, Box]]:
    """Yield area and box of each region of a mask (height, width), by its topmost row.

    Of those that begin in one row, the one that begins on the left is first.
    """
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    _, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=4, ltype=cv2.CV_16U)
    areas = np.bincount(labels.ravel())
    areas[0] = 0  # what is not in the mask
    for number in np.flatnonzero(areas >= _LEAST):
        region = (labels == number).view(np.uint8)
        left, top, width, height = cv2.boundingRect(region)
        yield int(areas[number]), (left, top, left + width, top + height)


def _small(grey: Image.Image) -> Image.Image:
    from PIL import Image  # noqa: PLC0415

    share = _SIDE / max(grey.size)
    size = (max(1, round(grey.width * share)), max(1, round(grey.height * share)))
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _luma(grey: Image.Image, box: Box) -> Image.Image:
    from PIL import Image  # noqa: PLC0415

    return grey.resize((EDGE, EDGE), Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)
