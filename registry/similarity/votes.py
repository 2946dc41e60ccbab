"""Candidates for parts of pictures: assets that share many local features with a query.

An inverted index from quantised features to assets, as for words of texts (Sivic and Zisserman,
2003); a key is a set of bits of a descriptor. Knows rows and keys; verdicts are not its business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.similarity.features import (
    ASSET_FEATURES,
    THUMBNAIL_SIDE,
    Features,
    features_of,
    shrunk,
    spread,
)
from registry.similarity.fingerprints import grey_of

if TYPE_CHECKING:
    from PIL import Image

VOTES = "votes64-orb500-side320-spread8-keys2x16-v1"
"""Two 16-bit keys, little-endian, of each of up to 64 features of a picture.

The name holds what leads to the value: ORB with 500 features on a picture of at most 320 pixels a
side, the strongest of each of 8x8 cells first, and the bits in `_BITS`.
"""
KEYS = 1 << 16
"""Different keys of one table."""

_FEATURES = 64
_WHOLE_PARTS = 8
"""Features come by the eight: indexes read values in parts of 32 bytes."""
_BITS = (
    (145, 236, 214, 200, 137, 113, 160, 51, 57, 225, 135, 172, 194, 120, 77, 83),
    (66, 94, 121, 215, 6, 181, 126, 204, 142, 29, 174, 251, 213, 111, 12, 90),
)
"""The bits of a descriptor that make its two keys, lowest first.

Chosen one by one on photographs: those most often equal for one corner in a crop and in its source,
for how seldom they are equal for two others. One key is equal for 13 % of the former, and for
0.007 % of the latter; the sixteen steadiest bits alone would be for 0.4 % of the latter.
"""


def votes_of(image: Image.Image) -> bytes:
    """Return the keys of a decoded picture's features, up to 256 bytes; empty where it has few."""
    import numpy as np  # noqa: PLC0415  # heavy: only with a picture

    small = shrunk(grey_of(image), THUMBNAIL_SIDE)
    features = features_of(np.asarray(small), ASSET_FEATURES)
    chosen = spread(features)[:_FEATURES]
    whole = len(chosen) // _WHOLE_PARTS * _WHOLE_PARTS
    return bytes(keys_of(features.descriptors[chosen[:whole]]).tobytes())


def looked_for(features: Features, most: int) -> Any:
    """Return the keys, (n, 2) uint16, of at most so many of a query's features."""
    return keys_of(features.descriptors[spread(features)[:most]])


def keys_of(descriptors: Any) -> Any:
    """Return the keys, (n, 2) uint16 little-endian, of descriptors (n, 32)."""
    import numpy as np  # noqa: PLC0415

    bits = np.unpackbits(descriptors, axis=1)[:, np.array(_BITS)]
    return np.packbits(bits, axis=2, bitorder="little").view("<u2")[:, :, 0]
