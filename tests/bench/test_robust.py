"""The changes are what they say, the same from one seed; banks are as large as they say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bench import crops, inputs
from bench.robust import is_tuning
from bench.transforms import GROUPS, TRANSFORMS, Transform

SIZE = (200, 150)
RANDOM = {"noise", "tiled watermark", "logo 4.5 %", "crop 10 %", "screenshot in a page"}


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return inputs.picture(3, 256).resize(SIZE)


def changed(transform: Transform, picture: Image.Image, seed: int) -> bytes:
    return transform.change(picture, np.random.default_rng(seed))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda one: one.name)
def test_a_change_is_a_file_of_its_own_and_repeats(
    picture: Image.Image, transform: Transform
) -> None:
    data = changed(transform, picture, 1)
    Image.open(io.BytesIO(data)).load()
    assert data == changed(transform, picture, 1)
    if transform.name in RANDOM:
        assert data != changed(transform, picture, 2)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("crop 25 %", (150, 112)),
        ("1:1 to 16:9", (200, 84)),
        ("pad 10 %", (240, 180)),
        ("turned left", (150, 200)),
        ("resize to 50%", (100, 75)),
        ("letterbox", (200, 356)),
    ],
)
def test_a_change_of_the_frame_has_the_size_that_it_says(
    picture: Image.Image, name: str, size: tuple[int, int]
) -> None:
    (transform,) = (one for one in TRANSFORMS if one.name == name)
    assert Image.open(io.BytesIO(changed(transform, picture, 1))).size == size


def test_every_bar_is_of_a_change() -> None:
    assert {one.group for one in TRANSFORMS} == GROUPS.keys()
    assert sum(bar is None for bar in GROUPS.values()) == 2


def test_a_photograph_is_of_one_half_for_ever() -> None:
    names = [f"photograph-{number}.jpg" for number in range(1000)]
    assert 400 < sum(map(is_tuning, names)) < 600
    assert [is_tuning(name) for name in names[:6]] == [True, False, True, False, True, True]


def test_made_up_values_lie_around_real_ones_each_under_a_digest_of_its_own() -> None:
    rng = np.random.default_rng(1)
    values = [rng.bytes(32), rng.bytes(64)]
    parts = np.frombuffer(b"".join(values), np.uint8).reshape(-1, 32)
    seen = set()
    for rows in crops.around(values, 500, 1):
        table = np.frombuffer(rows.packed, np.uint8).reshape(-1, 64)
        seen |= {row[:32].tobytes() for row in table}
        apart = np.bitwise_count(table[:, None, 32:] ^ parts[None]).sum(axis=2).min(axis=1)
        assert apart.max() <= 2 * crops.MOST_FLIPS
        assert apart.any()
    assert seen == {digest.tobytes() for digest in crops.digests(1, 500)}
