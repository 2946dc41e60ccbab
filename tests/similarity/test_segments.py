"""The hashes of regions are frozen, lose none, and find a picture that a page shows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from scipy import ndimage

from registry.similarity.fingerprints import grey_of, luma_of, value_of
from registry.similarity.segments import MOST, both_sides_of, boxes_of, segments_of

TEMPLE = (
    "9d0aa8f742f487234c1fbb1826bd380ce7f2cceef0af87313f0167b8d80cc09e",
    "9d0ab843eaf5c7e0c6674c1bbb10a7bd189c3b09a7901f6cd0cfc0fe98467391",
    "95b750a21479a3eaad792f0a5fd25a832a97abd52d448fcd51d0a28baa19a71d",
)


def bits_apart(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def tiles(count: int) -> tuple[Image.Image, list[tuple[int, int, int, int]]]:
    """Draw dark, speckled squares on white, the last of them smallest, at the lower right."""
    page = Image.new("L", (512, 512), "white")
    rng = np.random.default_rng(1)
    boxes = []
    for number in range(count):
        left, top = 12 + 125 * (number % 4), 12 + 125 * (number // 4)
        side = 110 - 3 * number
        speckled = rng.integers(0, 100, (side // 5 + 1,) * 2, np.uint8)
        page.paste(
            Image.fromarray(speckled).resize((side, side), Image.Resampling.NEAREST), (left, top)
        )
        boxes.append((left, top, left + side, top + side))
    return page, boxes


def test_the_values_are_frozen(photographs: tuple[Image.Image, ...]) -> None:
    assert tuple(value.hex() for value in segments_of(photographs[0])) == TEMPLE


def test_every_region_counts_the_last_one_too() -> None:
    page, boxes = tiles(12)
    found = list(boxes_of(page))
    for box in boxes:
        assert any(np.abs(np.subtract(box, other)).max() <= 4 for other in found), box


def by_scipy(levels: Any) -> list[tuple[int, int, int, int]]:
    """Find the regions as they were found when the name was given."""
    bright = cv2.medianBlur(levels, 5) > 128
    regions = []
    for mask in (bright, ~bright):
        labels, _ = ndimage.label(mask)
        areas = np.bincount(labels.ravel())
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            box = (columns.start, rows.start, columns.stop, rows.stop)
            regions.append((int(areas[number]), box))
    wanted = [region for region in regions if region[0] >= 500]
    return [box for _, box in sorted(wanted, key=lambda region: -region[0])]


@pytest.mark.parametrize("cell", [24, 32, 40, 64])
def test_regions_and_their_order_are_those_of_scipy_even_of_equal_ones(cell: int) -> None:
    rng = np.random.default_rng(cell)
    shape = (200 // cell + 1, 256 // cell + 1)
    for _ in range(10):
        levels = rng.integers(0, 256, shape, np.uint8).repeat(cell, 0).repeat(cell, 1)[:200, :256]
        found = list(boxes_of(Image.fromarray(levels)))
        assert found == by_scipy(np.ascontiguousarray(levels))
        assert len(found) > 2


def test_at_most_eight_are_hashed_the_largest_first_and_no_two_alike() -> None:
    page, boxes = tiles(12)
    found = segments_of(page)
    assert len(found) == len(set(found)) == MOST
    first = value_of(luma_of(page.crop(boxes[0])))
    assert first is not None
    assert min(bits_apart(first[0], value) for value in found[:3]) <= 30


def test_a_dark_picture_is_among_the_regions_of_the_white_page_that_shows_it(
    photographs: tuple[Image.Image, ...],
) -> None:
    temple, flower = photographs
    page = Image.new("RGB", (1000, 900), "white")
    ImageDraw.Draw(page).rectangle((0, 0, 1000, 50), fill="black")
    page.paste(flower.resize((480, 320)), (300, 200))
    whole = value_of(luma_of(flower))
    assert whole is not None
    assert min(bits_apart(whole[0], part) for part in segments_of(page)) <= 16
    assert min(bits_apart(whole[0], part) for part in segments_of(temple)) > 60


def test_a_flat_picture_has_none() -> None:
    assert segments_of(Image.new("RGB", (300, 200), "red")) == ()
    assert segments_of(Image.new("L", (1, 1))) == ()


def test_what_is_transparent_is_white() -> None:
    page, _ = tiles(3)
    clear = Image.merge("LA", (page, page.point(lambda level: 0 if level == 255 else 255)))
    assert grey_of(clear).tobytes() == page.tobytes()
    assert segments_of(clear) == segments_of(page)


def test_mirrored_regions_are_those_of_the_mirrored_picture(
    photographs: tuple[Image.Image, ...],
) -> None:
    for photograph in photographs:
        found = both_sides_of(photograph)
        assert found[""] == segments_of(photograph)
        theirs = segments_of(ImageOps.mirror(photograph))
        assert len(found["mirrored"]) == len(found[""])
        for value in found["mirrored"]:
            assert min(bits_apart(value, other) for other in theirs) <= 16
