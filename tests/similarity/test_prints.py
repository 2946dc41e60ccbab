"""What is stored of a picture: frozen by name, fit for hostile files, and nothing of flat ones."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from registry.errors import InputError
from registry.settings import Limits
from registry.similarity import decode, prints
from registry.similarity.borders import TRIMMED
from registry.similarity.decode import open_image
from registry.similarity.fingerprints import (
    DRAFT_SIDE,
    NOT_FINGERPRINTABLE,
    PHASH256,
    grey_of,
    luma_of,
    phash_of,
    pixels_digest,
)
from registry.similarity.frames import FRAMES, MOST
from registry.similarity.palette import PALETTE, Colour, colours_in
from registry.similarity.pdq import PDQ, pdq_of
from registry.similarity.prints import BLACK, Prints, algorithms, prints_of
from registry.similarity.query import query_of
from registry.similarity.verify import Probe
from registry.similarity.votes import VOTES

Draw = Callable[..., Image.Image]
Encode = Callable[..., bytes]

LIMITS = Limits()
NAMES = {
    PHASH256: "phash256-draft512-white-lanczos64-gap2-v2",
    BLACK: "black-phash256-draft512-lanczos64-gap2-v1",
    TRIMMED: "trimmed-phash256-draft512-white-side512-border16-lanczos64-gap2-v1",
    FRAMES: "frames8-phash256-white-middle-last-scenes30-lanczos64-gap2-v1",
    PDQ: "pdq256-draft512-white-bilinear512-gap1-v1",
    PALETTE: "palette5-draft512-white-nearest256-box64-maxcoverage-v1",
}
"""Stored values go by these: a value that is computed otherwise needs another name."""
NEAR = 12
"""Bits that the same look may differ by after another encoding."""


def levels(salt: str, cells: int = 16, side: int = 1152) -> Image.Image:
    """Draw levels in square cells from a hash: the same on every machine."""
    digits = b"".join(hashlib.sha512(f"{salt}{row}".encode()).digest() for row in range(cells))
    grid = np.frombuffer(digits, dtype=np.uint8).reshape(cells, -1)[:, :cells]
    step = side // cells
    return Image.fromarray(grid.repeat(step, axis=0).repeat(step, axis=1))


def colours(salt: str, **size: int) -> Image.Image:
    return Image.merge("RGB", [levels(salt + channel, **size) for channel in "rgb"])


def values_of(made: Prints) -> dict[str, bytes]:
    return {value.name: value.value for value in made.values}


def bits_apart(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def looks_of(data: bytes) -> bytes:
    return values_of(prints_of(data, LIMITS))[PHASH256]


# ---------------------------------------------------------------- frozen by name


def framed() -> Image.Image:
    sheet = Image.new("RGB", (1400, 1300), "#204060")
    sheet.paste(colours("framed", side=1024), (200, 100))
    return sheet


def see_through() -> Image.Image:
    picture = colours("clear", side=512)
    picture.putalpha(levels("alpha", cells=8, side=512))
    return picture


def golden_files(encode: Encode) -> dict[str, bytes]:
    frames = [colours(f"frame {number}", side=256) for number in range(3)]
    return {
        "jpeg": encode(colours("jpeg"), "JPEG", quality=90),
        "png": encode(framed()),
        "webp": encode(see_through(), "WEBP", lossless=True),
        "gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "tiff": encode(
            levels("deep").point(lambda level: level * 257, "I").convert("I;16"), "TIFF"
        ),
    }


def digest_of(value: bytes) -> str:
    return value.hex() if len(value) == 32 else f"sha256 {hashlib.sha256(value).hexdigest()[:32]}"


GOLDEN = {
    "jpeg": {
        PHASH256: "bb0aca094183624aa29ff616ebab8bb1b88d7cf4287b097d8457b16ee946d427",
        PDQ: "f657f215b14bbb46f510df48ef0a979fd08cc6e8e2cb3437fc820923e0c1c829",
        PALETTE: "sha256 f9f567cfb0a0b62eeb32cc85359b9fbc",
    },
    "png": {
        PHASH256: "90ea9a317b14a5de6f0cd8ce66992533c6373e31b9d249a5cda5360634a4ecc7",
        TRIMMED: "bc1f531e582569ef1ac174c12889f5760791b7acde1fcc9ab3888cd1c2860c7f",
        PDQ: "3d2371999226b06652c9d2cbadc6463e7631e652d9b3398d987b3d82946fc62c",
        PALETTE: "sha256 72fa5c8765def9473c6652e6cf1b925c",
    },
    "webp": {
        PHASH256: "eac47f58df8033cba936dc33a0d3d0f3e5b8578844c523e984f8c92810f78db6",
        BLACK: "d6ca9f5010f98de3c47e2211405317ebe5b8fad0a4c5dde189b869289f87c9b6",
        PDQ: "f7d9b6c8e7840a490f90cbe2919108f58ed3e785e502e61da64ae9e600fd0d7f",
        PALETTE: "sha256 193c186adf7aa0c4509c174da3776f43",
    },
    "gif": {
        PHASH256: "9c2a967763374e61950e25bc77009907c3f8e831879480ecf72dc6c85f5aa8bf",
        PDQ: "1882fe8a2d7d09b1de771ba014f0c60b0fe1f04c007f1ed23a564739f763f734",
        FRAMES: "sha256 f83a9bf3cebb98095eb33f4a493a2f2d",
        PALETTE: "sha256 384d64abfbc978b0caec895af20d99b0",
    },
    "tiff": {
        PHASH256: "d724e7e790f54a70149b5dedf6ab2322514d71a7062b505bbec96f8469c230d8",
        PDQ: "0c060d8621cb10fbc9be6d05ea30f2c7d9452262eab75bddec940729d784f3f3",
        PALETTE: "sha256 a3e7b546c0b317e36744eb2d7a4fd7bd",
    },
}
"""By format and name. A value of another length than a hash is told by its digest."""


@pytest.mark.parametrize("kind", sorted(GOLDEN))
def test_the_values_of_each_name_are_fixed_in_every_format(kind: str, encode: Encode) -> None:
    made = prints_of(golden_files(encode)[kind], LIMITS)
    found = {name: digest_of(value) for name, value in values_of(made).items()}
    assert {name: found[name] for name in found.keys() & NAMES.keys()} == GOLDEN[kind]
    assert all(name == text for name, text in NAMES.items())


def test_only_large_jpegs_differ_from_the_first_version_and_by_little(
    photographs: tuple[Image.Image, ...], encode: Encode
) -> None:
    for photograph in photographs:
        large = photograph.resize((1280, 1280), Image.Resampling.BILINEAR)
        for kind, most in (("JPEG", 2), ("BMP", 0)):
            data = encode(large, kind)
            whole = phash_of(luma_of(open_image(data, LIMITS)))
            assert bits_apart(looks_of(data), whole) <= most
            assert open_image(data, LIMITS, least=DRAFT_SIDE).width == (640 if most else 1280)


def test_decoding_smaller_is_seen_nowhere_else(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = colours("tall").resize((2300, 1200))
    made = prints_of(encode(stored, "JPEG", exif=exif), LIMITS)
    assert (made.width, made.height, made.format, made.pixels) == (1200, 2300, "JPEG", None)
    upright = encode(stored.transpose(Image.Transpose.ROTATE_270), "JPEG")
    assert bits_apart(values_of(made)[PHASH256], looks_of(upright)) <= 2


def test_a_picture_at_hand_saves_decoding_and_changes_nothing(encode: Encode) -> None:
    for kind in ("PNG", "JPEG"):
        data = encode(colours("at hand"), kind)
        image = open_image(data, LIMITS, least=DRAFT_SIDE)
        assert prints_of(data, LIMITS, image=image) == prints_of(data, LIMITS)


# ---------------------------------------------------------------- hostile files


def test_a_white_mark_on_nothing_is_known_by_its_look_on_black(encode: Encode) -> None:
    mark = Image.new("RGBA", (600, 600), (255, 255, 255, 0))
    mark.putalpha(levels("mark", side=600).resize((600, 600)))
    made = values_of(prints_of(encode(mark), LIMITS))
    assert PHASH256 not in made
    shown = Image.alpha_composite(Image.new("RGBA", mark.size, "black"), mark).convert("RGB")
    query = query_of(encode(shown, "JPEG", quality=80), LIMITS)
    assert bits_apart(query.variants[""], made[BLACK]) <= NEAR
    assert query_of(encode(mark), LIMITS).variants["on black"] == made[BLACK]


def test_only_what_shines_through_has_a_look_on_black(encode: Encode) -> None:
    solid = colours("solid", side=256)
    plain = values_of(prints_of(encode(solid), LIMITS))
    solid.putalpha(255)
    assert values_of(prints_of(encode(solid), LIMITS)) == plain
    assert BLACK not in plain
    assert BLACK in values_of(prints_of(encode(see_through()), LIMITS))


def test_a_transparent_palette_looks_like_its_colours_on_white(encode: Encode) -> None:
    few = levels("few", side=512).quantize(16)
    clear = encode(few, transparency=3)
    shown = Image.open(io.BytesIO(clear)).convert("RGBA")
    white = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")
    assert looks_of(clear) == looks_of(encode(white)) != looks_of(encode(few.convert("RGB")))


@pytest.mark.parametrize("side", [512, 2048])
def test_ink_is_converted(photographs: tuple[Image.Image, ...], side: int, encode: Encode) -> None:
    picture = photographs[0].resize((side, side))
    inked = encode(picture.convert("CMYK"), "JPEG", quality=95)
    assert bits_apart(looks_of(inked), looks_of(encode(picture, "JPEG", quality=95))) <= NEAR


def test_sixteen_bits_are_shifted_and_not_clipped(encode: Encode) -> None:
    bright = levels("bright", side=512).point(lambda level: 128 + level // 2)
    deep = Image.fromarray(np.asarray(bright).astype(np.uint16) << 8 | 0x7F)
    assert looks_of(encode(deep)) == looks_of(encode(bright))
    assert looks_of(encode(deep, "TIFF")) == looks_of(encode(bright))


def png_of(width: int, height: int) -> bytes:
    """Return a small file whose header claims a large picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "as_shown", lambda image: pytest.fail(f"decoded {image.size}"))
    for compute in (prints_of, query_of):
        with pytest.raises(InputError) as caught:
            compute(png_of(30_000, 20_000), LIMITS)
        assert caught.value.code == "image.too-large"


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 2), (640, 3)])
def test_no_shape_is_too_strange(size: tuple[int, int], encode: Encode) -> None:
    picture = Image.effect_noise((64, 64), 90).resize(size)
    made = prints_of(encode(picture), LIMITS)
    assert (made.width, made.height) == size
    assert made.thumbnail is not None
    small = Image.open(io.BytesIO(made.thumbnail))
    assert (small.mode, max(small.size)) == ("L", min(320, max(size)))


