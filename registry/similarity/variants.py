"""What a picture may have been before somebody turned, mirrored, inverted or framed it.

All on the side of the query: what is stored stays as it was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from registry.similarity.borders import trimmed_value
from registry.similarity.fingerprints import black_value, phash_of, scaled, value_of

if TYPE_CHECKING:
    from PIL import Image


def variants(image: Image.Image, grey: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Yield the ways in which a query is looked for, each with its value; "" is the picture itself.

    A name says what was done to a stored picture to give the query: seven other orientations,
    `inverted`, `framed` where the query has a border of one colour, and `on black` where it is
    transparent in part. What is hashed is the query with that undone. Yields nothing of what is not
    fingerprintable, such as a flat picture; one that is flat on white alone has its other variants.
    `grey` is its luma on white.
    """
    luma = scaled(grey)
    plain = value_of(luma)
    if plain is not None:
        yield "", plain[0]
        yield from _turned(luma)
    framed = trimmed_value(grey)
    if framed is not None:
        yield "framed", framed[0]
    black = black_value(image)
    if black is not None and black != plain:
        yield "on black", black[0]


def _turned(luma: Image.Image) -> Iterator[tuple[str, bytes]]:
    from PIL import Image, ImageOps  # noqa: PLC0415  # heavy: only with a picture

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
