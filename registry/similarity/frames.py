"""The further frames of an animation that are hashed beside its first.

Middle and last, and where the scene changes. Decodes one frame after the other, and keeps none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from registry.similarity.decode import ANIMATED, INEXACT, ImageLimits, as_shown, open_header
from registry.similarity.fingerprints import BITS, luma_of, value_of
from registry.similarity.values import bits_apart

if TYPE_CHECKING:
    from PIL import Image

FRAMES = "frames8-phash256-white-middle-last-scenes30-lanczos64-gap2-v1"
"""`PHASH256` of up to 8 frames beside the first, 32 bytes each, in the order in which they show.

The middle and the last one, and of the others each that is more than 30 bits from every frame that
counts so far. Frames with too little to recognise are left out, and so are equal ones.
"""
MOST = 8
_FORMATS = {"AVIF", "GIF", "PNG", "TIFF", "WEBP"}
"""Not MPO: behind its first picture lie previews and depth maps."""
_SCENE_BITS = 30
_MOST_READ = 600

_Hash = tuple[bytes, int]


def is_animated(image: Image.Image) -> bool:
    """Tell of a picture from `open_image` whether its file has further frames that count."""
    return image.format in _FORMATS and image.info.get(INEXACT) == ANIMATED


def frames_of(data: bytes, limits: ImageLimits) -> tuple[tuple[int, bytes, int], ...]:
    """Return number (from 0), hash and quality of the further frames that count.

    Reads at most 600 frames, and no more pixels than one picture may have; what does not decode
    ends the reading. The last frame is the last one read. Raises InputError as `open_image` does.
    """
    with open_header(data, "the picture", limits) as image:
        hashed = list(_hashes(image, limits))
    wanted = [number for number in (len(hashed) // 2, len(hashed) - 1) if number > 0]
    kept = [value for value in hashed[:1] if value is not None]
    chosen: dict[int, _Hash] = {}
    for number in (*wanted, *range(1, len(hashed))):
        value = hashed[number]
        far = 0 if number in wanted else _SCENE_BITS
        if value is None or number in chosen or _nearest(value, kept) <= far:
            continue
        kept.append(value)
        chosen[number] = value
        if len(chosen) == MOST:
            break
    return tuple((number, *chosen[number]) for number in sorted(chosen))


def _hashes(image: Any, limits: ImageLimits) -> Iterator[_Hash | None]:
    left = limits.image_pixels
    for number in range(min(image.n_frames, _MOST_READ)):
        try:
            image.seek(number)
            left -= image.width * image.height
            if left < 0:
                return
            yield value_of(luma_of(as_shown(image)))
        except Exception:  # noqa: BLE001  # decoders raise whatever they trip over
            return


def _nearest(value: _Hash, others: list[_Hash]) -> int:
    return min((bits_apart(value[0], other) for other, _ in others), default=BITS)
