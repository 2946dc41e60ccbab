"""What identifies a picture beyond its bytes: the digest of its pixels and a perceptual hash.

Computes from decoded pictures; neither stores nor compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.core.digests import sha256_hex
from registry.core.fingerprint import FingerprintValue
from registry.core.pixels import pixels_v1_of
from registry.errors import InputError
from registry.similarity.decode import INEXACT, ImageLimits, open_image

if TYPE_CHECKING:
    from PIL import Image

PHASH256 = "phash256-draft512-white-lanczos64-gap2-v2"
"""The perceptual hash: `imagehash.phash` of 16x16 frequencies, 256 bits, 32 bytes.

The name holds what leads to the value: a JPEG decoded at a half, a quarter or an eighth where both
sides keep 512 pixels, alpha on white, ITU-R 601 luma, Lanczos to 64x64 with a reducing gap of 2,
and the version of this module's rules. A change of any of them is a new name.
"""
PHASH256_V1 = "phash256-white-lanczos64-gap2-v1"
"""What was stored before: the same, but JPEGs decoded whole; a few bits apart, and only for them.

Values of both names are compared with each other.
"""
DRAFT_SIDE = 512
"""What both sides of a JPEG keep when it is decoded smaller, pixels."""
BITS = 256
EDGE = 64
_FREQUENCIES = 16
MIN_QUALITY = 50
"""Least quality of a picture that gets a fingerprint, of 100."""
NOT_FINGERPRINTABLE = "not fingerprintable: the picture is flat, or nearly so; exact matches only"

_MIN_ONES = 64
"""Fewest set bits of a usable hash: half of 256 are set unless most frequencies are absent."""
_MIN_DETAIL = 100
"""Fewest of the 255 frequencies that a usable picture has; photographs have over 200, a vignette,
a square or a checkerboard under 95: their hashes are made of rounding, and equal each other's."""
_FAINT = 4.0
"""Strength up to which a frequency may be rounding or compression, in levels (orthonormal DCT)."""
_STRIP_PIXELS = 1 << 16

Value = tuple[bytes, int]
"""A hash and its quality."""


def fingerprint(
    data: bytes, limits: ImageLimits, *, image: Image.Image | None = None
) -> FingerprintValue | None:
    """Return the perceptual fingerprint of an encoded picture.

    None when the picture is not fingerprintable: solids and gradients all share a hash. `image`
    saves decoding `data` once more; of a JPEG, it has to be decoded with `DRAFT_SIDE`. Raises
    InputError as `open_image` does.
    """
    luma = luma_of(open_image(data, limits, least=DRAFT_SIDE) if image is None else image)
    value = value_of(luma)
    return None if value is None else FingerprintValue(sha256_hex(data), PHASH256, *value)


def value_of(luma: Image.Image) -> Value | None:
    """Return the hash and the quality of a `luma_of`; None when it is not fingerprintable."""
    return values_of([luma])[0]


def values_of(lumas: Sequence[Image.Image]) -> list[Value | None]:
    """Return `value_of` each of several: together they are judged faster than one by one."""
    import numpy as np  # noqa: PLC0415  # heavy: only with a picture

    if not lumas:
        return []
    levels = np.stack([np.asarray(luma) for luma in lumas])
    bits = np.stack([_bits(luma).ravel() for luma in lumas])
    quality = _quality(levels)
    usable = (
        (quality >= MIN_QUALITY)
        & (np.count_nonzero(bits, axis=1) >= _MIN_ONES)
        & (_detail(levels) >= _MIN_DETAIL)
    )
    hashes = np.packbits(bits, axis=1)
    return [(hashes[n].tobytes(), int(quality[n])) if usable[n] else None for n in range(len(bits))]