@pytest.mark.parametrize("size", [(3000, 12), (12, 3000)])
def test_a_strip_is_hashed_though_it_has_no_corners(size: tuple[int, int], encode: Encode) -> None:
    levels = np.random.default_rng(1).integers(0, 256, size[::-1], np.uint8)
    data = encode(Image.fromarray(levels))
    made = values_of(prints_of(data, LIMITS))
    assert VOTES not in made
    query = query_of(data, LIMITS)
    assert query.variants[""] == made[PHASH256]
    assert Probe(grey_of(query.image)).keys(mirrored=True).shape == (0, 2)


# ---------------------------------------------------------------- animations


def parts_of(value: bytes) -> list[bytes]:
    return [value[start : start + 32] for start in range(0, len(value), 32)]


def animated(frames: list[Image.Image], encode: Encode, kind: str = "WEBP") -> bytes:
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_any_scene_of_an_animation_finds_it(kind: str, encode: Encode) -> None:
    scenes = [colours(f"scene {number // 3}", side=192) for number in range(15)]
    made = values_of(prints_of(animated(scenes, encode, kind), LIMITS))
    kept = [made[PHASH256], *parts_of(made[FRAMES])]
    assert len(kept) == 5
    for scene in scenes:
        looked_for = query_of(encode(scene, "JPEG"), LIMITS).variants[""]
        assert min(bits_apart(looked_for, part) for part in kept) <= NEAR


