"""Draws what the look-up recognises, and what it does not.

`python -m bench.sheet docs/images/look-up`. Pictures are the two photographs that scikit-learn
carries and some of the demo model; each pair is what the product answered, with the part of the
stored picture that it saw.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

from bench import transforms
from bench.robust import generated
from registry.core.look_up import FindResult
from registry.factory import create_registry
from registry.sdk import Registry
from registry.settings import Limits
from registry.similarity.decode import open_image
from registry.similarity.fingerprints import luma_of, phash_of

CELL = (250, 188)
COLUMNS = 4
CAPTION = 40
EDGE = 10
_DRAWN = (
    ("a red mug on a blue table, studio light", 0),
    ("a red mug on a blue table, studio light", 3),
    ("a red box on a blue table, studio light", 0),
)
_FOUND, _NEAR = (30, 140, 60), (190, 120, 20)


@dataclass(frozen=True, slots=True)
class Pair:
    """A query, the stored picture beside it, and what the product said."""

    what: str
    query: Image.Image
    stored: Image.Image
    answer: str
    box: tuple[float, float, float, float] | None = None


def main(folder: Path) -> None:
    """Register the pictures, look their changes up, and write both sheets."""
    temple, flower = (Image.fromarray(pixels) for pixels in load_sample_images().images)
    mug, *others = generated(_DRAWN)
    with (
        tempfile.TemporaryDirectory() as name,
        create_registry(Path(name) / "home", name="sheet") as registry,
    ):
        stored = {_registered(registry, image): image for image in (temple, flower, mug)}
        changed = _changes(temple, flower, mug)
        alike = _near_misses(temple, flower, mug, others)
        same = [_pair(registry, stored, *change) for change in changed]
        apart = [_pair(registry, stored, *change) for change in alike]
    for title, pairs in (("matches", same), ("no-matches", apart)):
        sheet(pairs).save(folder / f"{title}.webp", quality=72, method=6)


def _changes(
    temple: Image.Image, flower: Image.Image, mug: Image.Image
) -> list[tuple[str, Image.Image, bytes]]:
    """Return what people do to pictures: what it is called, the source, and the file."""
    done: Sequence[tuple[str, Image.Image, Callable[..., bytes]]] = (
        ("screenshot of a page", temple, transforms.screenshot),
        ("photographed off a page", flower, transforms.photographed),
        ("cropped by a quarter", temple, partial(transforms.cropped, 0.25)),
        ("made a meme", flower, transforms.captioned),
        ("cropped, then mirrored", temple, _cropped_and_mirrored),
        ("saved again, badly", flower, lambda image, _: transforms.saved(image, 8)),
        ("letterboxed", mug, transforms.letterboxed),
        ("turned left", temple, partial(transforms.transposed, Image.Transpose.ROTATE_90)),
    )
    return [
        (what, source, change(source, np.random.default_rng(number)))
        for number, (what, source, change) in enumerate(done)
    ]


def _near_misses(
    temple: Image.Image, flower: Image.Image, mug: Image.Image, others: Sequence[Image.Image]
) -> list[tuple[str, Image.Image, bytes]]:
    """Return what is like a stored picture, or too little of one."""
    again, other = others
    return [
        ("the same prompt, another seed", mug, transforms.saved(again)),
        ("another thing in the same light", mug, transforms.saved(other)),
        ("too little of it: sky", temple, transforms.saved(temple.crop((340, 0, 640, 120)))),
        ("too little of it: a blur", flower, transforms.saved(flower.crop((460, 10, 630, 150)))),
    ]


def _cropped_and_mirrored(image: Image.Image, rng: Any) -> bytes:
    part = open_image(transforms.cropped(0.3, image, rng), Limits())
    return transforms.saved(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def _registered(registry: Registry, image: Image.Image) -> str:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "picture.png"
        image.save(path)
        return registry.ingest(path).assets[0]


def _pair(
    registry: Registry, stored: dict[str, Image.Image], what: str, source: Image.Image, data: bytes
) -> Pair:
    """Look a file up; a file that is not found stands beside what it is like."""
    query = open_image(data, Limits()).convert("RGB")
    found = registry.find(data)
    if not found.matches:
        return Pair(what, query, source, f"none; {_apart(query, source)} bits of 256 apart")
    best = found.matches[0]
    return Pair(
        what, query, stored[best.id], _said(found), best.geometry.box if best.geometry else None
    )


def _said(found: FindResult) -> str:
    best = found.matches[0]
    words = [best.verdict, best.kind, best.transform]
    if best.geometry is not None:
        words.append(f"{best.geometry.inliers} corners")
    elif best.distance is not None:
        words.append(f"{best.distance} bits")
    return ", ".join(word for word in words if word)


def _apart(one: Image.Image, other: Image.Image) -> int:
    mine, theirs = (int.from_bytes(phash_of(luma_of(image))) for image in (one, other))
    return (mine ^ theirs).bit_count()


def sheet(pairs: Sequence[Pair]) -> Image.Image:
    """Return all pairs: each query above, what it was compared with below."""
    width, height = CELL[0] + EDGE, 2 * CELL[1] + CAPTION + 3 * EDGE
    lines = -(-len(pairs) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * width + EDGE, lines * height + EDGE), "white")
    for number, pair in enumerate(pairs):
        left = EDGE + number % COLUMNS * width
        _draw(page, pair, left, EDGE + number // COLUMNS * height)
    return page


def _draw(page: Image.Image, pair: Pair, left: int, top: int) -> None:
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(13)
    colour = _FOUND if pair.answer.startswith("match") else _NEAR
    draw.text((left, top), pair.what, fill="black", font=font)
    draw.text((left, top + 17), pair.answer, fill=colour, font=font)
    _fit(page, pair.query, left, top + CAPTION, None, colour)
    _fit(page, pair.stored, left, top + CAPTION + CELL[1] + EDGE // 2, pair.box, colour)


def _fit(
    page: Image.Image,
    image: Image.Image,
    left: int,
    top: int,
    box: tuple[float, float, float, float] | None,
    colour: tuple[int, int, int],
) -> None:
    small = image.copy()
    small.thumbnail(CELL)
    at = (left + (CELL[0] - small.width) // 2, top + (CELL[1] - small.height) // 2)
    page.paste(small, at)
    if box is not None:
        sides = (small.width - 1, small.height - 1) * 2
        corners = [round(share * side) for share, side in zip(box, sides, strict=True)]
        moved = [corner + at[number % 2] for number, corner in enumerate(corners)]
        ImageDraw.Draw(page).rectangle(moved, outline=colour, width=3)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
