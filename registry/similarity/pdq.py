"""PDQ, in which lists of hashes are exchanged; only where the extra `pdq` is installed.

After "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (2019). Computes
from decoded pictures; neither stores nor compares.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

PDQ = "pdq256-draft512-white-bilinear512-gap1-v1"
"""PDQ of 256 bits of luma, scaled to 512x512 first as the reference implementation does.

32 bytes, the most significant bit first, as lists write it in hex.
"""
SIDE = 512
MIN_QUALITY = 50
"""Least quality of a PDQ that may be matched, of 100, as its makers recommend."""


@functools.cache
def available() -> bool:
    """Tell whether PDQ can be computed here."""
    return importlib.util.find_spec("pdqhash") is not None


def pdq_of(grey: Image.Image) -> tuple[bytes, int] | None:
    """Return PDQ and its quality of a picture's luma in full size.

    None where the extra is not installed, or the quality is too low to match by.
    """
    if not available():
        return None
    import numpy as np  # noqa: PLC0415  # heavy: only with a picture
    import pdqhash  # noqa: PLC0415  # an extra
    from PIL import Image  # noqa: PLC0415

    square = grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=1.0)
    bits, quality = pdqhash.compute(np.asarray(square.convert("RGB")))
    if quality < MIN_QUALITY:
        return None
    return bytes(np.packbits(bits).tobytes()), int(quality)
