"""Banks of any size: fingerprints of real crops of photographs, and many more around them.

Knows the product's fingerprints by their names; searches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from PIL import Image

from registry.settings import Limits
from registry.similarity.decode import open_image
from registry.similarity.prints import prints_of
from registry.similarity.sources import Rows

LEAST_SHARE = 0.5
"""Shortest side of a crop, as a share of the picture's."""
MOST_FLIPS = 24
"""Pairs of bits in which a value differs from that of a real crop, at most."""
_MIXED = 0.5
"""Share of the corners of a made-up asset that come from another crop than the rest."""
_BATCH = 1 << 15
_PART = 32
_KEYS = 4


@dataclass(frozen=True, slots=True)
class Crop:
    """What is stored of a crop: values by their names, and a thumbnail; `phash64` is a peer's."""

    sha256: str
    values: Mapping[str, bytes]
    thumbnail: bytes | None
    phash64: int


def crops_of(image: Image.Image, count: int, rng: Any) -> Iterator[Image.Image]:
    """Yield random crops of half of each side to all of it, each side by the same share."""
    for _ in range(count):
        share = rng.uniform(LEAST_SHARE, 1.0)
        width, height = int(image.width * share), int(image.height * share)
        left = int(rng.integers(0, image.width - width + 1))
        top = int(rng.integers(0, image.height - height + 1))
        yield image.crop((left, top, left + width, top + height))


def hashed(image: Image.Image, name: bytes) -> Crop:
    """Compute what the product stores of a picture, under a made-up digest."""
    prints = prints_of(name, Limits(), image=image)
    values = {value.name: value.value for value in prints.values}
    return Crop(prints.sha256, values, prints.thumbnail, phash64(image))


def phash64(image: Image.Image) -> int:
    """Return `imagehash.phash` at its defaults."""
    return int(str(imagehash.phash(image)), 16)


def bank(pictures: Sequence[Path | Image.Image], count: int, seed: int) -> list[Crop]:
    """Return so many crops, as many of each picture, on all cores."""
    each = -(-count // len(pictures))
    work = partial(_of_one, each=each, seed=seed)
    if count < len(pictures) * 8:  # a pool takes longer to start
        made = [work(job) for job in enumerate(pictures)]
    else:
        with ProcessPoolExecutor(os.cpu_count(), get_context("forkserver")) as pool:
            made = list(pool.map(work, enumerate(pictures)))
    return [crop for crops in made for crop in crops][:count]


def _of_one(job: tuple[int, Path | Image.Image], each: int, seed: int) -> list[Crop]:
    number, picture = job
    image = open_image(picture, Limits()) if isinstance(picture, Path) else picture
    rng = np.random.default_rng((seed, number))
    return [
        hashed(crop, b"crop %d of %d by %d" % (nth, number, seed))
        for nth, crop in enumerate(crops_of(image.convert("RGB"), each, rng))
    ]


def digests(first: int, count: int) -> Any:
    """Return made-up SHA-256 digests, (count, 32) uint8, that `outputs` can hold by number."""
    found = np.zeros((count, _PART), np.uint8)
    numbers = np.arange(first, first + count, dtype=">u8")
    found[:, -8:] = numbers.view(np.uint8).reshape(-1, 8)
    return found


def around(values: Sequence[bytes], count: int, seed: int) -> Iterator[Rows]:
    """Yield values near those of real crops, under `digests(1, count)`, as an index takes them.

    Each is one of `values`, all its parts together, with up to `MOST_FLIPS` pairs of bits flipped
    in each part, most of them few.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        chosen = [values[n] for n in rng.integers(0, len(values), size)]
        owners = np.repeat(np.arange(size), [len(value) // _PART for value in chosen])
        parts = np.frombuffer(b"".join(chosen), np.uint8).reshape(-1, _PART)
        bits = np.unpackbits(parts, axis=1)
        pairs = np.minimum(rng.geometric(0.15, len(bits)) - 1, MOST_FLIPS)
        for number in range(MOST_FLIPS):
            rows = np.flatnonzero(pairs > number)
            for _ in range(2):
                bits[rows, rng.integers(0, 256, len(rows))] ^= 1
        yield _rows(start, size, owners, np.packbits(bits, axis=1))


def corners_around(values: Sequence[bytes], count: int, seed: int) -> Iterator[Rows]:
    """Yield keys of corners as `around` does: half of one crop's, the others of any crops."""
    rng = np.random.default_rng(seed)
    whole = [value for value in values if len(value) == _PART * 8]
    if not whole:
        return
    pool = np.frombuffer(b"".join(whole), np.uint8).reshape(len(whole), -1, _KEYS)
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        rows = pool[rng.integers(0, len(pool), size)]
        mixed = rng.random(rows.shape[:2]) < _MIXED
        strangers = rng.integers(0, len(pool), mixed.sum())
        rows[mixed] = pool[strangers, rng.integers(0, pool.shape[1], len(strangers))]
        parts = rows.reshape(-1, _PART)
        yield _rows(start, size, np.repeat(np.arange(size), len(parts) // size), parts)


def _rows(start: int, size: int, owners: Any, parts: Any) -> Rows:
    packed = np.concatenate((digests(start + 1, size)[owners], parts), axis=1)
    return Rows(0, packed.tobytes())
