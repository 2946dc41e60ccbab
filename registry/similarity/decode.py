"""The one way in which pictures are decoded: limits first, then pixels as a viewer shows them.

Refuses by the header, before anything is decoded. Knows nothing of fingerprints or registries.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from registry.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

MEDIA_TYPES = {
    "AVIF": "image/avif",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with further pictures behind the first, as telephones write
    "PNG": "image/png",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
}
"""The formats that are decoded, as Pillow names them, with their media types. No others are tried:
some of Pillow's decoders start other programs."""

_OPENED = tuple(name for name in MEDIA_TYPES if name != "MPO")  # Pillow opens MPO as JPEG first

INEXACT = "genops-inexact"
"""Key in a picture's `info`: why its pixels are not the very ones that were encoded in 8 bits."""
ANIMATED = "animated"
"""The reason of a file with several pictures."""
SHOWN_SIZE = "genops-size"
"""Key in a picture's `info`: its width and height in the file, upright, where it was decoded
smaller."""

_SUFFIXES = {
    ".apng": "image/png",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".jfif": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}
_LOSSLESS_TIFF = {"raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate"}
_EXACT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
_TIFF_BITS = 258
_ORIENTATION = 0x0112
_UPRIGHT = 1
_QUARTER_TURNS = {5, 6, 7, 8}


class ImageLimits(Protocol):
    """What this room needs of `registry.settings.Limits`."""

    @property
    def image_bytes(self) -> int:
        """Largest file that is read, bytes."""

    @property
    def image_pixels(self) -> int:
        """Most pixels of a picture that is decoded."""


def open_image(
    source: bytes | Path, limits: ImageLimits, *, least: int | None = None
) -> Image.Image:
    """Decode a picture as a viewer shows it: EXIF orientation applied, first frame of several.

    The result keeps its `format`, a key of `MEDIA_TYPES`; a 16-bit picture comes in 8 bits. With
    `least`, a JPEG is decoded at a half, a quarter or an eighth of its size as long as both sides
    keep that many pixels (libjpeg's scaled decoding); `shown_size` still tells the whole size.
    Raises InputError: `image.unreadable` (no picture, or of a format that is not decoded),
    `image.truncated` (its end is missing), `image.too-large` (bytes, or pixels by its header:
    nothing is decoded then), `image.suffix` (the file is named as another format).
    """
    if isinstance(source, bytes):
        return _decode(source, "the file", limits, least)
    data = _read(source, limits)
    image = _decode(data, str(source), limits, least)
    if misnamed := suffix_problem(source, image):
        raise InputError(
            f"{source} {misnamed}",
            code="image.suffix",
            hint="rename it, or check that it is the file you mean",
        )
    return image


def shown_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of a picture from `open_image`, as they are in its file."""
    width, height = image.info.get(SHOWN_SIZE, image.size)
    return width, height


def suffix_problem(path: Path, image: Image.Image) -> str | None:
    """Say how a file's suffix contradicts what it holds; None when it does not."""
    named = _SUFFIXES.get(path.suffix.lower())
    found = MEDIA_TYPES[image.format or ""]
    if named is None or named == found:
        return None
    return f"is named as {named}, but holds {found}"


def _read(path: Path, limits: ImageLimits) -> bytes:
    try:
        size = path.stat().st_size
        if size > limits.image_bytes:
            raise _too_large(str(path), f"{size} bytes", f"{limits.image_bytes} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", code="image.unreadable"
        ) from error


def _decode(data: bytes, name: str, limits: ImageLimits, least: int | None) -> Image.Image:
    if len(data) > limits.image_bytes:
        raise _too_large(name, f"{len(data)} bytes", f"{limits.image_bytes} bytes")
    image = open_header(data, name, limits)
    inexact = _why_inexact(image, data)
    size = image.size
    if least is not None:
        image.draft(None, (least, least))
    try:
        image.load()
    except Exception as error:  # decoders raise whatever they trip over
        raise _damaged(name, error) from error
    shown = as_shown(image)
    if inexact:
        shown.info[INEXACT] = inexact
    if size != image.size:
        turned = image.getexif().get(_ORIENTATION) in _QUARTER_TURNS
        shown.info[SHOWN_SIZE] = size[::-1] if turned else size
    return shown


