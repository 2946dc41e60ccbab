"""Whether two pictures show the same where one is laid over the other.

Corners alone agree on things photographed in one place: two pairs of shoes on one carpet share the
carpet. Compares pixels of grey pictures; how one lies on the other is found elsewhere.
"""

from __future__ import annotations

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
    part = slice(down[0], down[-1]), slice(across[0], across[-1])
    sums = _in_cells(below[part], above[part], shown[part], down - down[0], across - across[0])
    covered = sums[0] / np.maximum(1, np.outer(np.diff(down), np.diff(across)))
    whole = (sums[0] >= _LEAST_PIXELS) & (covered >= _LEAST_COVERED)
    count, some, others, some_2, others_2, both = sums[:, whole]
    means = some / count, others / count
    spreads = (
        np.sqrt(np.maximum(0, some_2 / count - means[0] ** 2)),
        np.sqrt(np.maximum(0, others_2 / count - means[1] ** 2)),
    )
    common = both / count - means[0] * means[1]
    telling = np.maximum(*spreads) >= _LEAST_CONTRAST
    alike = common[telling] > _LEAST_CORRELATION * (spreads[0] * spreads[1])[telling]
    return float(alike.mean()) if len(alike) else 0.0


def _in_cells(below: Grey, above: Grey, shown: Any, down: Any, across: Any) -> Any:
    """Return the sums over cells with these edges, (6, rows, columns), of what both pictures show.

    They are of ones, of the levels of each picture, of their squares, and of their products.
    """
    import numpy as np  # noqa: PLC0415

    ones = shown.astype(np.int64)
    some, others = below * ones, above * ones
    planes = np.stack((ones, some, others, some * some, others * others, some * others))
    return np.add.reduceat(np.add.reduceat(planes, down[:-1], axis=1), across[:-1], axis=2)
