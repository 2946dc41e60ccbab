"""Everything that is computed of an asset when it comes in, from one decoding.

Neither stores nor compares.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.core.digests import sha256_hex
from registry.core.fingerprint import FingerprintValue, Thumbnail
from registry.similarity import borders, frames, palette, pdq, segments, texts, thumbs, votes
from registry.similarity.decode import MEDIA_TYPES, ImageLimits, open_image, shown_size
from registry.similarity.features import shrunk
from registry.similarity.fingerprints import (
    DRAFT_SIDE,
    NOT_FINGERPRINTABLE,
    PHASH256,
    black_value,
    grey_of,
    pixels_digest,
    scaled,
    values_of,
)

if TYPE_CHECKING:
    from PIL import Image

BLACK = "black-phash256-draft512-lanczos64-gap2-v1"
"""`PHASH256` with black in place of white; only of a picture that is transparent in part."""

NAMES = (
    PHASH256,
    BLACK,
    borders.TRIMMED,
    frames.FRAMES,
    segments.SEGMENTS,
    votes.VOTES,
    palette.PALETTE,
    pdq.PDQ,
)
"""Every fingerprint that a picture may get."""

_Named = tuple[str, bytes, int]


@dataclass(frozen=True, slots=True)
class Prints:
    """What was computed of an asset, and what its decoding told.

    `values` are its fingerprints, none of them of anything flat; `thumbnail` is a small grey JPEG.
    `width` and `height` are those of the file, upright, `format` is Pillow's, and `pixels` the
    `pixels-v1` digest, where it was asked for. All are None for what is no picture.
    """

    sha256: str
    values: tuple[FingerprintValue, ...] = ()
    thumbnail: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    format: str | None = None
    pixels: str | None = None

    @property
    def thumbnails(self) -> tuple[Thumbnail, ...]:
        """The thumbnail as it is stored, if there is one."""
        if self.thumbnail is None:
            return ()
        return (Thumbnail(self.sha256, self.thumbnail, algorithms()),)


@functools.cache
def algorithms() -> str:
    """Return the name of the set of algorithms by which pictures are hashed.

    It changes with every name in it: an asset whose thumbnail says another was hashed by others.
    """
    return f"prints-{hashlib.sha256(' '.join(NAMES).encode()).hexdigest()[:16]}"


def prints_of(
    data: bytes,
    limits: ImageLimits,
    *,
    image: Image.Image | None = None,
    media_type: str | None = None,
    pixels: bool = True,
    sha256: str | None = None,
) -> Prints:
    """Compute everything of an asset's bytes. Raises InputError as `open_image` does.

    Of a `media_type` that is no picture's, only texts have one; without one, a picture is expected.
    `image` is the picture where it is at hand, so that it is not decoded again: from `open_image`
    with `DRAFT_SIDE`, or the one that `data` encodes without loss. Without `pixels`, their digest,
    which reads all of them, is left out. `sha256` (hex) is the digest of `data`, where it is known.
    """
    sha256 = sha256 or sha256_hex(data)
    if media_type is not None and media_type not in MEDIA_TYPES.values():
        said = texts.text_print(data, media_type)
        return Prints(sha256, () if said is None else (said,))
    shown = open_image(data, limits, least=DRAFT_SIDE) if image is None else image
    grey = grey_of(shown)
    small = shrunk(grey, thumbs.SIDE)
    looks = [*_looks(shown, grey, small), *_frames(data, limits, shown)]
    named = [*looks, (palette.PALETTE, palette.palette_of(shown), 100)]
    width, height = shown_size(shown)
    return Prints(
        sha256,
        tuple(FingerprintValue(sha256, *value) for value in named),
        thumbs.thumbnail_of(small),
        () if looks else (NOT_FINGERPRINTABLE,),
        width,
        height,
        shown.format,
        pixels_digest(shown) if pixels else None,
    )


def _looks(image: Image.Image, grey: Image.Image, small: Image.Image) -> Iterator[_Named]:
    """Yield what can be matched of one picture: as decoded, as luma, and that as a thumbnail."""
    luma = scaled(grey)
    whole, *parts = values_of([luma, *segments.regions_of(grey, luma)])
    if whole is not None:
        yield PHASH256, *whole
    black = black_value(image)
    if black is not None and black != whole:
        yield BLACK, *black
    trimmed = borders.trimmed_value(grey)
    if trimmed is not None:
        yield borders.TRIMMED, *trimmed
    regions = segments.chosen(parts)
    if regions:
        yield segments.SEGMENTS, b"".join(regions), 100
    shared = votes.votes_of(small) if whole or regions else b""
    if shared:
        yield votes.VOTES, shared, 100
    checked = None if whole is None else pdq.pdq_of(grey)
    if checked is not None:
        yield pdq.PDQ, *checked


def _frames(data: bytes, limits: ImageLimits, image: Image.Image) -> Iterator[_Named]:
    found = frames.frames_of(data, limits) if frames.is_animated(image) else ()
    if found:
        value = b"".join(value for _, value, _ in found)
        yield frames.FRAMES, value, min(quality for _, _, quality in found)
