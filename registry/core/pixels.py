"""The pixel digest `pixels-v1`: the same picture has it in every lossless container.

Takes decoded pixels; decoding, and applying the EXIF orientation, is done elsewhere.
"""

from __future__ import annotations

import hashlib

from registry.errors import InputError

FORMAT = "genops-pixels-v1"
_MASK = bytes([0]) + bytes([255]) * 255


def pixels_v1(width: int, height: int, rgba: bytes) -> str:
    """Return hex SHA-256 over a header (format name, width, height) and the RGBA8 pixels.

    `rgba` holds 4·width·height bytes, row by row from the top, alpha not premultiplied; colour
    under alpha 0 counts as black. Raises InputError when the length does not fit.
    """
    if width < 1 or height < 1 or len(rgba) != 4 * width * height:
        raise InputError(
            f"{len(rgba)} bytes are not {width}x{height} RGBA pixels", code="pixels.invalid"
        )
    digest = hashlib.sha256(f"{FORMAT}\n{width} {height}\n".encode("ascii"))
    digest.update(_blacken(rgba))
    return digest.hexdigest()


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
