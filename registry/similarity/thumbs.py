"""The small picture that is kept of an asset, by which candidates are verified.

Grey, since what is compared are shapes; no picture to show to people.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from registry.similarity.features import THUMBNAIL_SIDE, shrunk

if TYPE_CHECKING:
    from PIL import Image

SIDE = THUMBNAIL_SIDE
"""Longest side, pixels; a smaller picture keeps its size."""
_QUALITY = 60


def thumbnail_of(grey: Image.Image) -> bytes:
    """Return a picture's luma, `shrunk` to `SIDE` already or not, as a JPEG that small."""
    stream = io.BytesIO()
    shrunk(grey, SIDE).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