def test_an_animation_finds_the_still_that_it_shows_last(encode: Encode) -> None:
    scenes = [colours(f"scene {number}", side=192) for number in range(4)]
    query = query_of(animated(scenes, encode), LIMITS)
    still = looks_of(encode(scenes[3]))
    assert query.variants["frame 4"] == still != query.variants[""]


def test_an_animation_that_begins_in_the_dark_is_known_by_what_follows(encode: Encode) -> None:
    dark, scene = Image.new("RGB", (192, 192)), colours("scene", side=192)
    made = values_of(prints_of(animated([dark, dark, scene], encode), LIMITS))
    assert PHASH256 not in made
    assert parts_of(made[FRAMES]) == [looks_of(encode(scene))]


def test_of_many_scenes_the_middle_and_the_last_are_kept(encode: Encode) -> None:
    scenes = [colours(f"scene {number}", side=96) for number in range(30)]
    kept = parts_of(values_of(prints_of(animated(scenes, encode), LIMITS))[FRAMES])
    assert len(kept) == MOST
    assert {looks_of(encode(scenes[15])), looks_of(encode(scenes[29]))} <= set(kept)


def test_frames_beyond_the_limit_of_pixels_are_not_decoded(encode: Encode) -> None:
    pages = [colours(f"page {number}", side=64) for number in range(2)]
    pages.insert(1, colours("huge", side=512))
    data = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert len(parts_of(values_of(prints_of(data, LIMITS))[FRAMES])) == 2
    assert FRAMES not in values_of(prints_of(data, Limits(image_pixels=100 * 100)))


