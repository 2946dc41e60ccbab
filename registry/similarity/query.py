"""A file as it is looked for: every way in which it may have been an asset of ours.

Computes from bytes; what is stored is not its business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.core.digests import sha256_hex
from registry.similarity import frames, pdq
from registry.similarity.decode import ImageLimits, open_image
from registry.similarity.fingerprints import (
    DRAFT_SIDE,
    NOT_FINGERPRINTABLE,
    grey_of,
    pixels_digest,
)
from registry.similarity.segments import both_sides_of
from registry.similarity.variants import variants

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, of one file.

    `variants` maps what was done to a stored picture ("" for nothing) to the hash of the query with
    that undone, 32 bytes; `segments` maps "" and "mirrored" to the hashes of the query's regions.
    `image` is the decoded picture, at least 512 pixels a side where the file has them. A picture
    that is not `fingerprintable` has neither: only its bytes and pixels can be compared.
    """

    sha256: str
    pixels: str | None
    image: Image.Image = field(repr=False)
    variants: Mapping[str, bytes]
    segments: Mapping[str, tuple[bytes, ...]]
    pdq: bytes | None
    notes: tuple[str, ...] = ()

    @property
    def fingerprintable(self) -> bool:
        """Tell whether the query can be matched by what it looks like."""
        return bool(self.variants or any(self.segments.values()))


def opened(data: bytes, limits: ImageLimits) -> tuple[Image.Image, Image.Image]:
    """Return a picture and its luma. Raises InputError as `open_image` does."""
    image = open_image(data, limits, least=DRAFT_SIDE)
    return image, grey_of(image)


def query_of(
    data: bytes,
    limits: ImageLimits,
    shown: tuple[Image.Image, Image.Image] | None = None,
    *,
    listed: bool = True,
) -> Query:
    """Compute all that is looked for of a picture.

    `shown` is what `opened` gave, where that was called before; without `listed`, PDQ is left out,
    which only banks are searched by. Raises InputError as `opened` does.
    """
    image, grey = opened(data, limits) if shown is None else shown
    looked_for = dict(variants(image, grey)) | dict(_frames(data, limits, image))
    parts = both_sides_of(grey)
    checked = pdq.pdq_of(grey) if listed and "" in looked_for else None
    return Query(
        sha256_hex(data),
        pixels_digest(image),
        image,
        looked_for,
        parts,
        checked[0] if checked else None,
        () if looked_for or parts[""] else (NOT_FINGERPRINTABLE,),
    )


def _frames(data: bytes, limits: ImageLimits, image: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Yield the further frames of an animated query, by their number from 1."""
    if frames.is_animated(image):
        for number, value, _ in frames.frames_of(data, limits):
            yield f"frame {number + 1}", value
