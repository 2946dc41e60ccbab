"""The pixel digest `pixels-v1`: the same picture has it in every lossless container.

Takes decoded pixels; decoding, and applying the EXIF orientation, is done elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from registry.errors import InputError

FORMAT = "genops-pixels-v1"
_MASK = bytes([0]) + bytes([255]) * 255


def pixels_v1(width: int, height: int, rgba: bytes) -> str:
    """Return hex SHA-256 over a header (format name, width, height) and the RGBA8 pixels.

    `rgba` holds 4·width·height bytes, row by row from the top, alpha not premultiplied; colour
    under alpha 0 counts as black. Raises InputError when the length does not fit.
    """
    _check(width, height, len(rgba))
    return pixels_v1_of(width, height, (rgba,))


def pixels_v1_of(width: int, height: int, parts: Iterable[bytes]) -> str:
    """Return `pixels_v1` of pixels that come in parts, each of whole pixels; raises as it does.

    So no second copy of a large picture has to be held.
    """
    digest = hashlib.sha256(f"{FORMAT}\n{width} {height}\n".encode("ascii"))
    size = 0
    for part in parts:
        digest.update(_blacken(part))
        size += len(part)
    _check(width, height, size)
    return digest.hexdigest()


def _check(width: int, height: int, size: int) -> None:
    if width < 1 or height < 1 or size != 4 * width * height:
        raise InputError(
            f"{size} bytes are not {width}x{height} RGBA pixels", code="pixels.invalid"
        )


def _blacken(rgba: bytes) -> bytes:
    """Zero the colour of fully transparent pixels, as one AND over the whole picture."""
    alpha = rgba[3::4]
    if 0 not in alpha:
        return rgba
    opaque = alpha.translate(_MASK)
    mask = bytearray(b"\xff" * len(rgba))
    for channel in range(3):
        mask[channel::4] = opaque
    joined = int.from_bytes(rgba, "little") & int.from_bytes(mask, "little")
    return joined.to_bytes(len(rgba), "little")