def test_previews_behind_a_photograph_are_no_frames(encode: Encode) -> None:
    pictures = [colours(f"picture {number}", side=192) for number in range(2)]
    data = encode(pictures[0], "MPO", save_all=True, append_images=pictures[1:])
    assert FRAMES not in values_of(prints_of(data, LIMITS))


# ---------------------------------------------------------------- flat pictures


def flat_files(encode: Encode) -> dict[str, bytes]:
    solid = Image.new("RGB", (640, 480), (200, 30, 30))
    sheet = Image.new("RGB", (800, 800), "white")
    sheet.paste(Image.new("RGB", (790, 790), "#fdfdfd"), (5, 5))
    noisy = Image.effect_noise((640, 480), 6).convert("RGB")
    square = Image.new("RGB", (600, 600), "white")
    square.paste((40, 40, 40), (100, 100, 500, 500))
    stripes = Image.fromarray(np.tile(np.repeat([0, 255], 32).astype(np.uint8), (512, 8)))
    return {
        "solid": encode(solid),
        "solid jpeg": encode(solid.resize((3000, 2000)), "JPEG", quality=10),
        "ink": encode(solid.convert("CMYK"), "JPEG"),
        "gradient": encode(Image.linear_gradient("L").resize((900, 700))),
        "gradient, turned": encode(Image.linear_gradient("L").resize((900, 700)).rotate(90)),
        "radial": encode(Image.radial_gradient("L").resize((700, 700))),
        "vignette": encode(Image.radial_gradient("L").crop((20, 60, 200, 230)).resize((900, 850))),
        "radial jpeg": encode(Image.radial_gradient("L").resize((700, 700)), "JPEG", quality=30),
        "square": encode(square, "JPEG"),
        "sixteen": encode(Image.new("I;16", (300, 300), 40_000)),
        "clear": encode(Image.new("RGBA", (300, 300), (9, 99, 200, 0))),
        "half clear": encode(Image.new("RGBA", (300, 300), (9, 99, 200, 128))),
        "sheet": encode(sheet),
        "grain": encode(noisy),
        "stripes": encode(stripes),
        "one pixel": encode(Image.new("L", (1, 1), 7)),
        "blinking": animated([solid, Image.new("RGB", solid.size, "blue")], encode),
    }


