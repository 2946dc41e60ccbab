"""Borders of one colour: what is left when a pad, a letterbox or a white sheet is cut off.

Works on luma; both what is stored and what is looked for go through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.similarity.fingerprints import scaled, value_of

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels; right and bottom lie outside of it."""

TRIMMED = "trimmed-phash256-draft512-white-side512-border16-lanczos64-gap2-v1"
"""`PHASH256` of what lies inside a border of one colour; only of a picture that has one.

The border is found on luma of at most twice 512 pixels a side, and keeps within 16 levels of one of
its corners.
"""
_SIDE = 512
_LEVELS = 16
"""Most that a border may differ from its corner, in levels of 255: JPEG leaves some."""
_APART = [255 * (abs(difference) > _LEVELS) for difference in range(-255, 256)]
_LEAST_CUT = 0.02
"""A border narrower than this share of a side is left on: it hardly moves the hash."""
_LEAST_LEFT = 0.2
"""What would be smaller than this share of a side is no framed picture, but a mark on a sheet."""


def trimmed_value(grey: Image.Image) -> tuple[bytes, int] | None:
    """Return hash and quality of a picture's inside, given its luma in full size.

    None where there is no border, or nothing inside to recognise.
    """
    box = inside(grey)
    return None if box is None else value_of(scaled(grey.crop(box)))


def inside(grey: Image.Image) -> Box | None:
    """Return the box inside a border of one colour; None where there is none to speak of."""
    factor = max(1, max(grey.size) // _SIDE)
    small = grey.reduce(factor) if factor > 1 else grey
    corners = ((0, 0), (small.width - 1, small.height - 1))
    for level in dict.fromkeys(small.getpixel(corner) for corner in corners):
        found = _bounds(small, level)  # type: ignore[arg-type]  # luma has one channel
        if found is not None and _is_frame(found, small.size):
            left, top, right, bottom = (factor * edge for edge in found)
            return left, top, min(right, grey.width), min(bottom, grey.height)
    return None


def _bounds(grey: Image.Image, level: int) -> Box | None:
    """Return the box of all that differs from a level."""
    return grey.point(_APART[255 - level : 511 - level]).getbbox()


def _is_frame(box: Box, size: tuple[int, int]) -> bool:
    left, top, right, bottom = box
    shares = ((right - left) / size[0], (bottom - top) / size[1])
    return min(shares) < 1 - _LEAST_CUT and min(shares) >= _LEAST_LEFT
