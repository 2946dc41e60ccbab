"""Whether two pictures show the same where one is laid over the other.

Corners alone agree on things photographed in one place: two pairs of shoes on one carpet share the
carpet. Compares pixels of grey pictures; how one lies on the other is found elsewhere.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Grey = npt.NDArray[np.uint8]

_CELLS = 8
"""Cells along each side of what both show."""
_BLUR_PIXELS = 2.0
"""Deviation of the blur before: a picture that was bent or scaled does not lie quite true."""
_LEAST_CORRELATION = 0.5
_LEAST_CONTRAST = 6.0
"""Standard deviation, in levels, below which a cell is plain in both pictures and says nothing."""
_LEAST_COVERED = 0.8
"""Share of a cell that both pictures have to show."""
_LEAST_PIXELS = 16


def likeness(query: Grey, asset: Grey, matrix: Any) -> float:
    """Return the share of what both show, 0 to 1, that looks alike; 0 where all of it is plain.

    `matrix` (2, 3) takes pixels of the query to pixels of the asset. Of the cells of a grid over
    what they share, those count that are not plain; each looks alike where its levels correlate.
    """
    import cv2  # noqa: PLC0415  # heavy: only with a picture
    import numpy as np  # noqa: PLC0415

    size = asset.shape[::-1]
    laid = cv2.warpAffine(query, matrix, size, flags=cv2.INTER_AREA)
    shown = cv2.warpAffine(np.full(query.shape, 255, np.uint8), matrix, size) > 250
    rows, columns = np.nonzero(shown.any(axis=1))[0], np.nonzero(shown.any(axis=0))[0]
    if not len(rows):
        return 0.0
    below, above = (cv2.GaussianBlur(one, (0, 0), _BLUR_PIXELS) for one in (asset, laid))
    down = np.linspace(rows[0], rows[-1] + 1, _CELLS + 1).astype(int)
    across = np.linspace(columns[0], columns[-1] + 1, _CELLS + 1).astype(int)
    cells = [
        (slice(top, bottom), slice(left, right))
        for top, bottom in itertools.pairwise(down)
        for left, right in itertools.pairwise(across)
    ]
    found = [_alike(below[cell], above[cell], shown[cell]) for cell in cells]
    said = [alike for alike in found if alike is not None]
    return sum(said) / len(said) if said else 0.0


def _alike(below: Grey, above: Grey, shown: Any) -> bool | None:
    """Tell whether a cell's levels correlate; None where it is plain, or hardly shown."""
    if shown.size < _LEAST_PIXELS or shown.mean() < _LEAST_COVERED:
        return None
    some, others = below[shown].astype(float), above[shown].astype(float)
    spreads = some.std(), others.std()
    if max(spreads) < _LEAST_CONTRAST:
        return None
    common = ((some - some.mean()) * (others - others.mean())).mean()
    return bool(common > _LEAST_CORRELATION * spreads[0] * spreads[1])
