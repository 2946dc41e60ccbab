"""Conversions: exact sizes, honest resolutions and profiles, parents, and replays to the byte."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from generators import icc
from generators.conversions import OPERATIONS, apply, convert
from generators.encode import encode_png
from registry.core.look_up import CERTAIN
from registry.errors import InputError
from registry.sdk import Registry

Picture = Callable[..., Image.Image]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def colours(image: Image.Image) -> list[Any]:
    return [image.getpixel((x, 0)) for x in range(image.width)]


def strip(*values: tuple[int, ...], mode: str = "RGB") -> bytes:
    image = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    return encode_png(image)


@pytest.mark.parametrize(
    ("operation", "arguments", "size"),
    [
        ("resize", {"width": 50, "height": 20}, (50, 20)),
        ("crop", {"left": 10, "top": 0, "width": 30, "height": 64}, (30, 64)),
        ("fit", {"width": 300, "height": 250}, (300, 250)),
        ("pad", {"width": 320, "height": 50}, (320, 50)),
        ("extend", {"left": 24, "top": 0, "right": 24, "bottom": 8}, (112, 72)),
    ],
)
def test_a_conversion_gives_the_size_that_was_asked_for(
    picture: Picture, operation: str, arguments: dict[str, Any], size: tuple[int, int]
) -> None:
    assert opened(apply(operation, encode_png(picture(1, 64)), arguments)).size == size


def test_fit_keeps_what_the_anchor_names() -> None:
    source = strip((255, 0, 0), (0, 255, 0), (0, 0, 255))
    for anchor, kept in (((0, 0), (255, 0, 0)), ((1, 1), (0, 0, 255)), ((0.5, 0), (0, 255, 0))):
        arguments = {"width": 1, "height": 1, "anchor": list(anchor)}
        assert colours(opened(apply("fit", source, arguments))) == [kept]


def test_colours_under_transparent_pixels_do_not_bleed() -> None:
    source = strip((255, 255, 255, 0), (200, 0, 0, 255), mode="RGBA")
    arguments = {"width": 8, "height": 1, "filter": "bilinear"}
    made = opened(apply("resize", source, arguments))
    seen = [value for value in colours(made) if value[3] > 16]
    assert len(seen) > 2
    assert all(max(value[1], value[2]) < 8 for value in seen)  # white would be far above


@pytest.mark.parametrize("dpi", [72, 300])
@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_a_resolution_is_what_readers_find(picture: Picture, kind: str, dpi: int) -> None:
    made = opened(apply("wrap", encode_png(picture(1, 32)), {"format": kind, "dpi": dpi}))
    assert made.info["dpi"] == pytest.approx((dpi, dpi), rel=0.0005)


def test_display_p3_has_the_numbers_that_are_known_for_it() -> None:
    made = opened(apply("profile", strip((255, 0, 0), (0, 255, 0)), {"to": "display-p3"}))
    assert made.info["icc_profile"] == icc.profile("display-p3")
    for found, known in zip(colours(made), [(234, 51, 35), (117, 251, 76)], strict=True):
        assert all(abs(a - b) <= 1 for a, b in zip(found, known, strict=True))


def test_our_srgb_is_the_one_that_littlecms_makes() -> None:
    values = [(r, g, b) for r in (0, 90, 255) for g in (0, 130, 255) for b in (0, 200, 255)]
    source = opened(strip(*values))
    ours = ImageCms.ImageCmsProfile(io.BytesIO(icc.profile("srgb")))
    theirs = ImageCms.createProfile("sRGB")
    made = ImageCms.profileToProfile(source, ours, theirs)
    assert made is not None
    for found, value in zip(colours(made), values, strict=True):
        assert all(abs(a - b) <= 1 for a, b in zip(found, value, strict=True))


def test_a_profile_survives_later_conversions(picture: Picture) -> None:
    wide = apply("profile", encode_png(picture(1, 32)), {"to": "display-p3"})
    small = apply("fit", wide, {"width": 16, "height": 16})
    for kind in ("png", "jpeg", "tiff", "webp"):
        made = opened(apply("wrap", small, {"format": kind}))
        assert made.info["icc_profile"] == icc.profile("display-p3")
    bare = opened(apply("wrap", small, {"format": "png", "profile": "none"}))
    assert "icc_profile" not in bare.info


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("sharpen", {}),
        ("fit", {"width": 0, "height": 5}),
        ("fit", {"width": 5, "height": 99_999}),
        ("fit", {"width": 5, "height": 5, "colour": "red"}),
        ("crop", {"left": 40, "top": 0, "width": 40, "height": 4}),
        ("resize", {"width": 5, "height": 5, "filter": "magic"}),
        ("pad", {"width": 5, "height": 5, "colour": "no colour"}),
        ("extend", {"left": -1, "top": 0, "right": 0, "bottom": 0}),
        ("profile", {"to": "cmyk"}),
        ("wrap", {"format": "gif"}),
        ("wrap", {"format": "webp", "dpi": 72}),
        ("wrap", {"format": "png", "quality": 80}),
    ],
)
def test_what_cannot_be_done_is_said_in_our_words(
    picture: Picture, operation: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as caught:
        apply(operation, encode_png(picture(1, 64)), arguments)
    assert caught.value.code.startswith("conversion.")
    assert caught.value.hint


def test_a_file_that_is_no_profile_is_refused(registry: Registry, tmp_path: Path) -> None:
    wrong = tmp_path / "press.icc"
    wrong.write_bytes(b"no profile at all")
    with pytest.raises(InputError) as caught:
        convert(registry, strip((1, 2, 3)), "profile", {"to": "file"}, profile=wrong)
    assert caught.value.code == "conversion.argument"
    assert registry.log.head().size == 1


def test_a_conversion_derives_from_its_parent_and_a_wrap_is_a_rendition(
    registry: Registry, picture: Picture, tmp_path: Path
) -> None:
    source = tmp_path / "source.png"
    source.write_bytes(encode_png(picture(1, 64)))
    parent = registry.ingest(source).assets[0]
    fitted = convert(registry, registry.read(parent), "fit", {"width": 80, "height": 48})
    wrapped = convert(
        registry, registry.read(fitted.assets[0]), "wrap", {"format": "tiff", "dpi": 300}
    )
    assert {a.id for a in registry.impact(parent).assets} == {*fitted.assets, *wrapped.assets}
    shown = registry.get(wrapped.assets[0])
    assert shown.materials[0].output_of == fitted.record
    assert (shown.width, shown.height, shown.media_type) == (80, 48, "image/tiff")
    assert shown.pixels == registry.get(fitted.assets[0]).pixels is not None
    again = convert(registry, registry.read(fitted.assets[0]), "wrap", {"format": "png", "dpi": 96})
    file = tmp_path / "found.png"
    file.write_bytes(apply("wrap", registry.read(again.assets[0]), {"format": "png", "dpi": 11}))
    same = {match.id for match in registry.find(file).matches if match.kind in CERTAIN}
    assert {*fitted.assets, *wrapped.assets, *again.assets} <= same


def test_conversions_are_reproduced_to_the_byte(
    registry: Registry, picture: Picture, tmp_path: Path
) -> None:
    source = encode_png(picture(1, 64))
    profile = tmp_path / "house.icc"
    profile.write_bytes(icc.profile("display-p3"))
    made = [
        convert(registry, source, "profile", {"to": "file"}, profile=profile),
        convert(registry, source, "wrap", {"format": "jpeg", "quality": 80, "dpi": 72}),
    ]
    for receipt in made:
        found = registry.reproduce(receipt.record)
        assert (found.verdict, found.environment) == ("identical", ())
    other = registry.reproduce(made[1].record, overrides={"quality": 20})
    assert other.verdict == "different"


def test_every_operation_is_tried_above() -> None:
    tried = {"resize", "crop", "fit", "pad", "extend", "profile", "wrap"}
    assert set(OPERATIONS) == tried
