"""The few colours that dominate a picture, for search: what is known for certain, no guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.similarity.fingerprints import flattened

if TYPE_CHECKING:
    from PIL import Image

PALETTE = "palette5-draft512-white-nearest256-box64-maxcoverage-v1"
"""Up to 5 dominant colours, 4 bytes each: red, green, blue, share of the area in percent.

The largest share first. Taken by Pillow's quantizer by maximum coverage, of the picture on white,
of which 256x256 pixels are averaged to 64x64.
"""
MOST = 5
_SAMPLES = 256
_SIDE = 64


@dataclass(frozen=True, slots=True)
class Colour:
    """One dominant colour: red, green and blue of 255, and its share of the area in percent."""

    red: int
    green: int
    blue: int
    share: int


def palette_of(image: Image.Image) -> bytes:
    """Return the value of a decoded picture."""
    from PIL import Image  # noqa: PLC0415  # heavy: only with a picture

    some = flattened(image.resize((_SAMPLES, _SAMPLES), Image.Resampling.NEAREST))
    small = some.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    few = small.quantize(MOST, method=Image.Quantize.MAXCOVERAGE)
    colours, areas = bytes(few.getpalette() or ()), few.histogram()
    found = sorted(((areas[n], colours[3 * n : 3 * n + 3]) for n in range(MOST)), reverse=True)
    shares = ((round(100 * area / _SIDE**2), colour) for area, colour in found)
    return b"".join(colour + bytes([share]) for share, colour in shares if share)


def colours_in(value: bytes) -> tuple[Colour, ...]:
    """Read a value of `palette_of`."""
    return tuple(Colour(*value[start : start + 4]) for start in range(0, len(value), 4))
