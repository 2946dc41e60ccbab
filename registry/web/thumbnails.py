"""Small pictures for the pages: bounded in size, in number and in how many are made at once.

Takes bytes that the vault has checked; knows nothing of ids or requests.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from registry.settings import Limits

EDGE = 480
"""Longest edge of a thumbnail, pixels; a smaller picture keeps its size."""
FORMAT = f"thumbnail-{EDGE}-v1"
MEDIA_TYPE = "image/png"

_KEPT = 512
_AT_ONCE = 2


class Thumbnails:
    """Makes thumbnails and keeps the newest `_KEPT` of them; safe to share between threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def make(self, source: bytes) -> bytes:
        """Return a PNG of a picture and keep nothing of it; raises as `get` does."""
        with self._slots:
            return _render(source, self._limits)

    def get(self, sha256: str, path: Path) -> bytes:
        """Return a PNG of the picture at `path`, whose content has this digest.

        Raises InputError for what is no picture, or one too large to decode.
        """
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
                return self._kept[sha256]
        with self._slots:
            data = _render(path, self._limits)
        with self._lock:
            self._kept[sha256] = data
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return data


def etag(sha256: str) -> str:
    """Return the entity tag of a thumbnail: what it shows, and how it was made."""
    return f'"{FORMAT}-{sha256}"'


def _render(source: bytes | Path, limits: Limits) -> bytes:
    from PIL import Image, ImageOps  # noqa: PLC0415  # heavy: only where a picture is decoded

    from registry.similarity.decode import open_image  # noqa: PLC0415

    picture = ImageOps.exif_transpose(open_image(source, limits))
    if picture.mode not in {"RGB", "RGBA", "L"}:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=6)
    return out.getvalue()