def test_a_flat_picture_has_nothing_that_could_match(encode: Encode) -> None:
    for kind, data in flat_files(encode).items():
        made, query = prints_of(data, LIMITS), query_of(data, LIMITS)
        assert set(values_of(made)) == {PALETTE}, kind
        assert made.notes == query.notes == (NOT_FINGERPRINTABLE,), kind
        looked_for = (query.variants, query.segments[""], query.segments["mirrored"], query.pdq)
        assert (any(looked_for), query.fingerprintable) == (False, False), kind


def test_a_framed_solid_has_no_trimmed_look(encode: Encode) -> None:
    sheet = Image.new("RGB", (800, 800), "white")
    ImageDraw.Draw(sheet).rectangle((200, 200, 600, 600), fill="navy")
    assert TRIMMED not in values_of(prints_of(encode(sheet), LIMITS))


# ---------------------------------------------------------------- what is beside the look


def test_what_is_inside_a_border_is_known_without_it(encode: Encode) -> None:
    inside = framed().crop((200, 100, 1224, 1124))
    made = values_of(prints_of(encode(framed(), "JPEG", quality=60), LIMITS))
    assert bits_apart(made[TRIMMED], looks_of(encode(inside))) <= NEAR
    assert TRIMMED not in values_of(prints_of(encode(inside), LIMITS))


def test_pdq_is_that_of_its_makers(photographs: tuple[Image.Image, ...], encode: Encode) -> None:
    pdqhash = pytest.importorskip("pdqhash")
    drawn = [levels(f"pdq {number}", cells=number + 9, side=640) for number in range(10)]
    for picture in (*photographs, *drawn, Image.effect_noise((300, 200), 60)):
        grey = picture.convert("L")
        square = grey.resize((512, 512), Image.Resampling.BILINEAR, reducing_gap=1.0)
        bits, quality = pdqhash.compute(np.asarray(square.convert("RGB")))
        expected = int("".join(str(bit) for bit in bits), 2).to_bytes(32, "big")
        found = pdq_of(grey)
        assert found is not None
        assert (bits_apart(found[0], expected) <= 2, found[1]) == (True, quality)
    assert pdq_of(Image.linear_gradient("L")) is None
    assert query_of(encode(drawn[0]), LIMITS).pdq == pdq_of(drawn[0])[0]  # type: ignore[index]


def test_another_algorithm_gives_another_mark(
    encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small,) = prints_of(encode(colours("small", side=64)), LIMITS).thumbnails
    assert small.made == algorithms()
    monkeypatch.setattr(prints, "NAMES", (*prints.NAMES, "another-v1"))
    algorithms.cache_clear()
    try:
        assert algorithms() != small.made
    finally:
        algorithms.cache_clear()


def test_the_palette_tells_colours_and_their_shares(encode: Encode) -> None:
    picture = Image.new("RGB", (1000, 1000), (250, 200, 10))
    picture.paste((10, 20, 200), (0, 0, 1000, 300))
    picture.paste((200, 10, 30), (0, 900, 1000, 1000))
    found = colours_in(values_of(prints_of(encode(picture), LIMITS))[PALETTE])
    near = [(colour.red // 16, colour.green // 16, colour.blue // 16) for colour in found[:3]]
    assert near == [(15, 12, 0), (0, 1, 12), (12, 0, 1)]
    assert [round(colour.share, -1) for colour in found[:3]] == [60, 30, 10]
    assert sum(colour.share for colour in found) in range(97, 104)
    assert colours_in(bytes([1, 2, 3, 100])) == (Colour(1, 2, 3, 100),)


def test_the_pixels_of_a_lossless_picture_are_told(encode: Encode) -> None:
    picture = colours("pixels", side=256)
    assert prints_of(encode(picture), LIMITS).pixels == pixels_digest(picture)
    assert query_of(encode(picture, "TIFF"), LIMITS).pixels == pixels_digest(picture)
    assert prints_of(encode(picture), LIMITS, pixels=False).pixels is None
