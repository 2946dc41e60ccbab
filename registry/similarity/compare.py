"""How far two pictures of the same size are apart, channel by channel."""

from __future__ import annotations

import io
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PixelDistance:
    """The largest change of a channel (levels of 255) and the fraction of pixels that changed."""

    max_level: int
    fraction: float

    def within(self, level: int, fraction: float) -> bool:
        """Tell whether both measures stay within their bounds."""
        return self.max_level <= level and self.fraction <= fraction

    def to_dict(self) -> dict[str, float]:
        """Return JSON-ready measures."""
        return {"max_level": float(self.max_level), "fraction": self.fraction}


def pixel_distance(first: bytes, second: bytes) -> PixelDistance | None:
    """Compare two encoded pictures; None when they differ in size or one cannot be decoded."""
    import numpy as np  # noqa: PLC0415  # only replays need it
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        with Image.open(io.BytesIO(first)) as a, Image.open(io.BytesIO(second)) as b:
            left = np.asarray(a.convert("RGBA"), dtype=np.int16)
            right = np.asarray(b.convert("RGBA"), dtype=np.int16)
    except (UnidentifiedImageError, OSError):
        return None
    if left.shape != right.shape:
        return None
    change = np.abs(left - right).max(axis=2)
    return PixelDistance(int(change.max()), float((change > 0).mean()))
