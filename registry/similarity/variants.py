"""What a picture may have been before somebody turned, mirrored, inverted or framed it.

All on the side of the query: what is stored stays as it was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from registry.similarity.fingerprints import luma_of, phash_of, value_of

if TYPE_CHECKING:
    from PIL import Image

_BORDER_LEVELS = 16
"""Most that a border may differ from its corner, in levels of 255: JPEG leaves some."""
_LEAST_CUT = 0.02
"""A border narrower than this share of a side is left on: it hardly moves the hash."""
_LEAST_LEFT = 0.2
"""What would be smaller than this share of a side is no framed picture, but a mark on a sheet."""


def variants(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Yield the ways in which a query is looked for, each with its value; "" is the picture itself.

    A name says what was done to a stored picture to give the query: seven other orientations,
    `inverted`, and `framed` where the query has a border of one colour. What is hashed is the
    query with that undone. Yields nothing for a picture that is not fingerprintable.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415  # heavy: only with a picture

    luma = luma_of(image)
    plain = value_of(luma)
    if plain is None:
        return
    yield "", plain[0]
    undo = Image.Transpose
    for name, step in (
        ("mirrored", undo.FLIP_LEFT_RIGHT),
        ("upside down", undo.FLIP_TOP_BOTTOM),
        ("turned by 180°", undo.ROTATE_180),
        ("turned left", undo.ROTATE_270),
        ("turned right", undo.ROTATE_90),
        ("flipped along the main diagonal", undo.TRANSPOSE),
        ("flipped along the other diagonal", undo.TRANSVERSE),
    ):
        yield name, phash_of(luma.transpose(step))
    yield "inverted", phash_of(ImageOps.invert(luma))
    inner = unframed(image)
    framed = None if inner is None else value_of(luma_of(inner))
    if framed is not None:
        yield "framed", framed[0]


def unframed(image: Image.Image) -> Image.Image | None:
    """Return what lies inside a border of one colour; None where there is none to speak of."""
    from PIL import Image, ImageChops  # noqa: PLC0415

    picture = image.convert("RGB")
    for corner in ((0, 0), (picture.width - 1, picture.height - 1)):
        sheet = Image.new("RGB", picture.size, picture.getpixel(corner))
        apart = ImageChops.difference(picture, sheet).convert("L")
        box = apart.point(lambda level: 255 * (level > _BORDER_LEVELS)).getbbox()
        if box is not None and _is_frame(box, picture.size):
            return image.crop(box)
    return None


def _is_frame(box: tuple[int, int, int, int], size: tuple[int, int]) -> bool:
    left, top, right, bottom = box
    shares = ((right - left) / size[0], (bottom - top) / size[1])
    return min(shares) < 1 - _LEAST_CUT and min(shares) >= _LEAST_LEFT
