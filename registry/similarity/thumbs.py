"""The small picture that is kept of an asset, by which candidates are verified.

Grey, since what is compared are shapes; no picture to show to people.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from registry.similarity.features import THUMBNAIL_SIDE

if TYPE_CHECKING:
    from PIL import Image

SIDE = THUMBNAIL_SIDE
"""Longest side, pixels; a smaller picture keeps its size."""
_QUALITY = 60


def shrunk(grey: Image.Image) -> Image.Image:
    """Return a picture's luma with at most `SIDE` pixels a side."""
    from PIL import Image  # noqa: PLC0415  # heavy: only with a picture

    scale = min(1.0, SIDE / max(grey.size))
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)


def thumbnail_of(grey: Image.Image) -> bytes:
    """Return a picture's luma, or what `shrunk` made of it, as a JPEG that small."""
    stream = io.BytesIO()
    shrunk(grey).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
