"""How far two pictures of the same size are apart, channel by channel."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any


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
    profile = pixel_profile(first, second)
    return None if profile is None else profile.distance


@dataclass(frozen=True, slots=True)
class PixelProfile:
    """How and where two pictures differ: largest and mean level of 255, fraction, bounding box.

    The box is left, top, right and bottom, the last two exclusive; None where nothing differs.
    """

    distance: PixelDistance
    mean_level: float
    box: tuple[int, int, int, int] | None


def pixel_profile(first: bytes, second: bytes) -> PixelProfile | None:
    """Compare two encoded pictures in more detail; None as `pixel_distance` has it."""
    import numpy as np  # noqa: PLC0415  # only comparisons need it

    pictures = [_levels(data) for data in (first, second)]
    left, right = pictures
    if left is None or right is None or left.shape != right.shape:
        return None
    change = np.abs(left - right)
    largest = change.max(axis=2)
    rows, columns = np.nonzero(largest.any(axis=1))[0], np.nonzero(largest.any(axis=0))[0]
    box = None
    if rows.size:
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    distance = PixelDistance(int(largest.max()), float((largest > 0).mean()))
    return PixelProfile(distance, float(change.mean()), box)


def _levels(data: bytes) -> Any:
    """Return a picture's levels, (height, width, 4) of int16; None when it is none."""
    import numpy as np  # noqa: PLC0415
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGBA"), dtype=np.int16)
    except (UnidentifiedImageError, OSError):
        return None