def read_source(source: bytes | Path, limits: ImageLimits) -> bytes:
    """Return the bytes of a file to look up. Raises InputError (`file.*`, `image.too-large`)."""
    if isinstance(source, bytes):
        return source
    try:
        if source.stat().st_size > limits.image_bytes:
            raise InputError(
                f"{source} is larger than {limits.image_bytes} bytes", code="image.too-large"
            )
        return source.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {source}: {error.strerror}", code="file.unreadable"
        ) from error


def pixels_digest(image: Image.Image) -> str | None:
    """Return the `pixels-v1` digest of a picture in memory or from `open_image`.

    None where the pixels are not exact: lossy containers, more than 8 bits, animations. Every
    lossless container of the same pixels gives the same digest.
    """
    if INEXACT in image.info:
        return None
    parts = (strip.convert("RGBA").tobytes() for strip in _strips(image))
    return pixels_v1_of(image.width, image.height, parts)


def _strips(image: Image.Image) -> Iterator[Image.Image]:
    """Yield a picture from the top down, in parts that a processor's cache holds."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def luma_of(image: Image.Image) -> Image.Image:
    """Return a picture as 64x64 luma, the only input of the hash; see `PHASH256`."""
    return scaled(grey_of(image))


def black_value(image: Image.Image) -> Value | None:
    """Return hash and quality on black; None where nothing shines through, or it is flat."""
    if not image.has_transparency_data or _is_opaque(image.convert("RGBA")):
        return None
    return value_of(scaled(grey_of(image, "black")))


def grey_of(image: Image.Image, ground: str = "white") -> Image.Image:
    """Return a picture's luma, ITU-R 601, transparency composited on a ground of one colour."""
    if image.mode == "L" and not image.has_transparency_data:
        return image
    return flattened(image, ground).convert("L")


def flattened(image: Image.Image, ground: str = "white") -> Image.Image:
    """Return a picture in RGB, transparency composited on a ground of one colour."""
    from PIL import Image  # noqa: PLC0415  # heavy: only with a picture

    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("RGBA")
    if _is_opaque(rgba):
        return rgba.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, ground), rgba).convert("RGB")


def _is_opaque(rgba: Image.Image) -> bool:
    return rgba.getchannel("A").getextrema() == (255, 255)


def scaled(grey: Image.Image) -> Image.Image:
    """Return luma of any size at 64x64."""
    from PIL import Image  # noqa: PLC0415

    return grey.resize((EDGE, EDGE), Image.Resampling.LANCZOS, reducing_gap=2.0)


def phash_of(luma: Image.Image) -> bytes:
    """Return the hash, first row first, most significant bit first."""
    import numpy as np  # noqa: PLC0415

    return bytes(np.packbits(_bits(luma)).tobytes())


def _bits(luma: Image.Image) -> Any:
    """Return the hash as (16, 16) bool.

    The picture already has the size that `imagehash` would scale it to, so it hashes it as it is.
    """
    import imagehash  # noqa: PLC0415

    return imagehash.phash(luma, hash_size=_FREQUENCIES, highfreq_factor=EDGE // _FREQUENCIES).hash


def _quality(levels: Any) -> Any:
    """Return PDQ's quality of each, 0 to 100: the sum of steps between neighbours in % of 255.

    After "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (2019), which
    takes it on a 64x64 picture too.
    """
    import numpy as np  # noqa: PLC0415

    signed = levels.astype(np.int32)
    steps = (np.abs(np.diff(signed, axis=axis)) * 100 // 255 for axis in (1, 2))
    return np.minimum(100, sum(step.sum(axis=(1, 2)) for step in steps) // 90)


def _detail(levels: Any) -> Any:
    """Count the frequencies of each one's hash, all but the mean, that the picture really has."""
    import numpy as np  # noqa: PLC0415
    from scipy import fft  # noqa: PLC0415

    strengths = np.abs(fft.dctn(levels, axes=(1, 2), norm="ortho"))
    heard = strengths[:, :_FREQUENCIES, :_FREQUENCIES] > _FAINT
    return np.count_nonzero(heard, axis=(1, 2)) - heard[:, 0, 0]