def open_header(data: bytes, name: str, limits: ImageLimits) -> Image.Image:
    """Read the header only, and refuse by the size that it states; raises as `open_image`."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  # heavy: only with a picture

    most = f"{limits.image_pixels} pixels"
    try:
        image = Image.open(io.BytesIO(data), formats=_OPENED)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name, "more pixels than can be decoded safely", most) from None
    except UnidentifiedImageError:
        raise InputError(
            f"{name} is no picture of a kind that is decoded",
            code="image.unreadable",
            hint=f"decoded are {', '.join(sorted(set(MEDIA_TYPES.values())))}",
        ) from None
    except Exception as error:  # decoders raise whatever they trip over
        raise _damaged(name, error) from error
    if image.width * image.height > limits.image_pixels:
        raise _too_large(name, f"{image.width}x{image.height} pixels", most)
    return image


def as_shown(image: Image.Image) -> Image.Image:
    """Turn a picture upright, in 8 bits; keep its format. One that is so already is not copied."""
    from PIL import ImageOps  # noqa: PLC0415

    shown = _eight_bits(image)
    if shown.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
        shown = ImageOps.exif_transpose(shown)
    shown.format = image.format
    return shown


def _eight_bits(image: Image.Image) -> Image.Image:
    """Shift 16 bits down by 8: Pillow's own conversion clips everything bright to white."""
    if not image.mode.startswith(("I", "F")):
        return image
    if image.mode == "F":
        raise InputError(
            "a picture of floating-point values has no fixed range",
            code="image.unreadable",
            hint="convert it to 8 or 16 bits first",
        )
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    values = np.asarray(image).astype(np.int64)
    shifted = Image.fromarray(np.clip(values >> 8, 0, 255).astype(np.uint8))
    shifted.info = dict(image.info)
    return shifted


def _why_inexact(image: Any, data: bytes) -> str | None:
    """Say why the decoded 8-bit pixels are not the encoded ones; None when they are."""
    if getattr(image, "is_animated", False):
        return ANIMATED
    if image.mode not in _EXACT_MODES or _bits(image, data) > 8:
        return f"mode {image.mode}"
    if image.format in {"JPEG", "MPO", "AVIF"}:
        return "lossy"
    if image.format == "WEBP" and not _is_lossless_webp(data):
        return "lossy"
    if image.format == "TIFF" and image.info.get("compression") not in _LOSSLESS_TIFF:
        return "lossy"
    return None


def _bits(image: Any, data: bytes) -> int:
    """Return the bits of a channel: Pillow drops the lower half of a 16-bit RGB picture."""
    if image.format == "PNG":
        return data[24]  # IHDR: signature 8, length 4, type 4, width 4, height 4
    if image.format == "TIFF":
        bits = image.tag_v2.get(_TIFF_BITS, 8)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def _is_lossless_webp(data: bytes) -> bool:
    """Look for the VP8L chunk; the pixels of a lossy picture are in a VP8 chunk."""
    position = 12
    while position + 8 <= len(data):
        kind, size = data[position : position + 4], data[position + 4 : position + 8]
        if kind in {b"VP8L", b"VP8 "}:
            return kind == b"VP8L"
        length = int.from_bytes(size, "little")
        position += 8 + length + length % 2
    return False


def _damaged(name: str, error: Exception) -> InputError:
    ended = isinstance(error, (EOFError, struct.error)) or "truncated" in str(error).lower()
    if ended:
        return InputError(
            f"{name} is truncated: its end is missing",
            code="image.truncated",
            hint="copy or download it again",
        )
    return InputError(f"{name} is damaged: {error}", code="image.unreadable")


def _too_large(name: str, found: str, most: str) -> InputError:
    return InputError(
        f"{name} is too large: {found}; at most {most} are decoded",
        code="image.too-large",
        hint="raise GENOPS_LIMIT_IMAGE_BYTES or GENOPS_LIMIT_IMAGE_PIXELS, if you trust its source",
    )
