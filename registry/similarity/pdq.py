"""PDQ, in which lists of hashes are exchanged.

After "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (2019): as its
makers' library gives it, but for two bits where a frequency is the median to the last digit.
Computes from decoded pictures alone.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

PDQ = "pdq256-draft512-white-bilinear512-gap1-v1"
"""PDQ of 256 bits of luma, scaled to 512x512 first as the reference implementation does.

32 bytes, the most significant bit first, as lists write it in hex.
"""
SIDE = 512
MIN_QUALITY = 50
"""Least quality of a PDQ that may be matched, of 100, as its makers recommend."""

_BLOCK, _BITS = 64, 16
_REACH = range(-2, 5)
"""Where two boxes of four values read, from the value that is kept."""
_MEDIAN = _BITS * _BITS // 2 - 1
"""Place of the median among the sorted frequencies: the lower of the two in the middle."""


def pdq_of(grey: Image.Image) -> tuple[bytes, int] | None:
    """Return PDQ and its quality of a picture's luma in full size; None below `MIN_QUALITY`."""
    import numpy as np  # noqa: PLC0415  # heavy: only with a picture
    from PIL import Image  # noqa: PLC0415

    square = grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=1.0)
    places, weights = _blur()
    rows = np.einsum("iwx,iw->ix", np.asarray(square)[places].astype(np.float32), weights)
    block = np.einsum("yjw,jw->yj", rows[:, places], weights)
    quality = _quality(block)
    if quality < MIN_QUALITY:
        return None
    frequencies = (_cosines() @ block @ _cosines().T).ravel()
    bits = frequencies > np.sort(frequencies)[_MEDIAN]
    return bytes(np.packbits(bits[::-1]).tobytes()), quality


def _quality(block: Any) -> int:
    """Return the sum of steps between neighbours of the 64x64 block, scaled to 100."""
    import numpy as np  # noqa: PLC0415

    steps = (np.abs((np.diff(block, axis=axis) * 100 / 255).astype(np.int32)) for axis in (0, 1))
    return min(100, sum(int(step.sum()) for step in steps) // 90)


@functools.cache
def _blur() -> Any:
    """Return what two box filters and taking every eighth value read of an axis, and how much.

    Places and weights, each (64, 7). A box is of four values, from one before to two behind, and
    shorter at the ends. No product of matrices: that may start threads, which costs more.
    """
    import numpy as np  # noqa: PLC0415

    box = np.zeros((SIDE, SIDE))
    for place in range(SIDE):
        first, end = max(0, place - 1), min(SIDE, place + 3)
        box[place, first:end] = 1 / (end - first)
    step = SIDE // _BLOCK
    both = (box @ box)[step // 2 :: step]
    places = np.minimum(np.arange(_BLOCK)[:, None] * step + step // 2 + np.array(_REACH), SIDE - 1)
    weights = np.take_along_axis(both, places, axis=1)
    weights[-1, -1] = 0  # the last place again: there is none behind it
    return places, weights.astype(np.float32)


@functools.cache
def _cosines() -> Any:
    """Return the discrete cosine transform to the frequencies 1 to 16, (16, 64)."""
    import numpy as np  # noqa: PLC0415

    frequency, place = np.arange(1, _BITS + 1)[:, None], np.arange(_BLOCK)[None]
    waves = np.cos(np.pi / (2 * _BLOCK) * frequency * (2 * place + 1))
    return (np.sqrt(2 / _BLOCK) * waves).astype(np.float32)
