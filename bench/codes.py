"""Fingerprints in number: random ones, and clusters as real libraries have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import inputs
from registry.settings import Limits
from registry.similarity.decode import open_image
from registry.similarity.fingerprints import fingerprint

BYTES = 32
CENTRES = 4000
CROPS = 10
MOST_FLIPS = 24
"""Pairs of bits in which a member of a cluster differs from its centre, at most: phash distances
are even, and re-encoded, resized or captioned copies lie this near."""


def random_codes(count: int) -> Any:
    """Return uniform values, (count, 32) uint8."""
    return np.random.default_rng(1).integers(0, 256, (count, BYTES), dtype=np.uint8)


def clustered_codes(count: int, pictures: Path | None) -> Any:
    """Return values around those of real crops, (count, 32) uint8.

    Centres are fingerprints of random crops of the folder's pictures, or of drawn ones without a
    folder; members have up to `MOST_FLIPS` pairs of bits flipped, most of them few.
    """
    rng = np.random.default_rng(2)
    centres = np.stack([np.frombuffer(value, np.uint8) for value in _centres(pictures, rng)])
    bits = np.unpackbits(centres, axis=1)
    codes = np.empty((count, BYTES), np.uint8)
    for start in range(0, count, 1 << 16):
        rows = bits[rng.integers(0, len(bits), min(1 << 16, count - start))].copy()
        pairs = np.minimum(rng.geometric(0.15, len(rows)) - 1, MOST_FLIPS)
        for number in range(MOST_FLIPS):
            chosen = np.flatnonzero(pairs > number)
            for _ in range(2):
                rows[chosen, rng.integers(0, 256, len(chosen))] ^= 1
        codes[start : start + len(rows)] = np.packbits(rows, axis=1)
    return codes


def _centres(folder: Path | None, rng: Any) -> Iterator[bytes]:
    made = 0
    for image in _images(folder):
        for crop in _crops(image, rng):
            value = fingerprint(b"", Limits(), image=crop)
            if value is not None:
                yield value.value
                made += 1
            if made == CENTRES:
                return


def _images(folder: Path | None) -> Iterator[Image.Image]:
    if folder is None:
        yield from (inputs.picture(seed, 128) for seed in range(CENTRES // CROPS))
        return
    for path in sorted(folder.glob("*.jpg")):
        yield open_image(path, Limits()).convert("RGB")


def _crops(image: Image.Image, rng: Any) -> Iterator[Image.Image]:
    """Yield the picture's middle and random crops of half its sides to all of them."""
    for _ in range(CROPS):
        share = rng.uniform(0.5, 1.0)
        width, height = int(image.width * share), int(image.height * share)
        left = int(rng.integers(0, image.width - width + 1))
        top = int(rng.integers(0, image.height - height + 1))
        yield image.crop((left, top, left + width, top + height))
