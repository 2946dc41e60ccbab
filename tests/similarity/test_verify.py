"""A part of a picture is seen where it is, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry.similarity.features import (
    ASSET_FEATURES,
    Features,
    both_sides_of,
    features_of,
    mirrored_of,
    spread,
)
from registry.similarity.fingerprints import grey_of
from registry.similarity.overlap import likeness
from registry.similarity.thumbs import thumbnail_of
from registry.similarity.verify import MIN_INLIERS, Geometry, Probe, place_of

TURNS = Image.Transpose
BOX = (0.2, 0.3, 0.7, 0.9)


def thumb(image: Image.Image) -> bytes:
    return thumbnail_of(grey_of(image))


def cut(image: Image.Image) -> Image.Image:
    sides = (image.width, image.height) * 2
    return image.crop([round(share * side) for share, side in zip(BOX, sides, strict=True)])  # type: ignore[arg-type]


def seen(image: Image.Image, stored: Image.Image) -> Geometry:
    found = Probe(grey_of(image)).against(thumb(stored))
    assert found is not None
    return found


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("step", "mirrored", "rotation"),
    [
        (None, False, 0),
        (TURNS.FLIP_LEFT_RIGHT, True, 0),
        (TURNS.ROTATE_270, False, 90),  # Pillow turns to the left: this is a quarter to the right
    ],
)
def test_a_crop_is_seen_where_it_is_however_it_was_turned(
    photographs: tuple[Image.Image, ...],
    number: int,
    step: Image.Transpose | None,
    mirrored: bool,
    rotation: int,
) -> None:
    asset = photographs[number]
    part = cut(asset)
    found = seen(part.transpose(step) if step is not None else part, asset)
    assert found.inliers >= 3 * MIN_INLIERS
    assert found.mirrored is mirrored
    assert abs(found.rotation - rotation) <= 1.5
    assert np.abs(np.subtract(found.box, BOX)).max() <= 0.03
    assert found.scale == pytest.approx(max(asset.size) / max(part.size), rel=0.03)


def test_mirrored_features_are_those_that_are_found_in_the_mirrored_picture(
    photographs: tuple[Image.Image, ...],
) -> None:
    grey = np.asarray(grey_of(photographs[0]))
    turned = mirrored_of(grey)
    plain, ours = both_sides_of(grey, turned, ASSET_FEATURES, ASSET_FEATURES)
    found = features_of(turned, ASSET_FEATURES)
    assert len(plain) == len(ours) == len(found)
    few, others = both_sides_of(grey, turned, ASSET_FEATURES, 50)
    assert few.points.tolist() == plain.points[spread(plain)[:50]].tolist()
    assert len(others) == 50
    gaps = np.linalg.norm(ours.points[:, None] - found.points[None], axis=2)
    same = gaps.min(axis=1) < 1
    assert same.mean() > 0.95
    others = found.descriptors[gaps.argmin(axis=1)]
    bits = np.bitwise_count(ours.descriptors ^ others).sum(axis=1)[same]
    assert bits.mean() < 3  # of 256; strangers differ by about half of them


def test_a_page_that_shows_all_of_it_has_all_of_it_at_its_scale(
    photographs: tuple[Image.Image, ...],
) -> None:
    page = Image.new("RGB", (1000, 800), "white")
    page.paste(photographs[0].resize((500, 334)), (250, 300))
    found = seen(page, photographs[0])
    assert found.box == pytest.approx((0, 0, 1, 1), abs=0.01)
    assert found.scale == pytest.approx(0.5, rel=0.05)


def test_another_picture_is_not_seen(photographs: tuple[Image.Image, ...]) -> None:
    temple, flower = photographs
    assert Probe(grey_of(cut(temple))).against(thumb(flower)) is None
    assert Probe(grey_of(flower)).against(thumb(temple)) is None


def test_only_the_side_that_is_asked_for_is_compared(photographs: tuple[Image.Image, ...]) -> None:
    probe = Probe(grey_of(cut(photographs[0]).transpose(TURNS.FLIP_LEFT_RIGHT)))
    assert probe.against(thumb(photographs[0]), mirrored=False) is None
    assert probe.against(thumb(photographs[0]), mirrored=True) is not None


def test_what_has_no_corners_or_is_no_thumbnail_is_not_seen(
    photographs: tuple[Image.Image, ...],
) -> None:
    flat = Image.new("RGB", (300, 300), "red")
    assert Probe(grey_of(flat)).against(thumb(flat)) is None
    assert Probe(grey_of(flat)).against(thumb(photographs[0])) is None
    assert Probe(grey_of(photographs[0])).against(b"") is None
    assert Probe(grey_of(photographs[0])).against(b"no picture at all") is None


def features(points: Any, size: int = 320) -> Features:
    """Return features at these places that are told apart by their descriptors."""
    rng = np.random.default_rng(3)
    places = np.array(points, np.float32)
    strengths = np.ones(len(places), np.float32)
    descriptors = rng.integers(0, 256, (len(places), 32), np.uint8)
    return Features(places, descriptors, strengths, (size, size))


def scattered(count: int) -> Any:
    return np.random.default_rng(4).uniform(20, 300, (count, 2))


def test_corners_that_agree_on_a_place_are_counted() -> None:
    points = scattered(40)
    found = place_of(features(points / 2, 160), features(points))
    assert found is not None
    assert found.geometry(mirrored=False) == Geometry(40, False, 0.0, 1.0, (0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "points",
    [
        scattered(MIN_INLIERS - 1),
        [(x, 100 + 0.01 * x) for x in range(20, 300, 7)],  # on one line
        scattered(40) * 0.01 + 100,  # on one spot
        np.tile(scattered(5), (8, 1)),  # five places, at eight scales each
    ],
)
def test_corners_that_could_agree_by_chance_are_refused(points: Any) -> None:
    assert place_of(features(points), features(points)) is None


@pytest.mark.parametrize("factor", [0.05, 12.0])
def test_a_part_that_is_far_too_large_or_too_small_is_refused(factor: float) -> None:
    points = scattered(40)
    assert place_of(features(points * factor, 4000), features(points)) is None


def test_two_things_in_one_place_are_not_one(
    photographs: tuple[Image.Image, ...], drawn: Callable[..., Image.Image]
) -> None:
    place, thing = photographs
    one, other = place.copy(), place.copy()
    box = (round(place.width * 0.3), 0)
    one.paste(thing.resize((place.width - box[0], place.height)), box)
    other.paste(drawn(5, place.height, 9).resize((place.width - box[0], place.height)), box)
    corners = [features_of(np.asarray(grey_of(one_of)), ASSET_FEATURES) for one_of in (one, other)]
    assert place_of(*corners) is not None  # what is around them is the same
    assert Probe(grey_of(one)).against(thumb(other)) is None
    assert Probe(grey_of(one)).against(thumb(one)) is not None


def test_what_both_show_is_compared_cell_by_cell(photographs: tuple[Image.Image, ...]) -> None:
    grey = np.asarray(grey_of(photographs[0]))
    same = np.eye(2, 3)
    assert likeness(grey, grey, same) == 1.0
    assert likeness(grey // 2 + 60, grey, same) == 1.0  # paler
    assert likeness(255 - grey, grey, same) == 0.0
    assert likeness(np.full_like(grey, 90), np.full_like(grey, 91), same) == 0.0
    half = grey.copy()
    half[:, grey.shape[1] // 2 :] = 255 - half[:, grey.shape[1] // 2 :]
    assert 0.3 < likeness(half, grey, same) < 0.7
    away = np.array([[1.0, 0.0, 10_000.0], [0.0, 1.0, 0.0]])
    assert likeness(grey, grey, away) == 0.0
